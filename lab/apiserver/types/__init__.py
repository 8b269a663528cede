"""What objects are made of: schemas, and values read, checked and completed by them."""
