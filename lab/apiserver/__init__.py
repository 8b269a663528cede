"""A Kubernetes API server in one process, for laptops and tests: `python -m lab.apiserver --help`."""
