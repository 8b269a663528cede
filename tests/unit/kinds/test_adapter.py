"""Warming up an adapter: every pod answers as it is, and as one of them does as stable."""

from __future__ import annotations

import pytest

from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.run import Run
from tests.support.clients import fake_clients
from tests.support.lab_servers import LabServers
from tests.support.plans import food_review_plan, frozen_food_review

TEXT = {"prompt": "The capital of France is"}


@pytest.mark.parametrize(("pattern", "words"), [(None, None), ("Paris", "which does not match 'Paris'")])
def test_adapters_are_compared_by_golden_prompts_too(pattern: str | None, words: str | None) -> None:
    warm_up = {"prompts": ["hi"], "max_tokens": 4, "steady": 2, "golden": [TEXT | {"pattern": pattern}]}
    plan = food_review_plan(warm_up=warm_up)
    modules = [f"{name}=/adapters/{name}" for name in (plan.stable, plan.canary)]
    with LabServers() as servers:
        for _ in range(2):
            servers.start(plan.pool, "--enable-lora", "--lora-modules", *modules)
        frozen = frozen_food_review(warm_up=warm_up)
        run = Run(frozen, fake_clients(servers.cluster(), servers=servers), kind_of(plan))
        if words is None:
            assert set(run.kind.warm_up(run)) == {f"{plan.pool}-0", f"{plan.pool}-1"}
        else:
            with pytest.raises(WarmUpFailed, match=words):
                run.kind.warm_up(run)
