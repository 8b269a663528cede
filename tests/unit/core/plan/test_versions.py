"""The fields of a plan that say which version is rolled out: strict, and safe wherever they are put."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.parameters import apply_parameters
from inference_rollouts.core.run.versioned import needs_digest, with_version
from tests.support.plans import llm, llm_plan
from tests.support.versions import version, versioned, versioned_adapter_plan, versioned_plan


def test_a_version_names_the_canary_and_pins_its_image() -> None:
    plan = with_version(versioned_plan(), found := version("v0.32.0")).as_pool_plan
    assert plan.canary.startswith("llm-v0-32-0-")
    assert plan.workload.image == f"vllm/vllm-openai:v0.32.0@{found.digest}"
    assert plan.versions is None


def test_or_an_adapter_and_its_path() -> None:
    plan = with_version(versioned_adapter_plan(), version("v2")).as_adapter_plan
    assert plan.path == "/adapters/food-review-v2"
    assert plan.canary.startswith("food-review-v2-")
    assert not needs_digest(versioned_adapter_plan())
    assert needs_digest(versioned_adapter_plan("s3://adapters/{digest}"))


def test_a_plan_with_versions_is_read_back_from_what_is_frozen() -> None:
    plan = versioned_plan(min_age="1d", after="staging")
    assert parse_plan(plan.model_dump(mode="json")) == plan


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"canary": "llm-{version}"}, "has no `versions`"),
        (versioned() | {"canary": "llm-next"}, "must end with {version}"),
        (versioned() | {"canary": "{version}-llm"}, "and then {version}"),
        (versioned() | {"stable": "llm-pool"}, "stable must be current"),
        (versioned() | {"workload": llm()["workload"]}, "must end with @{digest}"),
        (versioned(after="llm"), "come after itself"),
        (versioned() | {"after": ["llm"]}, "come after itself"),
        (versioned(min_age="tomorrow"), "min_age"),
        (versioned(source={"from": "ftp"}), "source"),
        (versioned(source={"from": "file"}), "url"),
        (versioned(source={"from": "registry", "repository": "Shop/LLM"}), "repository"),
        (versioned(source={"from": "registry", "repository": "../../etc"}), "repository"),
        (versioned(source={"from": "registry", "repository": "a", "tag": "x?n=1"}), "tag"),
        (versioned(source={"from": "parameter", "default": "v1"}), "default"),
    ],
)
def test_what_is_not_clear_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanInvalid, match=why.replace("{", r"\{").replace("}", r"\}")):
        llm_plan(**changes)


@pytest.mark.parametrize("value", ['v1"}) or vector(1', "v1\n- x: y", "$(id)", "v1@sha256:1"])
def test_a_run_cannot_name_what_is_no_version(value: str) -> None:
    with pytest.raises(PlanInvalid, match="version"):
        apply_parameters(versioned_plan(), {"version": value})


def test_a_version_is_no_parameter_of_a_plan_that_names_what_is_new() -> None:
    with pytest.raises(PlanInvalid, match="names what is new itself"):
        apply_parameters(llm_plan(), {"version": "v1"})
