"""What is known of a running rollout at one moment."""

from collections import Counter
from dataclasses import dataclass, field

from lab.kube.objects import Obj

DONE_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True, slots=True)
class Arm:
    """One pool. Shares are 0..1, `rate` is requests/s, `ttft_p95` seconds; None means not known."""

    pool: str
    asked: float | None = None
    observed: float | None = None
    rate: float | None = None
    errors: float | None = None
    ttft_p95: float | None = None
    pods: int = 0
    pods_ready: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the run and its state; `since` is the Unix time at which it began, 0 before that."""

    task_id: str
    state: str
    since: float = 0.0

    @property
    def is_active(self) -> bool:
        """Begun and not ended, wherever Airflow keeps it meanwhile."""
        return bool(self.since) and self.state not in DONE_STATES


@dataclass(frozen=True, slots=True)
class Clients:
    """Requests that ended, by outcome, as the clients saw them."""

    outcomes: Counter[str] = field(default_factory=Counter)

    def since(self, earlier: "Clients") -> "Clients":
        """Those that ended after `earlier` was taken."""
        return Clients(self.outcomes - earlier.outcomes)

    @property
    def ended(self) -> int:
        """All of them."""
        return self.outcomes.total()

    @property
    def failures(self) -> dict[str, int]:
        """Those that did not get a whole, good answer, by cause."""
        return {cause: n for cause, n in sorted(self.outcomes.items()) if cause != "ok" and n}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. `elapsed` is seconds since the run began, `progress` is 0..1."""

    elapsed: float
    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    clients: Clients
    progress: float | None = None
    progress_text: str = ""
    verdict: str = ""
    watcher: str = ""

    @property
    def current(self) -> Task | None:
        """The task at work, the last one when several are."""
        active = [task for task in self.tasks if task.is_active]
        return active[-1] if active else None


def backends(route: Obj, pool: str) -> list[Obj]:
    """The backends, or a rewrite's targets, of the first rule that names `pool`, else of the first rule."""
    rules = [rule.get("backendRefs") or rule.get("targets") or [] for rule in route["spec"]["rules"]]
    named = [[{"name": ref.get("modelRewrite"), **ref} for ref in refs] for refs in rules]
    return next((refs for refs in named if any(ref["name"] == pool for ref in refs)), named[0])


def asked_shares(refs: list[Obj]) -> dict[str, float]:
    """The share of requests that the weights ask for, by backend; a missing weight is 1."""
    weights = {ref["name"]: ref.get("weight", 1) for ref in refs}
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def describe(refs: list[Obj]) -> str:
    """The weights as they stand in the route: "llm-pool 90, llm-pool-version-2 10"."""
    return ", ".join(f"{ref['name']} {ref.get('weight', '(no weight)')}" for ref in refs)
