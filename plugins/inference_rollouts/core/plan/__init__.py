"""A rollout as data: the plan file."""
