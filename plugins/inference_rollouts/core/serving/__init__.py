"""What model servers answer, and how much they can carry."""
