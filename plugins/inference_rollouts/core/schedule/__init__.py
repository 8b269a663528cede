"""When a rollout may start and move: schedules, windows, blackouts."""
