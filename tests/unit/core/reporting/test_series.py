"""Series of rollouts: what they say, how they are written, and that no query asks for others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.reporting.series import (
    COMMON,
    DURATION,
    FAMILIES,
    INFO,
    OUTCOMES,
    PHASE,
    Closed,
    Reading,
    Reason,
    Sample,
    Tally,
    Type,
    exposition,
    samples,
    tags,
)
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.core.routing.watch import MetricEvidence, Progress
from tests.support.plans import INCLUDE

LABELS = {"plan": "llm", "kind": "base-model", "namespace": "default"}
PROGRESS = Progress(
    step=1,
    verdict="inconclusive",
    reason="",
    evidence=2.5,
    alarm_at=20,
    baked=1,
    bake=2,
    following=None,
    observed=0.19,
    metrics=(MetricEvidence(metric="errors", worse=2.0, good=7.0), MetricEvidence(metric="ttft", worse=1.0)),
)


def reading(phase: Phase = Phase.PROGRESSING, **progress: Any) -> Reading:
    told = PROGRESS.model_copy(update=progress)
    return Reading("llm", "base-model", "default", "old", "new", phase, 20, told, 3.0)


def text(given: Reading) -> list[str]:
    return exposition(samples(given)).splitlines()


def test_the_gauges_of_a_rollout() -> None:
    lines = text(reading())
    own = 'plan="llm",kind="base-model",namespace="default"'
    assert f'inference_rollout_info{{{own},stable="old",canary="new"}} 1' in lines
    assert 'inference_rollout_weight_ratio{plan="llm",kind="asked",namespace="default"} 0.2' in lines
    assert 'inference_rollout_weight_ratio{plan="llm",kind="observed",namespace="default"} 0.19' in lines
    assert f'inference_rollout_evidence{{{own},metric="all",question="worse"}} 2.5' in lines
    assert f'inference_rollout_evidence{{{own},metric="errors",question="good-enough"}} 7' in lines
    assert f'inference_rollout_verdict{{{own},verdict="inconclusive"}} 1' in lines
    assert f"inference_rollout_unwatched_seconds{{{own}}} 3" in lines
    assert not [line for line in lines if 'metric="ttft",question="good-enough"' in line]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("asks", [False, True])
def test_one_phase_and_one_verdict_are_hot(phase: Phase, asks: bool) -> None:
    lines = text(reading(phase, asks=asks))
    for family in ("phase", "verdict"):
        hot = [
            line for line in lines if line.startswith(f"inference_rollout_{family}{{") and line.endswith(" 1")
        ]
        assert len(hot) == 1, family
    assert any('phase="asking"} 1' in line for line in lines) == (asks and phase is Phase.PROGRESSING)


def test_no_series_names_a_run() -> None:
    assert not {"run", "token", "run_id"} & {label for family in FAMILIES for label in family.labels}
    for sample in samples(reading()):
        assert set(sample.labels) == set(sample.family.labels)


LONGEST_NAME = 63  # of what Kubernetes names


@pytest.mark.parametrize("name", ["llm", "n" * LONGEST_NAME, "odd name, with = and é"])
def test_tags_are_such_as_airflow_takes(name: str) -> None:
    """In the dialect in which they are part of a name it refuses the name for them."""
    rollout = replace(reading(), plan=name, namespace=name, stable=name, canary=name)
    for sample in samples(rollout):
        stat = sample.family.name + "".join(f",{k}={v}" for k, v in tags(sample.labels).items())
        assert len(stat) <= 250
        assert re.fullmatch(r"[A-Za-z0-9_.\-/]+", stat.replace(",", "").replace("=", ""))


def test_long_names_stay_apart_as_tags() -> None:
    one, other = (tags({"plan": "n" * 50 + end}) for end in "ab")
    assert one != other


def test_ends_are_counted_from_nothing_on_and_timed() -> None:
    tally = Tally()
    tally.expect(reading())
    assert {sample.value for sample in tally.samples()} == {0}
    assert {sample.family for sample in tally.samples()} == {OUTCOMES, DURATION}
    tally.add(Closed(LABELS, "rolled-back", Reason.ALARM, 400.0))
    tally.add(Closed(LABELS, "rolled-back", Reason.ALARM, None))
    tally.expect(reading())
    lines = exposition(tally.samples()).splitlines()
    own = 'plan="llm",kind="base-model",namespace="default",outcome="rolled-back"'
    assert f'inference_rollout_outcomes_total{{{own},reason="alarm"}} 2' in lines
    assert f'inference_rollout_duration_seconds_bucket{{{own},le="300"}} 0' in lines
    assert f'inference_rollout_duration_seconds_bucket{{{own},le="900"}} 1' in lines
    assert f'inference_rollout_duration_seconds_bucket{{{own},le="+Inf"}} 1' in lines
    assert f"inference_rollout_duration_seconds_sum{{{own}}} 400" in lines
    assert f"inference_rollout_duration_seconds_count{{{own}}} 1" in lines


@given(st.text())
def test_any_text_is_one_label_on_one_line(value: str) -> None:
    body = exposition([Sample(INFO, {"plan": value}, 1)])
    line = body.removeprefix(f"# HELP {INFO.name} {INFO.about}\n# TYPE {INFO.name} gauge\n").removesuffix(
        "\n"
    )
    assert "\n" not in line
    match = re.fullmatch(r'inference_rollout_info\{plan="((?:[^"\\]|\\.)*)"\} 1', line, re.DOTALL)
    assert match
    unescaped = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], match[1])
    assert unescaped == value


def test_families_are_told_once_whatever_the_order() -> None:
    phases = [Sample(PHASE, {"plan": plan}, 1) for plan in "ab"]
    body = exposition([phases[0], Sample(INFO, {}, 1), phases[1], phases[0]])
    assert body.count("# TYPE inference_rollout_phase gauge") == 1
    assert body.count("inference_rollout_phase{") == 2


NAMES = {
    f"{family.name}{suffix}": family
    for family in FAMILIES
    for suffix in (("_bucket", "_sum", "_count") if family.type is Type.HISTOGRAM else ("",))
}


def queries() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((INCLUDE / "monitoring" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]
    for group in yaml.safe_load((INCLUDE / "monitoring" / "alerts.yaml").read_text())["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


@pytest.mark.parametrize(("where", "expr"), list(queries()))
def test_every_query_names_series_and_labels_that_exist(where: str, expr: str) -> None:
    named = re.findall(r"\binference_rollout\w+", expr)
    assert named, where
    assert set(named) <= set(NAMES), where
    labels = {label for name in named for label in (*NAMES[name].labels, "le")}
    asked = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr)
    by = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expr) for label in group.split(",")]
    assert {*asked, *by} <= labels, where


def test_every_family_has_common_labels_or_none() -> None:
    for family in FAMILIES:
        assert family.labels[: len(COMMON)] in (COMMON, ("how",), ()), family.name
