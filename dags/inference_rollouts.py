"""One Airflow DAG per plan in include/rollouts/.

A plan that is not valid keeps only its own DAG from appearing: Airflow's import errors name the file
and the mistake.
"""

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.dag import build_dag
from inference_rollouts.hooks.include import load_plan, plan_files

invalid = []
for path in plan_files():
    try:
        dag = build_dag(load_plan(path))
        globals()[dag.dag_id] = dag
    except PlanInvalid as error:
        invalid.append(str(error))

if invalid:
    raise PlanInvalid("\n".join(invalid))
