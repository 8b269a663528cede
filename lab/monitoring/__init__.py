"""Prometheus for the lab: the binary, its configuration, and the pods it scrapes."""
