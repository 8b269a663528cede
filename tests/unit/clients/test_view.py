"""What many observers see of a namespace: listed once, watched from then on, and never old without a word."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from inference_rollouts.clients.view import ClusterView, Look
from inference_rollouts.core.errors import ClusterUnavailable, NotFound
from inference_rollouts.core.limits import VIEW_AGE
from inference_rollouts.core.objects.k8s import K8sObject

POD = ("v1", "Pod")
PATIENCE = 60.0  # seconds that a thread gets


def pod(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


class Told:
    """A cluster whose watches tell what a test puts into them. `reads` are those that were not shared."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = list(pods)
        self.lists = 0
        self.reads: list[str] = []
        self.asked: list[str] = []
        self.watching = threading.Semaphore(0)  # released with each watch that begins
        self._told = threading.Condition()
        self._events: list[str | Exception | None] = []

    def tell(self, *events: dict[str, Any] | Exception | None) -> None:
        """Watch events; an error breaks a watch, None ends it as it should. Returns when that has begun."""
        with self._told:
            self._events += [json.dumps(each) if isinstance(each, dict) else each for each in events]
            self._told.notify()
        for each in events:
            if not isinstance(each, dict):
                assert self.watching.acquire(timeout=PATIENCE)

    def pages(self, api_version: str, kind: str) -> Iterator[tuple[list[K8sObject], str]]:
        self.lists += 1
        half = len(self.pods) // 2
        yield list(self.pods[:half]), "7"
        yield list(self.pods[half:]), "7"

    def follow(self, api_version: str, kind: str, version: str, seconds: float) -> Iterator[str]:
        self.asked.append(version)
        self.watching.release()
        while True:
            with self._told:
                self._told.wait_for(lambda: self._events)
                event = self._events.pop(0)
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        self.reads.append(name)
        return pod(name, 99)

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        return self.get(api_version, kind, name)

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        self.reads.append("all")
        return []

    def serves(self, api_version: str, kind: str) -> bool:
        return True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.clients.view.FIRST_PAUSE", 0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun(told: Told, *clock: Clock) -> ClusterView:
    """A view that has read, and watches."""
    view = ClusterView(told, *clock)
    view.select(*POD)
    assert told.watching.acquire(timeout=PATIENCE)
    return view


def names(view: ClusterView, **labels: str) -> list[str]:
    return [each["metadata"]["name"] for each in view.select(*POD, labels)]


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


def test_what_is_read_was_listed_once_and_is_as_watches_told() -> None:
    told = Told(pod("b", 1, app="x"), pod("a", 2, app="x"), pod("c", 3, app="y"))
    view = begun(told)
    assert names(view, app="x") == ["a", "b"]
    assert names(view) == ["a", "b", "c"]
    assert view.get(*POD, "c")["kind"] == "Pod"
    moved = event("MODIFIED", pod("b", 8, app="y"))
    told.tell(event("ADDED", pod("d", 9, app="x", of="z")), moved, event("DELETED", pod("c", 10)), None)
    assert (names(view, app="x"), names(view, app="y")) == (["a", "d"], ["b"])
    assert names(view, app="x", of="z") == ["d"]
    assert view.find(*POD, "c") is None
    with pytest.raises(NotFound):
        view.get(*POD, "c")
    view.close()
    assert (told.lists, told.reads) == (1, [])


def test_an_object_that_changes_is_there_all_the_while() -> None:
    told = Told(pod("a", 1))
    view = begun(told)
    changes = [event("MODIFIED", pod("a", version)) for version in range(2, 1000)]
    with ThreadPoolExecutor(1) as threads:
        telling = threads.submit(told.tell, *changes, None)
        while not telling.done():
            assert view.get(*POD, "a"), "who reads meanwhile sees it as it was, or as it is"
    assert view.get(*POD, "a")["metadata"]["resourceVersion"] == "999"
    view.close()


def test_the_next_watch_begins_where_the_last_one_ended() -> None:
    told = Told(pod("a", 1))
    view = begun(told)
    told.tell(event("BOOKMARK", {"metadata": {"resourceVersion": "20"}}), None)
    told.tell(ClusterUnavailable("GET", "/pods", 0, "it broke off"))
    assert told.asked[:3] == ["7", "20", "20"]
    assert told.lists == 1
    view.close()


