"""What runs in the triggerer: one loop, one event."""
