"""The deferrable sensors of a rollout."""
