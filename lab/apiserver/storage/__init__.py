"""Objects in memory and on disk, their history, and how they are selected."""
