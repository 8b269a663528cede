"""Commands by Airflow: who triggers the run commands, and says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from tenacity import Retrying

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.durations import parse_duration
from inference_rollouts.core.errors import CommandRefused, PassingError, RolloutError
from inference_rollouts.core.limits import TRIGGER_GRACE, UNDO_WATCH, WRITE_DEADLINE
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.reporting.text import inert
from inference_rollouts.core.routing.claim import What
from inference_rollouts.core.routing.control import HURRIES
from inference_rollouts.core.routing.switch import Mode
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.operators.base import run_identity
from inference_rollouts.operators.places import in_each
from inference_rollouts.rollout.claims import claimed_objects
from inference_rollouts.rollout.command import command
from inference_rollouts.rollout.common_time import time_of
from inference_rollouts.rollout.control import obey_all
from inference_rollouts.rollout.retrying import for_seconds
from inference_rollouts.rollout.switch import put_back, throw

EVERYTHING = "everything"
STOPS = {"stop": Mode.HOLD, "send_back": Mode.BACK}
GO = "go"
COMMANDS = (*(what.value for what in What), *STOPS, GO)
REPORT = "report"  # the XCom that becomes the run's note
_BY_HAND = "command it on its page in Rollouts, or at a terminal with `inference-rollouts`"
UNDONE = "undone"  # the state of a task that has undone a promotion, over all of its tries


class Control(BaseOperator):
    """Leaves a command where the plan's connections lead. Its XCom `report` says what happens now.

    `places` are the plans: each has its name as `plan`, its DAG's as `dag`, connections `kubernetes` and
    `prometheus`, and a `namespace`. Of `invalid` ones, by their names, nobody knows these. Airflow's right to
    trigger this DAG is the right to command.
    """

    ui_color = "#fde7f3"

    def __init__(
        self, *, places: Sequence[dict[str, str]], invalid: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.places = places
        self.invalid = invalid

    def execute(self, context: Context) -> None:
        """Raises CommandRefused, NotFound."""
        given = {key: str(value or "").strip() for key, value in context["params"].items()}
        who = str(context["dag_run"].triggering_user_name or context["dag_run"].run_type)
        if given["command"] == What.UNDO and context["task_state_store"].get(UNDONE):
            self._undone_before(context, given, who)
            return
        try:
            if given["rollout"] == EVERYTHING:
                told = self._everything(given, who)
            else:
                told = self._one(context, given, who)
        except (RolloutError, PassingError) as error:
            failed = "refused" if isinstance(error, RolloutError) else "not done"
            self._report(context, given, who, f"{failed}: {error}")
            if given["command"] == What.UNDO and self._undoes(given["rollout"]):
                self._watch(given["rollout"], str(error))  # one that died halfway, here or elsewhere
            raise
        self._report(context, given, who, told)
        if given["command"] == What.UNDO:
            context["task_state_store"].set(UNDONE, told, retention=NEVER_EXPIRE)
            self._watch(given["rollout"])

    def _undone_before(self, context: Context, given: dict[str, str], who: str) -> None:
        """A command is done once: what an alarm has sent back since is not undone by another try."""
        self._report(context, given, who, str(context["task_state_store"].get(UNDONE)))
        if self._undoes(given["rollout"]):
            self._watch(given["rollout"])
        self.log.info("an earlier try has done so, and it is over: for another undo trigger a run")

    def watched(self, context: Context, event: dict[str, Any], refused: str = "") -> None:
        """How an undo ended that nobody else watched, once it has: a guardian ends with whatever it ended.

        Raises CommandRefused where another one was `refused` meanwhile.
        """
        for each in event["ended"]:
            self.log.warning("%s: %s, because %s", each["run"], each["how"], each["why"])
        plan = str(context["params"]["rollout"] or "").strip()
        if self._undoes(plan):
            self._watch(plan, refused)
        if refused:
            raise CommandRefused(refused)

    def _everything(self, given: dict[str, str], who: str) -> str:
        what, why = given["command"], given["reason"]
        if what not in (*STOPS, GO):
            known = ", ".join((*STOPS, GO))
            raise CommandRefused(f"{what or 'Nothing'} is no command to {EVERYTHING}; there are: {known}.")
        try:
            seconds = parse_duration(given["lasts"])
        except ValueError as error:
            raise CommandRefused(f"{error}. Nothing was changed.") from error
        _need(why)
        told, errors = _each_place(self.places, partial(_switched, what, who, why, seconds))
        if self.invalid:
            names = ", ".join(self.invalid)
            told.insert(0, f"Maybe not where only plans are that are invalid now ({names}): {_BY_HAND}.")
        if errors:
            worst = PassingError if any(isinstance(each, PassingError) for each in errors) else CommandRefused
            raise worst(f"Not everywhere. {' '.join(told)}")
        return " ".join(told)

    def _one(self, context: Context, given: dict[str, str], who: str) -> str:
        name, what = given["rollout"], given["command"]
        place = self._place(name)
        if what in (*STOPS, GO):
            raise CommandRefused(f"{what} is for {EVERYTHING}, not for one rollout. Nothing was changed.")
        _need(given["reason"])
        paused = self._is_paused(context, place["dag"])
        if paused and what in HURRIES:
            raise CommandRefused(
                f"The DAG {place['dag']} is paused, so nothing can be raised: unpause it first. "
                "The share stays as it is."
            )
        mark = run_identity(context)  # the same command, however often it is tried
        told: str = _hurrying()(command, _cluster(place), name, what, who, given["reason"], mark)
        hint = (
            f" The DAG {place['dag']} is paused: nothing is raised before it is unpaused." if paused else ""
        )
        return f"{told}{hint if what == What.RESUME else ''}"

    def _place(self, name: str) -> dict[str, str]:
        for place in self.places:
            if place["plan"] == name:
                return place
        if name in self.invalid:
            raise CommandRefused(
                f"The plan {name} is invalid now, so that it does not say where its rollout is: {_BY_HAND}. "
                "Nothing was changed."
            )
        known = ", ".join(place["plan"] for place in self.places)
        raise CommandRefused(f"There is no plan {name or 'without a name'}; there are: {known}.")

    def _is_paused(self, context: Context, dag: str) -> bool:
        """Whether Airflow runs no task of that DAG now; False where it does not say."""
        try:
            return bool(context["ti"].get_dag(dag).is_paused)
        except Exception as error:
            self.log.warning("nobody knows whether the DAG %s is paused: %s", dag, error)
            return False

    def _report(self, context: Context, given: dict[str, str], who: str, told: str) -> None:
        head, why = inert(f"{given['command']} {given['rollout']}"), inert(given["reason"])
        text = f"**{head}** by {inert(who)}: {why}\n\n{inert(told)}"
        context["ti"].xcom_push(key=REPORT, value=text)
        self.log.info("%s", told)

    def _undoes(self, name: str) -> bool:
        """Whether an undo of a promotion of this plan is under way."""
        places = [place for place in self.places if place["plan"] == name]
        claims = [each.claim for place in places for each in claimed_objects(_cluster(place))]
        return any(claim.undo and claim.plan == name for claim in claims if claim)

    def _watch(self, name: str, refused: str = "") -> None:
        """Be the guardian of an undo, where there is no other."""
        from inference_rollouts.triggers.guard import GuardTrigger

        end, place = UNDO_WATCH + TRIGGER_GRACE.total_seconds(), self._place(name)
        self.defer(
            trigger=GuardTrigger(places=[place], deadline=time_of(_cluster(place)) + end),
            method_name="watched",
            kwargs={"refused": refused},
            timeout=timedelta(seconds=end) + TRIGGER_GRACE,
        )


def _hurrying() -> Retrying:
    """Tries again for a while: what is commanded may be a way back, for which no server is waited long."""
    return for_seconds(WRITE_DEADLINE, hurries=True)


def _need(reason: str) -> None:
    if not reason.strip():
        raise CommandRefused("A command needs a reason: it stands in status, Events and report.")


def _switched(what: str, who: str, why: str, seconds: float, cluster: Cluster) -> str:
    """Throw the switch of one cluster and namespace, or put it back; what is in flight hears of it."""
    if what == GO:
        now = str(_hurrying()(put_back, cluster, who, why))
    else:
        now = f"{_hurrying()(throw, cluster, STOPS[what], who, why, seconds)}."
    _hurrying()(lambda: obey_all(cluster, claimed_objects(cluster)))
    return now


def _each_place(
    places: Sequence[dict[str, str]], act: Callable[[Cluster], str]
) -> tuple[list[str], list[Exception]]:
    """What came of it in each cluster and namespace, in a sentence, those first where it failed; and why.

    One that does not answer holds no other up.
    """

    def tried(place: dict[str, str]) -> str | Exception:
        try:
            return act(_cluster(place))
        except (RolloutError, PassingError) as error:
            return error

    all_ = _clusters(places)
    done = sorted(in_each(all_, tried), key=lambda each: isinstance(each[1], str))
    several = len({place["kubernetes"] for place in all_}) > 1
    told = [f"{_title(place, several=several)}: {str(answer).rstrip('.')}." for place, answer in done]
    return told, [answer for _, answer in done if isinstance(answer, Exception)]


def _clusters(places: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Each cluster and namespace once."""
    return list({(place["kubernetes"], place["namespace"]): place for place in places}.values())


def _title(place: dict[str, str], *, several: bool) -> str:
    """How people know it; of several clusters the connection says which."""
    return f"{place['namespace']} ({place['kubernetes']})" if several else place["namespace"]


def _cluster(place: dict[str, str]) -> Cluster:
    return clients_at(Connections(kubernetes=place["kubernetes"]), place["namespace"]).cluster
