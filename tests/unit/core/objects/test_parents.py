"""A parent is who it is in full, and only the word of those that serve a route counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.objects.parents import Parent, accepting, parents_of
from inference_rollouts.core.objects.readiness import Phase, pool_readiness, route_readiness

GENERATION = 3


def ref(name: str = "gw", **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def entry(
    to: dict[str, Any], *, by: str = "c1", seen: int | None = GENERATION, **states: str
) -> dict[str, Any]:
    """What a controller says for a parentRef: yes to what must be, but for `states`."""
    conditions = [
        {"type": kind, "status": status, "reason": "R", "message": f"words on {kind}"}
        | ({} if seen is None else {"observedGeneration": seen})
        for kind, status in {"Accepted": "True", "ResolvedRefs": "True", **states}.items()
    ]
    return {"parentRef": to, "controllerName": by, "conditions": conditions}


def says(kind: str, status: str) -> dict[str, Any]:
    return {kind: status}


def route(refs: list[dict[str, Any]], *entries: dict[str, Any], namespace: str = "apps") -> dict[str, Any]:
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": namespace, "generation": GENERATION},
        "spec": {"parentRefs": refs},
        "status": {"parents": list(entries)},
    }


def pool(*entries: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": "p", "namespace": "apps", "generation": GENERATION}
    return {"kind": "InferencePool", "metadata": meta, "status": {"parents": list(entries)}}


def phase(obj: dict[str, Any], parents: tuple[Parent, ...]) -> Phase:
    ready = pool_readiness if obj["kind"] == "InferencePool" else route_readiness
    return ready(obj, parents).phase


def test_what_a_parent_ref_leaves_out_is_as_in_the_gateway_api() -> None:
    assert parents_of(route([ref()])) == (Parent("gw", "apps"),)
    odd = ref(group="inference.networking.k8s.io", kind="InferenceGateway", namespace="infra")
    assert parents_of(route([odd])) == (
        Parent("gw", "infra", group="inference.networking.k8s.io", kind="InferenceGateway"),
    )


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        (Parent("gw"), "Gateway gw"),
        (Parent("my-gateway", "infra", section="https"), "Gateway infra/my-gateway, listener https"),
        (Parent("gw", "infra", port=8443), "Gateway infra/gw, port 8443"),
        (Parent("gw", "infra", kind="InferenceGateway"), "InferenceGateway infra/gw"),
    ],
)
def test_a_parent_is_named_so_that_a_person_finds_it(parent: Parent, words: str) -> None:
    assert str(parent) == words


def test_a_status_of_a_former_parent_counts_nowhere() -> None:
    """It stays in the status, comes first, and never sees a generation again."""
    live = route([ref()], entry(ref("old"), seen=1), entry(ref()))
    assert accepting(live) == (Parent("gw", "apps", controller="c1", route="r"),)
    assert phase(live, accepting(live)) is Phase.READY


def test_two_gateways_of_one_name_are_two() -> None:
    mine, theirs = ref(namespace="infra"), ref(namespace="other")
    live = route([mine], entry(theirs, Accepted="False"), entry(mine))
    assert [each.namespace for each in accepting(live)] == ["infra"]
    assert phase(live, accepting(live)) is Phase.READY
    both = route([mine, theirs], entry(theirs), entry(mine, ResolvedRefs="False"))
    answer = route_readiness(both, accepting(both))
    assert answer.phase is Phase.WAITING
    assert "ResolvedRefs is False at Gateway infra/gw" in answer.message


def test_a_listener_that_refuses_takes_nothing_from_one_that_accepts() -> None:
    http, https = ref(sectionName="http"), ref(sectionName="https")
    live = route([http, https], entry(http, Accepted="False"), entry(https))
    (serving,) = accepting(live)
    assert serving.section == "https"
    assert phase(live, (serving,)) is Phase.READY


@pytest.mark.parametrize("late", [0, 1])
def test_all_parents_that_accepted_it_are_asked(late: int) -> None:
    refs = [ref("a"), ref("b", port=8443)]
    parents = accepting(route(refs, *map(entry, refs)))
    assert len(parents) == 2
    entries = [entry(each, seen=GENERATION - (place == late)) for place, each in enumerate(refs)]
    answer = route_readiness(route(refs, *entries), parents)
    assert answer.phase is Phase.WAITING
    assert f"{parents[late]} has not seen generation 3" in answer.message


def test_a_parent_that_says_nothing_any_more_is_not_ready() -> None:
    live = route([ref("a"), ref("b")], entry(ref("a")), entry(ref("b")))
    gone = {**live, "status": {"parents": live["status"]["parents"][:1]}}
    assert phase(gone, accepting(live)) is Phase.WAITING


def test_a_parent_that_the_route_names_no_more_is_not_waited_for() -> None:
    refs = [ref("a"), ref("b")]
    parents = accepting(route(refs, *map(entry, refs)))
    assert phase(route([ref("a")], entry(ref("a")), entry(ref("b"), seen=1)), parents) is Phase.READY
    answer = route_readiness(route([ref("c")], entry(ref("c"))), parents)
    assert answer.phase is Phase.WAITING
    assert "names none of the parents that served it (Gateway apps/a, Gateway apps/b)" in answer.message


def test_nobody_to_ask_is_no_yes() -> None:
    assert phase(route([ref()], entry(ref())), ()) is Phase.WAITING


def test_a_controller_that_trails_behind_another_had_the_parent_once() -> None:
    live = route([ref()], entry(ref(), by="former", seen=1), entry(ref(), by="now"))
    (parent,) = accepting(live)
    assert parent.controller == "now"
    assert phase(live, (parent,)) is Phase.READY


def test_controllers_that_both_report_are_both_asked() -> None:
    live = route([ref()], entry(ref(), by="c1"), entry(ref(), by="c2"))
    parents = accepting(live)
    assert [each.controller for each in parents] == ["c1", "c2"]
    mixed = route([ref()], entry(ref(), by="c1"), entry(ref(), by="c2", ResolvedRefs="False"))
    assert phase(mixed, parents) is Phase.WAITING


def test_the_word_of_another_controller_is_not_the_parents_word() -> None:
    parents = accepting(route([ref()], entry(ref(), by="c1")))
    assert phase(route([ref()], entry(ref(), by="c2")), parents) is Phase.WAITING


def test_a_parent_that_is_late_still_serves() -> None:
    """Left out of those that are asked, a gateway that is stuck would never be noticed."""
    stuck = route([ref()], entry(ref(), seen=1))
    assert len(accepting(stuck)) == 1
    assert phase(stuck, accepting(stuck)) is Phase.WAITING


@pytest.mark.parametrize("kind", ["Programmed", "Reconciled"])
@pytest.mark.parametrize("obj", [lambda e: route([ref()], e), pool])
def test_where_a_gateway_says_whether_it_is_programmed_it_must_be(
    kind: str, obj: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    parents = (Parent("gw", "apps"),)
    assert phase(obj(entry(ref(), **says(kind, "True"))), parents) is Phase.READY
    for status in ("False", "Unknown"):
        ready = pool_readiness if obj is pool else route_readiness
        answer = ready(obj(entry(ref(), **says(kind, status))), parents)
        assert answer.phase is Phase.WAITING
        assert f"{kind} is {status} at Gateway apps/gw (R: words on {kind})" in answer.message


def test_a_gateway_that_has_programmed_an_older_generation_is_not_ready() -> None:
    parent = entry(ref(), Reconciled="True")
    parent["conditions"][-1]["observedGeneration"] = GENERATION - 1
    assert phase(route([ref()], parent), (Parent("gw", "apps"),)) is Phase.WAITING
    del parent["conditions"][-1]["observedGeneration"]
    assert phase(route([ref()], parent), (Parent("gw", "apps"),)) is Phase.READY


def test_a_condition_of_no_generation_is_no_word_on_this_one() -> None:
    assert phase(route([ref()], entry(ref(), seen=None)), (Parent("gw", "apps"),)) is Phase.WAITING


def test_pools_answer_for_gateways_whatever_listener_the_route_is_at() -> None:
    parents = (
        Parent("gw", "infra", section="http", controller="c1"),
        Parent("gw", "infra", section="https", controller="c1"),
        Parent("gw", "other", port=80),
    )
    here, there = entry(ref(namespace="infra"), by="pools"), entry(ref(namespace="other"))
    assert phase(pool(here, there), parents) is Phase.READY
    assert phase(pool(here), parents) is Phase.WAITING
    assert phase(pool(here, entry(ref(namespace="other"), Accepted="False")), parents) is Phase.WAITING
    default = {"parentRef": {"kind": "Status", "name": "default"}, "conditions": []}
    assert phase(pool(default, here, there), parents) is Phase.READY


@pytest.mark.parametrize("api", [{}, {"apiVersion": "gateway.networking.k8s.io/v1"}])
def test_old_pools_write_their_parents_otherwise(api: dict[str, str]) -> None:
    old = pool()
    old["status"] = {"parent": [entry(ref(kind="Gateway", **api))]}
    assert phase(old, (Parent("gw", "apps"),)) is Phase.READY


def test_a_parent_known_by_name_alone_means_those_of_the_name_that_accept() -> None:
    """What a run knows that was frozen before parents were told apart."""
    by_name = (Parent("gw"),)
    refs = [ref(namespace="infra", sectionName="http"), ref(namespace="infra", sectionName="https")]
    live = route(refs, entry(refs[0], Accepted="False"), entry(refs[1]))
    assert phase(live, by_name) is Phase.READY
    assert phase(route(refs, entry(refs[0]), entry(refs[1], ResolvedRefs="False")), by_name) is Phase.WAITING
    assert phase(route(refs, entry(refs[0], Accepted="False")), by_name) is Phase.WAITING
    assert phase(pool(entry(ref(namespace="infra"))), by_name) is Phase.READY
    assert phase(pool(entry(ref("other"))), by_name) is Phase.WAITING


names = st.sampled_from(["gw", "other", "", None])
odd = st.none() | st.booleans() | st.integers(-1, 4) | st.text(max_size=3)
refs = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "namespace": names,
        "sectionName": names,
        "port": odd,
        "group": names,
        "kind": odd,
        "apiVersion": odd,
    },
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Accepted", "ResolvedRefs", "Reconciled", "PartiallyInvalid", None]),
        "status": st.sampled_from(["True", "False", "Unknown", None, True]),
        "observedGeneration": odd,
        "reason": odd,
    },
)


def listed(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return odd | st.lists(items | odd, max_size=4) | st.dictionaries(st.text(max_size=2), items, max_size=2)


entries = st.fixed_dictionaries(
    {}, optional={"parentRef": refs | odd, "controllerName": odd, "conditions": listed(conditions)}
)
statuses = odd | st.fixed_dictionaries({}, optional={"parents": listed(entries), "parent": listed(entries)})
known = st.builds(
    Parent,
    name=st.sampled_from(["gw", "other"]),
    namespace=st.sampled_from(["", "apps", "gw"]),
    section=st.sampled_from(["", "gw"]),
    controller=st.sampled_from(["", "1"]),
)


@given(
    st.fixed_dictionaries({}, optional={"parentRefs": listed(refs)}) | odd,
    statuses,
    st.lists(known, max_size=3),
)
def test_no_status_however_odd_raises_or_is_a_yes_that_nobody_said(
    spec: Any, status: Any, parents: list[Parent]
) -> None:
    obj = {"metadata": {"name": "x", "namespace": "apps", "generation": 2}, "spec": spec, "status": status}
    accepted, named = accepting(obj), parents_of(obj)
    assert {each.reference for each in accepted} <= set(named)
    for ready in (route_readiness, pool_readiness):
        answer = ready(obj, tuple(parents))
        assert answer.phase is not Phase.FAILED
        if answer.phase is Phase.READY:
            assert parents
            assert "'ResolvedRefs'" in repr(status)
    if accepted:
        assert all(str(each) for each in accepted)


LISTENERS = ref("more", group="gateway.networking.k8s.io", kind="ListenerSet")


def of_pools(to: dict[str, Any], *entries: dict[str, Any]) -> Phase:
    """Of a pool with these entries, whether it is ready for a route that c1 accepted at this parent."""
    served = accepting(route([to], entry(to)))
    assert served
    return pool_readiness(pool(*entries), served).phase


@pytest.mark.parametrize("kind", ["ListenerSet", "XListenerSet", "InferenceGateway"])
def test_a_pool_is_served_by_the_gateway_to_which_a_parent_of_another_kind_adds(kind: str) -> None:
    parent = LISTENERS | {"kind": kind}
    assert of_pools(parent, entry(ref("gw", namespace="infra"))) is Phase.READY
    assert of_pools(parent, entry(parent)) is Phase.READY
    assert of_pools(parent, entry(ref("gw"), **says("Accepted", "False"))) is Phase.WAITING
    assert of_pools(parent, entry(ref("gw"), by="c2")) is Phase.WAITING
    assert of_pools(parent) is Phase.WAITING
    assert (
        of_pools(parent, entry(ref("gw")), entry(ref("b"), **says("ResolvedRefs", "False"))) is Phase.WAITING
    )
    own = entry(parent, **says("Accepted", "False"))
    assert of_pools(parent, entry(ref("gw")), own) is Phase.WAITING


def test_a_gateway_that_a_route_names_speaks_for_itself_alone() -> None:
    assert of_pools(ref("gw"), entry(ref("other"))) is Phase.WAITING
