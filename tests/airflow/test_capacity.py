"""Whether the pools have room: before a rollout, before each raise, and while a step bakes."""

from __future__ import annotations

import copy
import time

import pytest
import yaml

from tests.support.plans import CANARY


def after_the_first_shift(monkeypatch, cluster, act):
    """Runs once, when the canary has its first traffic."""
    patch, done = cluster.patch, []

    def patching(*args):
        answer = patch(*args)
        if cluster.weights().get(CANARY, 0) > 0 and not done:
            done.append(time.monotonic())
            act()
        return answer

    monkeypatch.setattr(cluster, "patch", patching)
    return done


@pytest.mark.usefixtures("database")
class TestPipeline:
    """Through Airflow: the fixtures' plan has the steps 50 % and 100 %, and 4 s for a raise."""

    def test_a_canary_that_is_too_small_is_never_created(self, rollout, cluster, include):
        changed = yaml.safe_load(include.read_text())
        changed["workload"]["replicas"] = 1
        include.write_text(yaml.safe_dump(changed))
        run = rollout()
        assert run.states["preflight"] == "failed"
        assert run.state == "failed"
        assert not cluster.writes

    @pytest.mark.parametrize("left", [1, 0])
    def test_a_stable_pool_scaled_down_midway_stops_the_next_raise(self, rollout, cluster, monkeypatch, left):
        after_the_first_shift(monkeypatch, cluster, lambda: cluster.scale("llm-pool", left))
        before = copy.deepcopy(cluster.route["spec"])
        run = rollout()
        assert run.state == "failed"
        assert run.states["step_2.shift"] == "skipped"
        if left:
            assert run.states["rollback"] == "success"
            assert cluster.route["spec"] == before
            assert "The next raise has to wait: llm-pool has 1 ready pod, 3 needed" in run.note
        else:
            assert run.states["rollback"] == "failed", "it waits for stable"
            assert cluster.weights() == {"llm-pool": 50, CANARY: 50}

    def test_a_stable_pool_that_comes_back_in_time_stops_nothing(
        self, rollout, cluster, prometheus, monkeypatch
    ):
        done = after_the_first_shift(monkeypatch, cluster, lambda: cluster.scale("llm-pool", 1))
        query, back = prometheus.query, []

        def later(*args):
            if done and not back and time.monotonic() > done[0] + 2.5:
                back.append(cluster.scale("llm-pool", 3))
            return query(*args)

        monkeypatch.setattr(prometheus, "query", later)
        assert rollout().state == "success"
        assert back

    def test_an_idle_stable_pool_that_shrinks_at_the_end_stops_nothing(self, rollout, cluster, monkeypatch):
        patch = cluster.patch

        def idle(*args):
            answer = patch(*args)
            if cluster.weights().get(CANARY) == 100:
                cluster.scale("llm-pool", 1)
            return answer

        monkeypatch.setattr(cluster, "patch", idle)
        assert rollout().state == "success"

    def test_a_raise_without_room_waits_deferred_and_fails_with_the_figures(
        self, rollout, cluster, prometheus, monkeypatch
    ):
        """The judge passes the step; then the load doubles."""
        from inference_rollouts.hooks import looking
        from inference_rollouts.rollout.capacity import RoomAhead

        monkeypatch.setattr(looking, "room_ahead", lambda *_: RoomAhead())
        after_the_first_shift(monkeypatch, cluster, lambda: setattr(prometheus, "load", 300.0))
        before = copy.deepcopy(cluster.route["spec"])
        run = rollout()
        assert run.states["step_1.gate"] == "success"
        assert run.states["step_2.shift"] == "failed"
        assert run.states["rollback"] == "success"
        assert cluster.route["spec"] == before
        assert "300 requests in flight: 100 each, 51 allowed" in run.note
