"""One run of a plan: its parameters, its objects, and what preflight froze."""
