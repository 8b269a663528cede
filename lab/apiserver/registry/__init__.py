"""What happens to an object: checked, created, changed, deleted, one cluster of them."""
