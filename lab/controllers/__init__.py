"""The controllers of the lab: workloads, scheduling, node loss, garbage collection and the gateway."""
