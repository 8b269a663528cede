"""The preview of a route: the same rules with one header more, and the canary alone behind them."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL
from inference_rollouts.core.plan.trial import Preview
from inference_rollouts.core.routing.claim import Place, place_of
from inference_rollouts.core.run.preview import is_preview, is_preview_of, preview_route
from tests.support.plans import llm_plan
from tests.support.routes import ref, route, service

RUN = "rollout_llm/r1"


def preview(live: dict[str, Any], *paths: str, places: Any = None, header: str = "X-Try") -> K8sObject:
    places = places or [place_of(live, path) for path in paths or ("/spec/rules/0",)]
    return preview_route(live, places, llm_plan(), Preview(header=header, value="me"), RUN)


def test_only_the_rules_that_move_are_previewed_and_only_header_and_backend_differ() -> None:
    live = route([service("web")], [ref("llm-pool", 3), ref("other")], [ref("llm-pool")])
    live["spec"] |= {
        "parentRefs": [{"name": "gw", "namespace": "infra", "sectionName": "https"}],
        "hostnames": ["llm.example.com"],
    }
    matches: list[dict[str, Any]] = [
        {"path": {"type": "PathPrefix", "value": "/v1"}, "headers": [{"name": "x-a", "value": "b"}]},
        {"method": "POST"},
    ]
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-b"]}}]
    live["spec"]["rules"][1] |= {
        "name": "chat",
        "matches": matches,
        "filters": filters,
        "timeouts": {"request": "300s"},
    }
    made = preview(live, "/spec/rules/1", "/spec/rules/2")
    assert {key: made["spec"][key] for key in ("parentRefs", "hostnames")} == {
        key: live["spec"][key] for key in ("parentRefs", "hostnames")
    }
    first, second = made["spec"]["rules"]
    added = {"type": "Exact", "name": "X-Try", "value": "me"}
    assert first == {
        "name": "chat",
        "matches": [
            {**matches[0], "headers": [*matches[0]["headers"], added]},
            {"method": "POST", "headers": [added]},
        ],
        "filters": filters,
        "timeouts": {"request": "300s"},
        "backendRefs": [ref("llm-pool-version-2")],
    }
    assert second["backendRefs"] == [ref("llm-pool-version-2")]
    assert live["spec"]["rules"][1]["matches"] == matches


def test_the_backend_of_a_preview_is_stable_s_with_its_port_and_filters() -> None:
    whole = ref("llm-pool", 3) | {"port": 8000, "filters": [{"type": "RequestHeaderModifier"}]}
    (rule,) = preview(route([whole]))["spec"]["rules"]
    assert rule["backendRefs"] == [
        ref("llm-pool-version-2") | {key: whole[key] for key in ("port", "filters")}
    ]


def test_a_rule_without_matches_is_previewed_by_the_header_alone() -> None:
    live = route([ref("llm-pool")])
    del live["spec"]["rules"][0]["matches"]
    (rule,) = preview(live)["spec"]["rules"]
    assert rule["matches"] == [{"headers": [{"type": "Exact", "name": "X-Try", "value": "me"}]}]


def test_a_preview_never_mirrors_what_the_rollout_itself_mirrors() -> None:
    live = route([ref("llm-pool")])
    live["spec"]["rules"][0]["filters"] = [{"type": "RequestMirror", "requestMirror": {}}]
    made = preview(live, places=[Place(path="/spec/rules/0", found=(ref("llm-pool"),))])
    assert "filters" not in made["spec"]["rules"][0]


def test_a_preview_says_whose_it_is() -> None:
    made = preview(route([ref("llm-pool")]))
    assert is_preview(made)
    assert made["metadata"]["labels"].items() >= {OWNER_LABEL: OWNER, PLAN_LABEL: "llm"}.items()
    assert [is_preview_of(made, *whose) for whose in (("llm",), ("llm", RUN), ("chat",), ("llm", "r/2"))] == [
        True,
        True,
        False,
        False,
    ]
    assert not is_preview(route([ref("llm-pool")]))


@pytest.mark.parametrize("name", ["r", "a." * 100 + "b", "x" * 253, "x" * 200 + "." * 1 + "y" * 52])
def test_names_are_legal_whatever_the_route_is_called(name: str) -> None:
    live = route([ref("llm-pool")])
    live["metadata"]["name"] = name
    made = preview(live)["metadata"]["name"]
    assert len(made) <= 253
    assert made.endswith("-llm-pool-version-2-preview")
    assert ".-" not in made
    live["metadata"]["name"] = name[:-1] + "z"
    assert preview(live)["metadata"]["name"] != made


def test_a_header_that_a_rule_looks_at_is_refused() -> None:
    live = route([ref("llm-pool")])
    live["spec"]["rules"][0]["matches"] = [{"headers": [{"name": "x-try", "value": "1"}]}]
    with pytest.raises(
        RouteRefused, match="Rule 0 of HTTPRoute routes-to-llm looks at the header X-Try itself"
    ):
        preview(live)


@pytest.mark.parametrize("wrong", [{"header": "x y"}, {"header": ""}, {"value": "a b"}, {"value": "a\nb"}])
def test_what_is_no_header(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="string"):
        Preview(**wrong)
