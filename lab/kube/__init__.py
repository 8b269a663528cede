"""A client of any Kubernetes API server: verbs, watches and local copies, its objects in its own words."""
