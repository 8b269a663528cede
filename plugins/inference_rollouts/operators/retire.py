"""Tasks of a retirement: what was left, may it go, is it quiet, does a person agree, take it away."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.errors import PlanInvalid, RetirementRefused
from inference_rollouts.core.limits import JUDGE_GRACE, RETIREMENT_POLL, RETIREMENT_WAIT
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.reporting.text import capital
from inference_rollouts.core.retirement.retirement import Retirement, latest
from inference_rollouts.hooks.clients import clients_of
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.common_time import time_of
from inference_rollouts.rollout.retirement import Subject
from inference_rollouts.triggers.idle import IdleTrigger

RETIRE, KEEP = "Retire", "Keep"


def rollouts_under_way(context: Context, plan: Plan) -> int:
    """How many runs of the plan's rollout are queued or running: they may need what is to go."""
    return int(context["ti"].get_dr_count(dag_id=plan.dag_id, states=["queued", "running"]))


def _subject_of(retirement: Retirement) -> Subject:
    plan = retirement.plan
    return kind_of(plan).retired(clients_of(plan), retirement)


class _Later(BaseOperator):
    def go_on_at(self, moment: float, **kwargs: Any) -> None:
        """Defer until a Unix time, then do `again`, which gets `kwargs`."""
        at = datetime.fromtimestamp(moment, UTC)
        wait = timedelta(seconds=max(0.0, moment - time.time()))
        self.defer(
            trigger=DateTimeTrigger(moment=at),
            method_name="again",
            kwargs=kwargs,
            timeout=wait + JUDGE_GRACE,
        )

    def again(self, context: Context, event: Any) -> Any:
        return self.execute(context)


class Leftovers(BaseOperator):
    """Lists what is to go: what a person named, or what the asset events that started the run announce."""

    ui_color = "#e8f0fe"

    def __init__(self, *, plan: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> list[dict[str, Any]]:
        plan, params = parse_plan(self.plan), context["params"]
        if name := params[plan.subject]:
            return [{"name": name, "action": Action(params["action"]).value, "since": None}]
        announced = [
            event.extra for events in context["triggering_asset_events"].values() for event in events
        ]
        if not announced:
            raise PlanInvalid(f"Name the {plan.subject} to retire. Nothing was touched.")
        return [case for case in latest(announced) if plan.retention.kept(Action(case["action"])) is not None]


class CheckRetirement(_Later):
    """Waits until its time has come, then freezes what goes, or says in one sentence why nothing may go.

    When nobody asked for it, a refusal skips the rest instead of failing.
    """

    template_fields: Sequence[str] = ("case",)
    ui_color = "#e8f0fe"

    def __init__(self, *, plan: dict[str, Any], case: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.case = case

    def execute(self, context: Context) -> dict[str, Any]:
        plan, now = parse_plan(self.plan), time.time()
        name, since, action = self.case["name"], self.case["since"], Action(self.case["action"])
        if since is not None and (due := since + (plan.retention.kept(action) or 0.0)) > now:
            self.log.info("%s is kept for %s more", name, format_duration(due - now))
            self.go_on_at(due)
        if rollouts_under_way(context, plan):
            self.log.info("waiting for the end of the rollout that is under way")
            self.go_on_at(now + RETIREMENT_POLL)
        if since is not None and any(later["since"] > since for later in self._events_of(name, context)):
            raise AirflowSkipException(f"A later rollout left {name} again: its own retirement follows.")
        retirement = Retirement(plan, name, action)
        try:
            retirement = Retirement(plan, name, action, _subject_of(retirement).find())
        except RetirementRefused as refused:
            if since is None:
                raise
            raise AirflowSkipException(str(refused)) from refused
        self.log.info("%s %s: %s", action.value, name, ", ".join(map(str, retirement.objects)))
        return retirement.to_json()

    def _events_of(self, name: str, context: Context) -> list[Mapping[str, Any]]:
        """What all rollouts of the plan announced about it, as far as it is remembered."""
        events = context["inlet_events"]
        announced = [event.extra or {} for asset in self.inlets for event in events[asset]]
        return [extra for extra in announced if extra.get("name") == name]


class _RetirementOperator(_Later):
    template_fields: Sequence[str] = ("retirement",)

    def __init__(self, *, retirement: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.retirement = retirement


class WaitIdle(_RetirementOperator):
    """Waits until it gets no request anywhere and none has been running for the longest stream."""

    ui_color = "#fff8e1"

    def execute(self, context: Context) -> None:
        plan = Retirement.from_json(self.retirement).plan
        deadline = time_of(clients_of(plan).cluster) + RETIREMENT_WAIT.total_seconds()
        trigger = IdleTrigger(retirement=self.retirement, deadline=deadline)
        self.defer(trigger=trigger, method_name="decided", timeout=RETIREMENT_WAIT + JUDGE_GRACE)

    def decided(self, context: Context, event: dict[str, Any]) -> float:
        """Since when it is quiet, as Unix time; raises RetirementRefused when it does not become quiet."""
        if "error" in event:
            raise RetirementRefused(event["error"])
        return float(event["since"])


class ApproveRetirement(HITLOperator):
    """Asks a person. A no, and no answer, keep everything and skip the rest."""

    template_fields = ("retirement",)
    ui_color = "#fde7f3"

    def __init__(self, *, retirement: Any, **kwargs: Any) -> None:
        super().__init__(subject="Retire?", options=[RETIRE, KEEP], defaults=KEEP, **kwargs)
        self.retirement = retirement

    def execute(self, context: Context) -> None:
        asked = Retirement.from_json(self.retirement)
        self.subject = f"{asked.name} serves nobody: {asked.action.value}?"
        gone = "\n".join(f"- {obj}" for obj in asked.objects) or f"- adapter {asked.name}, in memory"
        self.body = f"It has been quiet for {format_duration(asked.plan.retention.longest_stream)}.\n\n{gone}"
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        answer = super().execute_complete(context, event)
        if answer["chosen_options"] != [RETIRE]:
            raise AirflowSkipException("It is kept: nobody agreed to retire it.")
        return answer


class Retire(_RetirementOperator):
    """Takes it away, in the order that loses nothing. It may be killed and repeated at any line."""

    ui_color = "#fad2cf"

    def execute(self, context: Context) -> None:
        self.again(context, None, time.time() + RETIREMENT_WAIT.total_seconds())

    def again(self, context: Context, event: Any, until: float = math.inf) -> None:
        """Take away what may go now; what still ends is waited for `until` a Unix time."""
        retirement = Retirement.from_json(self.retirement)
        if rollouts_under_way(context, retirement.plan):
            raise RetirementRefused(
                f"A rollout of plan {retirement.plan.name} is under way: nothing more of {retirement.name} "
                "is taken away, and no traffic was moved. When it has ended, clear task check."
            )
        answer = _subject_of(retirement).reconcile()
        self.log.info("%s", answer.message)
        if answer.phase is Phase.FAILED:
            raise RetirementRefused(f"{answer.message}. Clear this task to try again.")
        if answer.phase is Phase.WAITING and time.time() >= until:
            raise RetirementRefused(
                f"{capital(answer.message)}; that is waited for no longer, and no traffic was moved. "
                "See what holds it, then clear this task to go on."
            )
        if answer.phase is Phase.WAITING:
            self.go_on_at(time.time() + RETIREMENT_POLL, until=until)
