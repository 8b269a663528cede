"""One Airflow DAG: a form with which people command rollouts, and stop all of them."""

from inference_rollouts.dags import control_dag

dag = control_dag()
