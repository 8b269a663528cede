"""The services of the night: plans that the pipeline takes, windows as the story tells, their own pools."""

from __future__ import annotations

import pytest

from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.versioned import with_version
from inference_rollouts.core.schedule.calendar import AtWindowEnd, Calendar
from inference_rollouts.core.versions.version import Version
from lab.demo.services import MINUTE, SERVICES, Service, objects_of, plan_of
from lab.model_server.images import load_catalogue

OPENS = 1_795_176_000.0 + 59 * MINUTE  # a window that passes the hour, too


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: str(service.name))
def test_each_plan_is_one_that_the_pipeline_takes_of_an_image_that_the_lab_has(service: Service) -> None:
    plan = parse_plan(plan_of(service, OPENS)).as_pool_plan
    assert (plan.dag_id, plan.at_window_end) == (service.dag_id, AtWindowEnd.STAY)
    made = with_version(plan, Version.from_json(service.version)).as_pool_plan
    assert made.canary.startswith(f"{service.name}-v0-32-0")
    assert load_catalogue().image(made.workload.image) == load_catalogue().image(
        f"vllm/vllm-openai:{service.tag}"
    )


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: str(service.name))
def test_the_windows_are_open_when_the_story_says_and_at_no_other_time(service: Service) -> None:
    calendar = Calendar(windows=parse_plan(plan_of(service, OPENS)).windows)
    for minute in range(-2, 7):
        is_night = any(first <= minute < last for first, last in service.nights)
        assert calendar.is_open(OPENS + minute * MINUTE + 30) is is_night


def test_one_cannot_end_in_its_first_night() -> None:
    [search] = [service for service in SERVICES if len(service.nights) > 1]
    assert search.bakes[0] >= (search.nights[0][1] - search.nights[0][0]) * MINUTE


def test_each_other_service_has_objects_of_its_own() -> None:
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in objects_of(SERVICES[1])}
    assert names == {
        ("Deployment", "code-pool"),
        ("Deployment", "code-pool-epp"),
        ("Service", "code-pool-epp"),
        ("InferencePool", "code-pool"),
        ("HTTPRoute", "routes-to-code"),
    }
    assert "llm-pool" not in str(objects_of(SERVICES[1]))
