"""The controllers of the lab: workloads, scheduling, new nodes, node loss and garbage collection."""
