"""What preflight froze is read again as it was, also by a newer version in the middle of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.manifests import digest

ROOT = Path(__file__).parents[4]
API = "gateway.networking.k8s.io/v1"
HERE = Parent("gw", "infra", section="https", port=443, controller="c", route="a")
THERE = Parent("gw", "other", controller="c", route="b")


def frozen(**changes: Any) -> Frozen:
    plan = parse_plan(yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text()))
    given: dict[str, Any] = {
        "run": "rollout_llm/test",
        "plan": plan,
        "parents": (HERE, THERE),
        "targets": tuple(Target(API, "HTTPRoute", name) for name in "ab"),
        "metric_set": load_metric_set(*plan.metrics),
        "manifests": (),
        "began": 1000.0,
        "token": "5f3a",
        "link": "https://airflow.test/runs/test",
    }
    return Frozen(**given | changes)


def test_runs_that_are_judged_by_the_same_metrics_share_them() -> None:
    written = frozen()
    one, other = (Frozen.from_json(written.to_json()) for _ in range(2))
    assert one.metric_set is other.metric_set
    assert one == other == written


def test_it_is_read_as_it_was_written() -> None:
    assert Frozen.from_json(frozen().to_json()) == frozen()


@pytest.mark.parametrize(
    "change", [{"token": "77b0"}, {"link": ""}, {"stable_path": "/a"}, {"stable_pods": 4}, {"run": "other"}]
)
def test_two_that_differ_have_two_digests(change: dict[str, Any]) -> None:
    assert frozen().digest == frozen().digest
    assert frozen().digest != frozen(**change).digest


def test_each_route_has_the_parents_that_accepted_it() -> None:
    assert frozen().parents_for("a") == (HERE,)
    assert frozen().parents_for("b") == (THERE,)
    by_name = Parent("gw")
    assert frozen(parents=(by_name,)).parents_for("a") == (by_name,)


@pytest.mark.parametrize(
    ("gateway", "parents"), [("my-gateway", (Parent("my-gateway"),)), ("", ())]
)  # rollouts of adapters had none
def test_a_run_frozen_before_there_were_parents_goes_on(gateway: str, parents: tuple[Parent, ...]) -> None:
    """Upgraded in the middle of a run: its frozen plan names one gateway, and knows no beginning."""
    value = {k: v for k, v in frozen().to_json().items() if k not in ("digest", "parents", "began")}
    value["gateway"] = gateway
    read = Frozen.from_json({**value, "digest": digest(value)})
    assert read.parents == parents
    assert read.began == 0.0
    assert Frozen.from_json(read.to_json()) == read


def test_a_run_frozen_before_there_were_tokens_is_known_by_its_name() -> None:
    value = {k: v for k, v in frozen().to_json().items() if k not in ("digest", "token", "link")}
    read = Frozen.from_json({**value, "digest": digest(value)})
    assert (read.token, read.link) == (read.run, "")
    assert Frozen.from_json(read.to_json()) == read


def test_a_run_frozen_when_plans_named_one_metric_set_goes_on() -> None:
    plan = parse_plan(frozen().plan.model_dump(mode="json") | {"metrics": "vllm"})
    value = {
        k: v
        for k, v in frozen(plan=plan, metric_set=load_metric_set("vllm")).to_json().items()
        if k != "digest"
    }
    value["plan"]["metrics"] = "vllm"
    later = ("arm", "delay", "weight", "guardrail_only", "increase_over", "beside")
    value["metric_set"] = {k: v for k, v in value["metric_set"].items() if k not in later}
    read = Frozen.from_json({**value, "digest": digest(value)})
    assert read.plan.metrics == ("vllm",)
    assert read.metric_set == load_metric_set("vllm")


@pytest.mark.parametrize(
    "change",
    [
        {"stable_pods": None, "targets": [{"api": "v1", "kind": "HTTPRoute", "name": "a", "cluster": "b"}]},
        {"findings": [{"verdict": "perhaps"}]},
        {"metric_set": {"name": "of another judge"}},
        {"calendar": {"moons": []}},
        {"targets": None},
    ],
)
def test_what_another_version_froze_and_nobody_can_read_is_no_plan(change: dict[str, Any]) -> None:
    """Whoever goes back then does so by the claims: an error of any other kind would be tried again."""
    value = {k: v for k, v in frozen().to_json().items() if k != "digest"} | change
    with pytest.raises(PlanInvalid, match="by a version of inference-rollouts that this one cannot"):
        Frozen.from_json({**value, "digest": digest(value)})


def test_changed_parents_are_refused() -> None:
    value = frozen().to_json()
    value["parents"][0]["namespace"] = "elsewhere"
    with pytest.raises(PlanInvalid, match="changed after preflight"):
        Frozen.from_json(value)