@pytest.mark.parametrize(
    "end",
    [
        ClusterUnavailable("GET", "/pods", 410, "too old"),
        event("ERROR", {"kind": "Status", "code": 410, "metadata": {}}),
        event("ERROR", {"kind": "Status", "code": 410}),
        event("BOOKMARK", {"metadata": {"resourceVersion": "6"}}),  # its storage was restored
    ],
)
def test_after_what_a_server_has_forgotten_all_is_listed_anew(end: dict[str, Any] | Exception) -> None:
    told = Told(pod("a", 1))
    view = begun(told)
    told.pods = [pod("b", 2)]
    told.tell(end)
    if isinstance(end, dict):
        assert told.watching.acquire(timeout=PATIENCE)
    assert names(view) == ["b"]
    assert told.lists == 2
    view.close()


def test_what_was_proven_too_long_ago_is_read_instead() -> None:
    """A connection that hangs tells nothing and does not end."""
    clock, told = Clock(), Told(pod("a", 1))
    view = begun(told, clock)
    assert view.get(*POD, "a")["metadata"]["resourceVersion"] == "1"
    look = Look(view)
    look.get(*POD, "a")
    clock.now += VIEW_AGE
    assert (look.unchanged, look.age) == (True, VIEW_AGE)
    clock.now += 0.1
    assert not look.unchanged
    assert look.age == 0
    assert view.get(*POD, "a")["metadata"]["resourceVersion"] == "99"
    told.tell(None)
    assert look.unchanged
    assert told.reads == ["a"]
    view.close()


def test_a_broken_watch_proves_nothing() -> None:
    clock, told = Clock(), Told(pod("a", 1))
    view = begun(told, clock)
    clock.now += VIEW_AGE + 1
    told.tell(ClusterUnavailable("GET", "/pods", 403, "no right to watch"))
    assert names(view) == []
    assert told.reads == ["all"]
    view.close()


def test_a_look_knows_whether_what_it_saw_has_changed() -> None:
    told = Told(pod("a", 1, app="x"), pod("b", 2, app="y"))
    view = begun(told)
    of_x, of_c = Look(view), Look(view)
    of_x.select(*POD, {"app": "x"})
    assert of_c.find(*POD, "c") is None
    told.tell(event("MODIFIED", pod("b", 8, app="y")), None)
    assert of_x.unchanged
    assert of_c.unchanged
    told.tell(event("ADDED", pod("c", 9, app="x")), None)
    assert not of_x.unchanged
    assert not of_c.unchanged
    view.close()


def test_nobody_can_tell_whether_an_object_of_another_namespace_has_changed() -> None:
    told = Told(pod("a", 1))
    view = begun(told)
    here, elsewhere = Look(view), Look(view)
    here.get(*POD, "a")
    assert elsewhere.get(*POD, "a", "other") == pod("a", 99)
    assert (here.unchanged, elsewhere.unchanged) == (True, False)
    assert elsewhere.age == 0.0
    view.close()


def test_a_view_that_is_closed_is_as_good_as_none() -> None:
    told = Told(pod("a", 1))
    view = ClusterView(told)
    view.close()
    assert names(view) == []
    assert (told.lists, told.reads) == (0, ["all"])


def test_what_was_seen_of_some_objects_is_unchanged_until_one_of_them_changes() -> None:
    told = Told(pod("a", 1, app="x"), pod("b", 2, app="y"))
    view = begun(told)
    looks = {app: Look(view) for app in ("x", "y", "z")}
    for app, look in looks.items():
        look.select(*POD, {"app": app})
    told.tell(event("MODIFIED", pod("b", 8, app="y")), None)
    assert [look.unchanged for look in looks.values()] == [True, False, True]
    told.tell(event("ADDED", pod("c", 9, app="z")), None)
    assert [look.unchanged for look in looks.values()] == [True, False, False]
    told.tell(event("DELETED", pod("a", 10, app="x")), None)
    assert not looks["x"].unchanged


def test_of_labels_that_no_object_has_any_more_nothing_is_kept() -> None:
    told = Told(pod("a", 1, app="x"))
    view = begun(told)
    look = Look(view)
    assert look.select(*POD, {"app": "x"})
    told.tell(event("DELETED", pod("a", 2, app="x")), None)
    assert not look.unchanged
    assert not view._kinds[POD]._changed
    gone = Look(view)
    assert not gone.select(*POD, {"app": "x"})
    told.tell(event("ADDED", pod("b", 3, app="x")), None)
    assert not gone.unchanged
    view.close()


