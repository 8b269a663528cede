"""Everything that is read and refused before a rollout touches anything. Nothing here writes."""
