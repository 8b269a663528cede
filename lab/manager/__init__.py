"""The process that runs every controller: `python -m lab.manager`."""
