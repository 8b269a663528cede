"""The tasks of a rollout, as Airflow operators."""
