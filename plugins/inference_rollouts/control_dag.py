"""Plans -> the DAG with which people command rollouts: a form, one task, Airflow's permission to run it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import ParamsDict

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.operators.base import BEFORE_ALL, RETRIES
from inference_rollouts.operators.control import COMMANDS, EVERYTHING, Control

DAG_ID = "rollout_control"


def build_control_dag(plans: Sequence[Plan], invalid: Sequence[str] = ()) -> DAG:
    """Its form takes any words: what makes no sense is refused by the task, which can say why.

    `invalid` are the names of plans that say no longer where their rollouts are.
    """
    with DAG(
        dag_id=DAG_ID,
        description="Pause, resume, hurry, abort or undo a rollout; stop all of them.",
        doc_md=_DOC,
        schedule=None,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1000,  # a command waits neither for a cluster that does not answer nor for an undo
        is_paused_upon_creation=False,  # it does nothing by itself, and in need must not be looked for
        default_args=RETRIES | BEFORE_ALL,
        tags=["inference-rollout", "control"],
    ) as dag:
        places = [
            {
                "plan": plan.name,
                "dag": plan.dag_id,
                "kubernetes": plan.connections.kubernetes,
                "prometheus": plan.connections.prometheus,
                "namespace": plan.namespace,
            }
            for plan in plans
        ]
        names = [plan.name for plan in plans]
        Control(task_id="control", places=places, invalid=[name for name in invalid if name not in names])
    dag.params = ParamsDict(_parameters(names))
    return dag


def _parameters(plans: Sequence[str]) -> dict[str, Param]:
    return {
        "rollout": Param(
            "",
            type="string",
            title="Rollout",
            description=f"A plan. To stop all of them, or let them go on: {EVERYTHING}.",
            examples=[*plans, EVERYTHING],
        ),
        "command": Param(
            "", type="string", title="Command", description_md=_COMMANDS, examples=list(COMMANDS)
        ),
        "reason": Param(
            "", type="string", title="Reason", description="Why: it stands in status, Events and report."
        ),
        "lasts": Param(
            "4h",
            type="string",
            title="Lasts",
            description="Of stop and send_back: for how long, such as 90m.",
        ),
    }


_COMMANDS = f"""
| command | what happens |
| --- | --- |
| `pause` | the share stays as it is until `resume`; it is watched, and an alarm takes it back |
| `resume` | it goes on |
| `skip_bake` | this step need bake no longer; its judge must be content all the same |
| `raise_now` | this step passes with the next look that is no alarm |
| `promote_now` | so do this step and all that are left |
| `abort` | all traffic goes back |
| `undo` | after a promotion: all traffic back to what served before, watched by guardrails |
| `stop` | with `{EVERYTHING}`: all rollouts are paused, and none is raised, for as long as it lasts |
| `send_back` | with `{EVERYTHING}`: all rollouts go back, and none is raised, for as long as it lasts |
| `go` | with `{EVERYTHING}`: what was stopped goes on |
"""

_DOC = f"""Each run leaves one command on the claims of a rollout; whoever watches it obeys within one look.
{_COMMANDS}"""
