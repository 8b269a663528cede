"""Airflow's connections and object storage, as the clients that a rollout uses."""
