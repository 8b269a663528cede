"""The clients of the lab: open-loop traffic through the gateway, every request accounted for."""
