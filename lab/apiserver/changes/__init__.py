"""How a change is merged into an object, and who owns which of its fields."""
