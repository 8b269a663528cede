"""Where requests go: weighted lists, the claim on an object that moves, and the patches that move it."""
