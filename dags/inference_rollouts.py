"""One Airflow DAG per plan in include/rollouts/.

A plan that is not valid becomes a DAG that says so and does nothing else: raising here would take away
the DAGs of all other plans, and with them the rollbacks of their runs.
"""

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.dag import build_dag, build_invalid_dag
from inference_rollouts.hooks.include import load_plan, plan_files

for path in plan_files():
    try:
        dag = build_dag(load_plan(path))
    except PlanInvalid as error:
        dag = build_invalid_dag(path.stem, str(error))
    globals()[dag.dag_id] = dag
