import copy

import pytest

from inference_rollouts.core import route as routes
from inference_rollouts.core.errors import HoldLost, RouteDrift, RouteRefused
from inference_rollouts.core.route import Record

from .routes import TestFailed, apply_patch, ref, route, service

RUN = "rollout_llm/r1"


def attached(live, stable="llm-pool", canary="new"):
    rule = routes.select_rule(live, stable)
    record = Record(RUN, rule, stable, canary, tuple(live["spec"]["rules"][rule]["backendRefs"]))
    return apply_patch(live, routes.attach_patch(live, record))


def shifted(live, percent, step=1):
    return apply_patch(live, routes.shift_patch(live, routes.held_record(live, RUN), percent, step, 1000.0))


def refs(live, rule=0):
    return [(r["name"], r.get("weight")) for r in live["spec"]["rules"][rule]["backendRefs"]]


def test_the_rule_that_names_the_stable_pool_is_found():
    assert routes.select_rule(route([ref("other")], [ref("llm-pool")]), "llm-pool") == 1


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (route([ref("other")]), "no rule"),
        (route(), "no rule"),
        (route([service("llm-pool")]), "no rule"),
        (route([{**ref("llm-pool"), "namespace": "elsewhere"}]), "no rule"),
        (route([ref("llm-pool")], [ref("llm-pool")]), "2 rules"),
    ],
)
def test_an_unclear_rule_is_refused(live, said):
    with pytest.raises(RouteRefused, match=said):
        routes.select_rule(live, "llm-pool")


def test_a_rule_name_chooses_among_several():
    live = route([ref("llm-pool")], [ref("llm-pool")])
    live["spec"]["rules"][1]["name"] = "chat"
    assert routes.select_rule(live, "llm-pool", "chat") == 1


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ([ref("llm-pool"), service("web")], "mixes"),
        ([ref("llm-pool"), ref("llm-pool")], "more than once"),
        ([ref("llm-pool"), ref("other")], "several"),
        ([ref("llm-pool", 0), ref("other")], "weight 0"),
        ([ref("llm-pool", 0)], "no pool"),
        ([ref("llm-pool"), *(ref(f"p{i}", 0) for i in range(15))], "16 backendRefs"),
    ],
)
def test_rules_that_cannot_be_moved_safely_are_refused(backends, said):
    with pytest.raises(RouteRefused, match=said):
        routes.check_rule(route(backends), 0, "llm-pool", "new")


def test_idle_pools_beside_the_stable_one_are_no_obstacle():
    routes.check_rule(route([ref("older", 0), ref("llm-pool", 100)]), 0, "llm-pool", "new")


def test_attaching_records_the_weights_and_moves_nothing():
    live = attached(route([ref("llm-pool")]))
    assert refs(live) == [("llm-pool", None), ("new", 0)]
    assert routes.held_record(live, RUN).found == (ref("llm-pool"),)


@pytest.mark.parametrize("annotations", [None, {"owner": "team-a"}])
def test_a_restored_route_is_exactly_as_found(annotations):
    before = route([ref("x", 0), ref("llm-pool")], [service("web", 3)], annotations=annotations)
    live = attached(before)
    for step, percent in enumerate((5, 50, 100), start=1):
        live = shifted(live, percent, step)
    after = apply_patch(live, routes.restore_patch(live, routes.held_record(live, RUN)))
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def test_a_canary_that_was_listed_already_is_listed_again_after_a_restore():
    before = route([ref("llm-pool", 1), ref("new", 0)])
    live = shifted(attached(before), 30)
    assert refs(live) == [("llm-pool", 70), ("new", 30)]
    after = apply_patch(live, routes.restore_patch(live, routes.held_record(live, RUN)))
    assert after["spec"] == before["spec"]


def test_promotion_keeps_the_weights_and_lets_the_route_go():
    live = shifted(attached(route([ref("llm-pool")])), 100)
    after = apply_patch(live, routes.promote_patch(live, routes.held_record(live, RUN)))
    assert refs(after) == [("llm-pool", 0), ("new", 100)]
    assert "annotations" not in after["metadata"]


def test_other_rules_may_come_and_go_meanwhile():
    live = shifted(attached(route([ref("llm-pool")])), 5)
    live["spec"]["rules"].insert(0, {"backendRefs": [service("web")]})
    record = routes.held_record(live, RUN)
    assert record.rule == 1
    after = apply_patch(live, routes.restore_patch(live, record))
    assert refs(after, 1) == [("llm-pool", None)]
    assert refs(after, 0) == [("web", None)]


def test_a_write_between_reading_and_patching_makes_the_patch_fail():
    live = attached(route([ref("llm-pool")]))
    patch = copy.deepcopy(routes.shift_patch(live, routes.held_record(live, RUN), 5, 1, 1000.0))
    live["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
    with pytest.raises(TestFailed):
        apply_patch(live, patch)


def test_a_route_that_was_written_since_it_was_read_cannot_be_attached_to():
    live = route([ref("llm-pool")])
    patch = routes.attach_patch(live, Record(RUN, 0, "llm-pool", "new", (ref("llm-pool"),)))
    live["metadata"]["resourceVersion"] = "11"
    with pytest.raises(TestFailed):
        apply_patch(live, patch)


def test_foreign_weights_are_drift_and_name_who_wrote():
    live = shifted(attached(route([ref("llm-pool")])), 5)
    live["spec"]["rules"][0]["backendRefs"][0]["weight"] = 50
    live["metadata"]["managedFields"] = [
        {"manager": "inference-rollouts", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "argocd", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "gateway", "time": "2026-01-04T00:00:00Z", "fieldsV1": {"f:status": {}}},
    ]
    with pytest.raises(RouteDrift, match=r"kubectl-edit, argocd.*llm-pool 50, new 5.*llm-pool 95, new 5"):
        routes.held_record(live, RUN)


def test_somebody_else_putting_the_weights_back_counts_as_restored():
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 5)
    record = routes.held_record(live, RUN)
    live["spec"] = before["spec"]
    assert routes.is_restored(live, record)
    assert "annotations" not in apply_patch(live, routes.release_patch(live))["metadata"]


@pytest.mark.parametrize("holder", [None, "rollout_llm/other"])
def test_only_the_holder_may_write(holder):
    live = attached(route([ref("llm-pool")]))
    if holder is None:
        del live["metadata"]["annotations"]
    else:
        live["metadata"]["annotations"][routes.HELD_BY] = holder
    with pytest.raises(HoldLost, match="not by rollout_llm/r1"):
        routes.held_record(live, RUN)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "not json", '{"found": null}', '{"run": 1, "found": [], "x": 1}']
)
def test_an_edited_record_is_refused_not_guessed(text):
    live = attached(route([ref("llm-pool")]))
    live["metadata"]["annotations"][routes.RECORD] = text
    with pytest.raises(HoldLost, match="unreadable"):
        routes.held_record(live, RUN)


def test_declared_shares():
    assert routes.shares(route([ref("a", 3), ref("b")]), 0) == {"a": 0.75, "b": 0.25}
