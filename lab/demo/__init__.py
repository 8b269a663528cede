"""The demo: two rollouts in the lab, seen as a person would see them, through Airflow and the cluster."""
