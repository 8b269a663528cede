"""Plans: those of the project, what is valid, and what is refused with every mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.common import CommonPlan
from inference_rollouts.core.plan.plan import AdapterPlan, PoolPlan, parse_plan, plan_schema
from inference_rollouts.core.run.parameters import apply_parameters
from tests.support.plans import ROLLOUTS, ROOT, llm

PLANS = sorted(ROLLOUTS.glob("*.yaml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_plans_that_come_with_the_project_are_valid(path: Path) -> None:
    assert parse_plan(yaml.safe_load(path.read_text())).name == path.stem


def test_a_plan_survives_json() -> None:
    plan = parse_plan(llm())
    assert parse_plan(json.loads(json.dumps(plan.model_dump(mode="json")))) == plan


def test_a_mirror_is_the_first_step_and_no_weight() -> None:
    plan = parse_plan(llm(mirror={"percent": 20, "bake": "2m"}))
    assert [str(step) for step in plan.all_steps] == ["20 % mirrored", "5 %", "25 %", "50 %", "100 %"]
    context = plan.step_context(1, 7.0)
    assert (context.steps, context.mirror, context.bake, context.last_compared) == (5, 20, 120, False)
    shorter = apply_parameters(plan, {"weights": [10, 100], "bake": "8s"})
    assert [(str(step), step.bake) for step in shorter.all_steps] == [
        ("20 % mirrored", 8),
        ("10 %", 8),
        ("100 %", 8),
    ]


@pytest.mark.parametrize(
    ("delay", "late", "first"), [(30.0, 0.5, 30.0), (1.0, 0.5, 1.0), (0.5, 0.5, 0.75), (0.0, 0.5, 0.5)]
)
def test_a_step_is_judged_when_its_delay_and_bake_are_over_and_no_later(
    delay: float, late: float, first: float
) -> None:
    plan = parse_plan(llm(initial_delay=delay, analysis={"scrape_delay": late}))
    context = plan.step_context(1, 7.0)
    assert context.anchor + late == 7.0 + first
    assert context.baked_at + late == 7.0 + first + plan.steps[0].bake


def test_however_late_samples_come_half_of_the_initial_delay_is_left_out() -> None:
    plan = parse_plan(llm(initial_delay=30.0, analysis={"scrape_delay": 60.0}))
    assert plan.step_context(1, 7.0).anchor == 7.0 + 15.0


@pytest.mark.parametrize("percent", [0, 101, "some"])
def test_a_mirror_copies_some_of_the_requests(percent: int) -> None:
    with pytest.raises(PlanInvalid, match=r"mirror\.percent"):
        parse_plan(llm(mirror={"percent": percent, "bake": "2m"}))


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(llm(canary="Bad Name", initial_delay="soon", surprise=1))
    assert all(word in str(caught.value) for word in ("canary", "initial_delay", "surprise"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, [], "plan", 3])
def test_what_is_no_mapping_is_no_plan(wrong: Any) -> None:
    with pytest.raises(PlanInvalid):
        parse_plan(wrong)


def test_only_the_last_step_with_stable_traffic_asks_for_non_inferiority() -> None:
    plan = parse_plan(llm())
    last = [plan.step_context(i, 0.0).last_compared for i in range(1, 5)]
    assert last == [False, False, True, False]
    only = parse_plan(llm(steps=[{"weight": 100, "bake": 1}], without_comparison=True))
    assert only.step_context(1, 0.0).last_compared is False
    with pytest.raises(PlanInvalid, match="nothing to compare the canary with"):
        parse_plan(llm(steps=[{"weight": 100, "bake": 1}]))


def test_the_published_schema_is_the_plan_s() -> None:
    published = json.loads((ROOT / "docs/plan.schema.json").read_text())
    assert published == plan_schema(), "run: make schema"


def test_every_field_of_a_plan_has_a_description() -> None:
    parts = plan_schema()["$defs"].items()
    fields = {
        f"{part}.{name}": field for part, it in parts for name, field in it.get("properties", {}).items()
    }
    assert [name for name, field in fields.items() if not field.get("description")] == []


@pytest.mark.parametrize(("old", "new"), [("settle", "initial_delay"), ("records", "storage")])
def test_an_old_key_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(PlanInvalid, match=f"^The plan is invalid: `{old}` is called `{new}` now.$"):
        parse_plan(llm(**{old: "1s"}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("look", "interval"),
        ("lag", "scrape_delay"),
        ("patience", "progress_deadline"),
        ("catch", "min_detectable_odds"),
        ("when_blind", "when_underpowered"),
    ],
)
def test_an_old_key_of_the_analysis_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(PlanInvalid, match=f"^The plan is invalid: analysis: `{old}` is called `{new}` now.$"):
        parse_plan(llm(analysis={old: 2, "alpha": 0.02}))


@pytest.mark.parametrize(
    "changes",
    [
        {"initial_delay": "9" * 400 + "h"},
        {"initial_delay": 10**400},
        {"initial_delay": 1e15},
        {"approvals": {"timeout": 1.0e300}},
        {"deadlines": {"nodes": "400d"}},
        {"steps": [{"weight": 100, "bake": int("9" * 400)}]},
        {"analysis": {"progress_deadline": 1e15}},
        {"analysis": {"interval": 1e-320}},
        {"analysis": {"interval": 1e-6}},
        {"analysis": {"interval": 0}},
        {"analysis": {"scrape_delay": float("nan")}},
        {"warm_up": {"prompts": []}},
        {"retention": {"keep": float("inf")}},
    ],
)
def test_every_number_has_bounds(changes: dict[str, Any]) -> None:
    [field] = changes
    with pytest.raises(PlanInvalid, match=field) as caught:
        parse_plan(llm(**changes))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", [PoolPlan, AdapterPlan])
def test_a_field_that_all_plans_have_means_the_same_in_each_kind(kind: type[CommonPlan]) -> None:
    again = set(CommonPlan.model_fields) & set(kind.__annotations__)
    assert again <= {"stable", "canary", "metrics"}, "narrower types, or another default; nothing else"


def test_a_mistake_is_told_on_one_line_whatever_was_given() -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(llm(kind="node\nand more"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "7b", "0", "a" * 63])
def test_what_is_there_already_may_have_any_name_that_kubernetes_allows(name: str) -> None:
    plan = parse_plan(llm(stable=name, routes=[{"name": "chat.example.com"}], gateway="a." * 126 + "a"))
    assert isinstance(plan, PoolPlan)
    assert plan.stable == name
    assert parse_plan(llm(namespace="n" * 63)).namespace == "n" * 63


@pytest.mark.parametrize(
    "wrong",
    [
        {"stable": "a" * 64},
        {"stable": "a..b"},
        {"stable": ".a"},
        {"stable": "A"},
        {"routes": [{"name": "a" * 254}]},
        {"routes": [{"name": "a-.b"}]},
        {"namespace": "a.b"},
        {"namespace": "n" * 64},
        {"canary": "llama-3.1-8b"},
    ],
)
def test_and_no_other(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanInvalid):
        parse_plan(llm(**wrong))
