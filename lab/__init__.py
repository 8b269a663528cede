"""The local inference cluster: real protocols on loopback addresses, simulated accelerators."""
