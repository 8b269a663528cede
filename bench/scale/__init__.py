"""What many rollouts cost the process that watches them, against stand-ins with full payloads."""
