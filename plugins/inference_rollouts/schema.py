"""Prints the JSON schema of plan files, for editors: `python -m inference_rollouts.schema`."""

import json

from inference_rollouts.core.plan.plan import plan_schema

if __name__ == "__main__":
    print(json.dumps(plan_schema(), indent=2))
