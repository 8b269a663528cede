"""What a lab takes of the machine it runs on: processes, loopback addresses, a directory for its state."""
