"""What controllers are made of: one store of what the API server has, and loops over what is to be done."""
