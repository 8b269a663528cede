"""The rollouts that the console's pages are looked at with: none, one in each state, and two hundred."""

from __future__ import annotations

from inference_rollouts.console.source import RolloutSource
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.reporting.forecast import Change, Forecast, markdown, shares
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.routing.claim import Phase, Place
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.preflight.measuring import check_power
from tests.support.console_world import NOW, STEP_SECONDS, Played, PlayedWorld

IN_STEP = [60 + STEP_SECONDS * step + 110 for step in range(4)]
PATIENCE = 60.0  # seconds: what is played here always answers
WHOLE = 60 + 4 * STEP_SECONDS + 10


def busy(stop: str = "") -> RolloutSource:
    """One rollout in each state; `stop` says who stopped all of them, if anybody did."""
    return RolloutSource(
        PlayedWorld(
            Played(
                "llm", "llm-pool-version-0", "llm-pool", WHOLE,
                over=Outcome.PROMOTED, ended=92000, seed=11, by="",
            ),
            Played("llm", "llm-pool", "llm-pool-version-2", IN_STEP[2], seed=3),
            Played("search-rerank", "rerank-7b", "rerank-7b-fp8", IN_STEP[1] + 150, asks=True, seed=4),
            Played(
                "summaries", "summaries-h100", "summaries-b200", IN_STEP[1] - 60,
                failing=0.05, slower=1.4, phase=Phase.RETURNING, seed=5,
            ),
            Played("chat-eu", "chat-eu-31", "chat-eu-32", IN_STEP[0], watched=False, seed=6),
            Played("food-review", "food-review-1", "food-review-2", IN_STEP[1], phase=Phase.PAUSED, seed=7),
            Played("translate", "translate-12b", "translate-12b-next", 40, seed=8),
            Played("code", "code-34b", "code-34b-mtp", WHOLE, over=Outcome.PROMOTED, ended=1500, seed=9),
            Played(
                "moderation", "guard-2", "guard-3", IN_STEP[1], failing=0.05, slower=1.3,
                over=Outcome.ROLLED_BACK, ended=5400, seed=10,
            ),
            forecast=forecast(Played("llm", "llm-pool", "llm-pool-version-2", IN_STEP[2], seed=3)),
            stop=stop,
        ),
        lambda: NOW,
        PATIENCE,
    )  # fmt: skip


def stopped() -> RolloutSource:
    """The same while the switch is thrown."""
    return busy(
        "All rollouts are held until 2026-11-26 22:40:00 UTC by mara: the gateway in eu-west-1 drops requests"
    )


def forecast(played: Played) -> str:
    """What a dry run says of a rollout, by its own traffic."""
    plan, frozen = played.plan, played.frozen
    power, missed = check_power(played.traffic, frozen, played.now, None)
    server = (
        "image: vllm/vllm-openai:v0.32.0",
        "args[0]: --shutdown-timeout=90",
        "args[1]: --max-num-seqs=256",
    )
    made = Change(
        f"Deployment {plan.canary}",
        "to create",
        ("+ spec.replicas: 3", *(f"+ spec.template.spec.containers[0].{line}" for line in server)),
    )
    api = "gateway.networking.k8s.io/v1"
    route = {
        "apiVersion": api,
        "kind": "HTTPRoute",
        "metadata": {"name": "routes-to-llm"},
    }
    found = (
        {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": plan.stable, "weight": 1},
    )
    moved = shares(
        Target(api, "HTTPRoute", "routes-to-llm"),
        route,
        [Place(path="/spec/rules/0", found=found)],
        plan,
    )
    stays = (
        f"InferencePool {plan.stable}, its pods and its nodes, also after a promotion",
        "every other rule, filter and weight of the objects above",
    )
    return markdown(Forecast(plan, NOW, (made, moved), stays, power, tuple(missed)))


def empty() -> RolloutSource:
    """Nothing has been rolled out yet."""
    return RolloutSource(PlayedWorld(), lambda: NOW, PATIENCE)


def many(rollouts: int = 200) -> RolloutSource:
    """As many in flight, of which some want a person; their cluster does not answer."""
    good, bad, new = (
        Played("a", "a", "b", IN_STEP[0], seed=1),
        Played("a", "a", "b", IN_STEP[0], failing=0.06, phase=Phase.RETURNING, seed=2),
        Played("a", "a", "b", 45, seed=3),
    )
    kinds = [bad if number % 41 == 7 else new if number % 9 == 4 else good for number in range(rollouts)]
    flying = (kind.called(f"service-{number:03d}", number) for number, kind in enumerate(kinds))
    broken = ClusterUnavailable("GET", "/apis", 0, "the lab is away")
    return RolloutSource(PlayedWorld(*flying, broken=broken), lambda: NOW, PATIENCE)
