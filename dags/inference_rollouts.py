"""Airflow DAGs of each plan in include/rollouts/: its rollout, and the retirement of what that leaves."""

from inference_rollouts.dags import all_dags

globals().update({dag.dag_id: dag for dag in all_dags()})
