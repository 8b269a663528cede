"""Metric sets and their queries."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.metrics import MetricSet, judged_together, parse_metric_set
from inference_rollouts.core.judging.policy import Policy
from inference_rollouts.core.judging.promql import quoted, quoted_pattern, split_selector
from inference_rollouts.core.judging.queries import load_query, queries
from inference_rollouts.core.judging.rules import problems
from inference_rollouts.core.plan.plan import parse_plan
from tests.support.judging import CANARY, GATEWAY, INCLUDE, SMALL, STABLE, small_set, with_gateway

PLANS = INCLUDE.parent / "rollouts"


@pytest.mark.parametrize("path", sorted(INCLUDE.glob("*.yaml")), ids=lambda path: path.stem)
def test_sets_that_come_with_the_project_are_valid(path: Any) -> None:
    metric_set = parse_metric_set(yaml.safe_load(path.read_text()))
    assert metric_set.name == path.stem
    assert MetricSet.from_json(metric_set.to_json()) == metric_set
    assert queries(metric_set, CANARY, STABLE)


@pytest.mark.parametrize("name", ["envoy", "istio", "gke_load_balancer", "endpoint_picker"])
def test_sets_that_come_with_the_project_judge_together_with_the_servers(name: str) -> None:
    metric_set = load_metric_set("vllm", name)
    assert [each.name for each in metric_set.sets] == ["vllm", name]
    assert [query.key for query in queries(metric_set, CANARY, STABLE)] == ["counts", f"counts/{name}"]
    assert problems(Policy(), metric_set) == []
    assert MetricSet.from_json(metric_set.to_json()) == metric_set


@pytest.mark.parametrize(
    ("old", "new"), [({"edges": [1]}, "thresholds"), ({"objective": {"share": 0.1, "edge": 1}}, "threshold")]
)
def test_an_old_key_is_refused_with_its_new_name(old: dict[str, Any], new: str) -> None:
    key = "edges" if "edges" in old else "edge"
    value = yaml.safe_load((INCLUDE / "vllm.yaml").read_text())
    value["metrics"][2] |= old
    with pytest.raises(PlanInvalid, match=rf"metrics\.2\.[a-z.]+: `{key}` is called `{new}` now\.$"):
        parse_metric_set(value)


@pytest.mark.parametrize(
    ("text", "name", "matchers"),
    [
        ("up", "up", ""),
        ("vllm:ttft_seconds", "vllm:ttft_seconds", ""),
        ("up{}", "up", ""),
        ('up{a="b"}', "up", 'a="b"'),
        (' up { a = "b" , c!~"d,}" } ', "up", 'a = "b" , c!~"d,}"'),
        ('up{a="b",}', "up", 'a="b"'),
        (r'up{a="quote \" brace }"}', "up", r'a="quote \" brace }"'),
    ],
)
def test_selectors_are_read(text: str, name: str, matchers: str) -> None:
    assert split_selector(text) == (name, matchers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rate(up[5m])",
        "up[5m]",
        "up offset 5m",
        "up or down",
        'up{a="b"} or vector(1)',
        'up{a="b"',
        "up{a='b'}",
        'up{a="b" c="d"}',
        'up{"a"="b"}',
        'up{a="b}',
        "up{,}",
        "5up",
        'up{a="b"}\n) or (x',
    ],
)
def test_other_promql_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a PromQL selector"):
        split_selector(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": []}, "metrics"),
        ({"errors": "ttft"}, "must be a rate"),
        ({"latency": "errors"}, "must be a latency"),
        ({"latency": "nothing"}, "must be a latency"),
        ({"surprise": 1}, "surprise"),
        ({"metrics": [SMALL["metrics"][0] | {"total": "rate(x[5m])"}, SMALL["metrics"][1]]}, "not a PromQL"),
        ({"metrics": [SMALL["metrics"][0], SMALL["metrics"][1] | {"thresholds": [1, 0.5]}]}, "must rise"),
        (
            {"metrics": [SMALL["metrics"][0], SMALL["metrics"][1] | {"direction": "lower-is-worse"}]},
            "for rates",
        ),
        ({"metrics": [*SMALL["metrics"], SMALL["metrics"][0]]}, "same name"),
        (
            {
                "metrics": [
                    SMALL["metrics"][0],
                    SMALL["metrics"][1] | {"objective": {"share": 0.1, "threshold": 3}},
                ]
            },
            "threshold",
        ),
        (
            {
                "metrics": [
                    SMALL["metrics"][0] | {"objective": {"share": 0.1, "threshold": 3}},
                    SMALL["metrics"][1],
                ]
            },
            "no threshold",
        ),
        ({"metrics": [m | {"weight": 0} for m in SMALL["metrics"]]}, "weight above 0"),
        ({"metrics": [SMALL["metrics"][0] | {"tolerance": float("nan")}, SMALL["metrics"][1]]}, "tolerance"),
        ({"started": None}, "only gateways"),
        ({"increase_over": "60s"}, "guardrail_only"),
        ({"beside": [SMALL | {"name": "other"}]}, "the plan names"),
        *(
            ({"arm": {"label": "cluster", "value": value}}, words)
            for value, words in (
                ("pool", "must have {pool}"),
                ("{pool}{other}", "no other braces"),
                ("{pool}\n", "no other braces"),
                ("{pool}*", "a whole word"),
                ("x*-{pool}", "a whole word"),
                ("**-{pool}", "a whole word"),
                ("{pool}" + "x" * 300, "at most 253"),
            )
        ),
        ({"arm": {"label": "no-label", "value": "{pool}"}}, "arm.label"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInvalid, match=words):
        parse_metric_set(SMALL | changes)


def test_one_query_fetches_every_series_of_both_arms_raw() -> None:
    (query,) = queries(small_set(), CANARY, STABLE)
    parts = query.promql.split("\nor ")
    assert [re.search(r'"series", "([^"]*)"', part)[1] for part in parts] == [  # type: ignore[index]
        "started",
        "errors/total/0",
        "errors/bad/0",
        "ttft/le/0",
        "ttft/le/1",
    ]
    assert all('inference_pool=~"new|old",namespace="default"' in part for part in parts)
    assert "rate(" not in query.promql
    assert "increase(" not in query.promql
    assert "__name__" not in query.promql
    assert 'ttft_seconds_bucket{le=~"0\\\\.5|1|1\\\\.0|\\\\+Inf",' in parts[3]


def test_adapters_are_told_apart_among_the_requests_for_their_alias() -> None:
    plan = parse_plan(yaml.safe_load((PLANS / "food-review.yaml").read_text()))
    (query,) = queries(small_set(), plan.arm("food-review-2"), plan.arm("food-review-1"))
    started, *others = query.promql.split("\nor ")
    where = 'namespace="default",inference_pool="llm-pool"'
    assert f"process_start_time_seconds{{{where}}}" in started
    arms = f'target_model_name=~"food-review-2|food-review-1",{where},model_name="food-review"'
    assert all(arms in part for part in others)


@pytest.mark.parametrize(
    "stable",
    [
        CANARY,
        Arm("inference_pool", "old", "default", (("inference_pool", "x"),)),
        Arm("other", "old", "default"),
        Arm("inference_pool", "old", "elsewhere"),
        Arm("bad-label", "old"),
    ],
)
def test_arms_must_differ_in_one_label_only(stable: Arm) -> None:
    with pytest.raises(ValueError, match="label"):
        queries(small_set(), CANARY if stable.label != "bad-label" else Arm("bad-label", "new"), stable)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain", '"plain"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("a\nb\x00", r'"a\x0ab\x00"'),
        ("ä", '"ä"'),
    ],
)
def test_text_is_quoted(text: str, literal: str) -> None:
    assert quoted(text) == literal


def test_patterns_match_only_themselves() -> None:
    assert quoted_pattern("a.b|c", "d") == r'"a\\.b\\|c|d"'


def test_text_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="not valid text"):
        quoted("\ud800")


def test_the_gauges_are_asked_for_both_pools_in_one_query() -> None:
    metric_set = parse_metric_set(
        {
            "name": "x",
            "errors": "e",
            "load": ["running", 'waiting{engine="0"}'],
            "metrics": [{"name": "e", "kind": "rate", "total": "t", "bad": "b"}],
        }
    )
    asked = load_query(metric_set, Arm("inference_pool", "new", "ns"), Arm("inference_pool", "old", "ns"), 60)
    targets = (
        "inference_pool,pod,__replica__,container,endpoint,instance,job,prometheus,prometheus_replica,replica"
    )
    assert asked == (
        f"label_replace(max by (inference_pool,pod) (sum by ({targets}) "
        '(avg_over_time(running{inference_pool=~"new|old",namespace="ns"}[60s]))), "series", "0", "", "")\n'
        f"or label_replace(max by (inference_pool,pod) (sum by ({targets}) "
        '(avg_over_time(waiting{engine="0",inference_pool=~"new|old",namespace="ns"}[60s]))), '
        '"series", "1", "", "")'
    )


def test_the_load_of_a_pod_is_that_of_all_its_servers_each_once() -> None:
    metric_set = parse_metric_set(SMALL | {"load": "running"})
    several = replace(CANARY, ports=(("8000",), ("8001",)))
    asked = load_query(metric_set, several, STABLE, 60)
    assert "sum by (inference_pool,pod) (max by (inference_pool,pod,instance,endpoint) (sum by (" in asked


def test_the_gauges_are_asked_for_by_the_names_that_the_set_has_for_pools() -> None:
    own = {"label": "app", "value": "{pool}-*"}
    metric_set = parse_metric_set(SMALL | {"load": "running", "arm": own})
    asked = load_query(metric_set, CANARY, STABLE, 60)
    both = 'app=~"new-[A-Za-z0-9]+|old-[A-Za-z0-9]+"'
    assert "max by (app,pod) (sum by (app,pod," in asked
    assert f"(avg_over_time(running{{{both}}}[60s]))" in asked


def test_a_gateway_knows_a_pool_by_the_name_that_its_set_says_and_no_text_escapes() -> None:
    whole = with_gateway(arm={"label": "cluster", "value": 'a"|{pool}-*.{namespace}'})
    _, query = queries(whole, CANARY, STABLE)
    both = quoted(r'a"\|new-[A-Za-z0-9]+\.default|a"\|old-[A-Za-z0-9]+\.default')
    assert query.promql.count(f"cluster=~{both}") == 2
    assert "started" not in query.promql
    assert "namespace=" not in query.promql


def test_a_late_set_is_asked_for_what_was_then() -> None:
    (own, late) = queries(with_gateway(delay="210s"), CANARY, STABLE)
    assert "offset" not in own.promql
    assert late.promql.count("} offset 210s") == 2
    (_, grown) = queries(with_gateway(delay="1.5s", guardrail_only=True, increase_over="60s"), CANARY, STABLE)
    assert grown.promql.count('"}[60s] offset 1500ms)') == 2


TAKEN = SMALL["metrics"][0] | {"name": "gateway_errors"}


class TestTogether:
    def test_names_are_those_of_the_sets_and_the_first_has_its_own(self) -> None:
        both = with_gateway()
        assert [metric.name for metric in both.judged] == ["errors", "ttft", "gateway_errors"]
        assert both["gateway_errors"].label == "errors (gateway)"
        assert both.errors == "errors"
        assert both.sent == "gateway_errors"
        assert with_gateway(guardrail_only=True).sent == "errors"
        assert small_set().sent == "errors"

    def test_a_set_weighs_what_it_says(self) -> None:
        assert with_gateway(weight=3)["gateway_errors"].weight == 3

    @pytest.mark.parametrize(
        ("sets", "words"),
        [
            ([GATEWAY], "cannot be first"),
            ([SMALL | {"delay": "1s"}, GATEWAY], "cannot be first"),
            ([SMALL | {"guardrail_only": True}, GATEWAY], "cannot be first"),
            ([SMALL, GATEWAY, GATEWAY], "'gateway' is named more than once"),
            ([SMALL | {"metrics": [*SMALL["metrics"], TAKEN]}, GATEWAY], "the same name"),
        ],
    )
    def test_those_that_do_not_go_together_are_refused_in_one_sentence(
        self, sets: list[dict[str, Any]], words: str
    ) -> None:
        with pytest.raises(PlanInvalid, match=words):
            judged_together([parse_metric_set(each) for each in sets])
