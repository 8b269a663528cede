"""One Airflow DAG: the guardian, for those who run none outside of Airflow; paused until they want it."""

from inference_rollouts.dags import guardian_dag

dag = guardian_dag()