def test_a_new_list_is_a_change_of_everything() -> None:
    told = Told(pod("a", 1, app="x"))
    view = begun(told)
    looks = [Look(view) for _ in range(3)]
    for look, labels in zip(looks, ({"app": "x"}, {}), strict=False):
        look.select(*POD, labels)
    looks[2].get(*POD, "a")
    told.pods = [pod("a", 1, app="x")]  # of a store that was put back to an earlier time, and begins anew
    told.tell(event("ERROR", {"metadata": {}, "code": 410}))
    assert told.watching.acquire(timeout=PATIENCE)
    assert [look.unchanged for look in looks] == [False, False, False]


class Hanging(Told):
    """Lists of it do not come until they are `over`; and it serves no kind that is `missing`."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        super().__init__(*pods)
        self.over = threading.Event()
        self.questions = 0
        self.missing = {"Missing"}

    def pages(self, api_version: str, kind: str) -> Iterator[tuple[list[K8sObject], str]]:
        self.over.wait(PATIENCE)
        yield from super().pages(api_version, kind)

    def serves(self, api_version: str, kind: str) -> bool:
        self.questions += 1
        return kind not in self.missing


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr("inference_rollouts.clients.view.VIEW_AGE", 0.01)
    told = Hanging(pod("a", 1))
    yield told
    told.over.set()


@pytest.mark.parametrize("kind", ["Pod", "Missing"])
def test_whether_anything_changed_is_asked_of_nobody_and_waited_for_never(
    kind: str, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked in event loops; of kinds whose first list hangs too, and of those that are not served."""
    look = Look(view := ClusterView(hanging))
    look.find("v1", kind, "a")
    asked = hanging.questions
    for watched in view._kinds.values():
        monkeypatch.setattr(watched.tried, "wait", lambda *_: pytest.fail("it waits"))
    assert look.unchanged == (kind == "Missing")
    assert hanging.questions == asked
    view.close()


def test_of_a_kind_that_is_not_served_nothing_changes_until_it_is_asked_for_again(hanging: Hanging) -> None:
    clock = Clock()
    look = Look(view := ClusterView(hanging, clock))
    assert look.find("v1", "Missing", "a"), "it is read each time"
    clock.now += 0.01
    assert look.unchanged
    assert look.age == pytest.approx(0.01)
    clock.now += 0.01
    assert not look.unchanged
    hanging.missing.clear()
    hanging.over.set()
    again = Look(view)
    again.select("v1", "Missing")
    assert again.unchanged
    assert not look.unchanged, "it is served by now"
    view.close()


def test_a_list_that_hangs_is_waited_for_once(hanging: Hanging) -> None:
    view = ClusterView(hanging)
    assert names(view) == []
    assert hanging.reads == ["all"]
    assert view._kinds[POD].tried.is_set()
    hanging.over.set()
    assert hanging.watching.acquire(timeout=PATIENCE)
    view.close()


def test_a_kind_of_which_no_watch_could_begin_is_watched_by_the_next_who_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a process has as many threads as it may have."""

    def full(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    told = Told(pod("a", 1))
    view = ClusterView(told)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            names(view)
    assert names(view) == ["a"]
    view.close()


def test_of_pods_is_kept_what_somebody_reads() -> None:
    container = {"name": "server", "ports": [{"containerPort": 8000}]}
    large = container | {"env": [{"name": "A", "value": "x"}], "volumeMounts": [{"name": "v"}]}
    whole = pod("a", 1) | {
        "spec": {"containers": [large], "initContainers": [large], "volumes": [{"name": "v"}]}
    }
    whole["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    told = Told(whole)
    view = begun(told)
    kept = {"containers": [container], "initContainers": [container]}
    assert view.get(*POD, "a")["spec"] == kept
    assert "managedFields" not in view.get(*POD, "a")["metadata"]
    whole["metadata"]["resourceVersion"] = "2"
    told.tell(event("MODIFIED", whole), None)
    assert view.get(*POD, "a")["spec"] == kept
