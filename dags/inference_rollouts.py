"""Two Airflow DAGs per plan in include/rollouts/: its rollout, and the retirement of what it leaves.

A plan that is refused becomes a DAG that says so and does nothing else: raising here would take away
the DAGs of all other plans, and with them the rollbacks of their runs.
"""

from inference_rollouts.clients.include import load_plans
from inference_rollouts.core.plan.files import accept
from inference_rollouts.dag import build_dag, build_invalid_dag
from inference_rollouts.retire_dag import build_retire_dag

plans, refused = accept(load_plans())
dags = [build(plan) for plan in plans for build in (build_dag, build_retire_dag)]
dags += [build_invalid_dag(each.dag_id, each.mistake) for each in refused]
globals().update({dag.dag_id: dag for dag in dags})
