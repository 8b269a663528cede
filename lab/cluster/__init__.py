"""The objects a lab starts with: `python -m lab.cluster` applies them."""
