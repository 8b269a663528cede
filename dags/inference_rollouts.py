"""Two Airflow DAGs per plan in include/rollouts/: its rollout, and the retirement of what it leaves.

A plan that is not valid becomes a DAG that says so and does nothing else: raising here would take away
the DAGs of all other plans, and with them the rollbacks of their runs.
"""

from inference_rollouts.clients.include import load_plan, plan_files
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.dag import build_dag, build_invalid_dag
from inference_rollouts.retire_dag import build_retire_dag

for path in plan_files():
    try:
        plan = load_plan(path)
        dags = [build_dag(plan), build_retire_dag(plan)]
    except PlanInvalid as error:
        dags = [build_invalid_dag(path.stem, str(error))]
    globals().update({dag.dag_id: dag for dag in dags})
