"""A query's answer is a valid instant vector, or there is none."""

from __future__ import annotations

import json
import logging
import math
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_rollouts.clients.bearer import Access
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.clients.vectors import Answered, VectorReader
from inference_rollouts.core.errors import PrometheusBusy, PrometheusUnavailable
from tests.support.http_server import Reply, serving
from tests.support.json_values import json_values
from tests.support.odd_server import BROKEN, SLOW, Talk, floods, odd_server, replies, replies_json
from tests.support.stopwatch import ends_within

LIMIT = 0.3
SAMPLE = {"metric": {"pod": "a", "le": "+Inf"}, "value": (7.5, "1e+06")}


def client(url: str, token: str = "", timeout: float = 20.0) -> PrometheusClient:
    return PrometheusClient(lambda: Access(url, token), timeout)


def success(result: Any, **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


def query(talk: Talk, timeout: float = 20.0) -> list[dict[str, Any]]:
    with odd_server(talk) as url:
        return list(client(url, timeout=timeout).query("up", 1.0))


@pytest.mark.parametrize("result", [[], [SAMPLE], [{"metric": {}, "value": (7, "NaN")}]])
def test_a_vector_is_given_as_it_came(result: list[dict[str, Any]]) -> None:
    assert query(replies_json(200, success(result))) == result


def test_a_query_goes_with_its_time_path_and_token() -> None:
    asked: list[tuple[str, str, str | None, bytes]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        asked.append((request.command, request.path, request.headers["Authorization"], body))
        return 200, "application/json", json.dumps(success([SAMPLE])).encode()

    with serving(answer) as url:
        assert client(f"{url}/v1/projects/p", "secret").query('up{pod="a"}', 7) == [SAMPLE]
    body = b"query=up%7Bpod%3D%22a%22%7D&time=7.000"
    assert asked == [("POST", "/v1/projects/p/api/v1/query", "Bearer secret", body)]


def matrix(*values: tuple[float, str]) -> dict[str, Any]:
    series = {"metric": {"pod": "a"}, "values": [list(each) for each in values]}
    return {"status": "success", "data": {"resultType": "matrix", "result": [series]}}


def test_several_times_are_asked_for_at_once() -> None:
    asked: list[tuple[str, bytes]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        asked.append((request.path, body))
        return 200, "application/json", json.dumps(matrix((7, "1"), (9.0004, "3"))).encode()

    with serving(answer) as url:
        seen = client(url).query_range("up", [7, 8, 9])
    assert asked == [("/api/v1/query_range", b"query=up&start=7.000&end=9.500&step=1.000")]
    assert [[each["value"][1] for each in vector] for vector in seen] == [["1"], [], ["3"]]


@pytest.mark.parametrize(
    "answer",
    [
        success([SAMPLE]),
        {"status": "success", "data": {"resultType": "matrix", "result": [SAMPLE]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": None}]}},
        matrix((12, "1")),
        matrix((7, "one")),
    ],
    ids=json.dumps,
)
def test_what_is_no_matrix_of_these_times_is_no_answer(answer: Any) -> None:
    with odd_server(replies_json(200, answer)) as url, pytest.raises(PrometheusUnavailable, match="nonsense"):
        client(url).query_range("up", [7, 8, 9])


@pytest.mark.parametrize(
    "number", ["0", "-1", "1.5", "1.", ".5", "1e400", "2.5e-07", "NaN", "+Inf", "-Inf", "Inf"]
)
def test_numbers_are_written_as_prometheus_writes_them(number: str) -> None:
    assert vector_of({"result": [{"metric": {}, "value": [1, number]}]})


def test_numbers_read_together_are_those_read_alone() -> None:
    texts = ["0", "7", "-1.5", "12345678901234567890", "1e+06", "2.5e-07", "1.7976931348623157e308", "0.1"]
    for beside in ([], ["NaN"], ["1."], ["1e400"], ["+Inf"]):
        data = {
            "result": [{"metric": {"n": f"{n:02}"}, "value": [1, t]} for n, t in enumerate(texts + beside)]
        }
        body = json.dumps({"status": "success", "data": data}).encode()
        values = VectorReader().vector(body)[0].samples.values
        np.testing.assert_array_equal(values, [float(text) for text in texts + beside])


@pytest.mark.parametrize(
    "odd", [["1,2", "3"], ["", ","], ["1,2", ""], [" 1", "2"], ["null", "1"], ["-", "1"]]
)
def test_texts_that_are_numbers_only_together_are_none(odd: list[str]) -> None:
    with pytest.raises(ValueError, match="no number"):
        vector_of({"result": [{"metric": {"n": str(n)}, "value": [1, text]} for n, text in enumerate(odd)]})


def vector_of(data: Any) -> list[dict[str, Any]]:
    """What is read of this `data` in an answer. Raises ValueError."""
    return list(VectorReader().vector(json.dumps({"status": "success", "data": data}).encode())[0])


ODD_SAMPLES: list[Any] = [
    {},
    1,
    {"metric": {}},
    {"metric": {}, "value": None},
    {"metric": {}, "value": [1]},
    {"metric": {}, "value": [1, 2]},
    {"metric": {}, "value": ["1", "2"]},
    {"metric": {}, "value": [True, "2"]},
    {"metric": {}, "value": [1, ""]},
    {"metric": {}, "value": [1, "one"]},
    {"metric": {}, "value": [1, "1_0"]},
    {"metric": {}, "value": [1, "1\n"]},
    {"metric": {}, "value": [1, "٣"]},
    {"metric": {"pod": 1}, "value": [1, "2"]},
    {"metric": {"pod": None}, "value": [1, "2"]},
    {"metric": {"le": ""}, "value": [1, "2"]},
    {"metric": {"le": "x"}, "value": [1, "2"]},
    {"metric": [], "value": [1, "2"]},
    {"value": [1, "2"]},
]


@pytest.mark.parametrize("sample", ODD_SAMPLES, ids=json.dumps)
def test_one_odd_sample_spoils_the_vector(sample: Any) -> None:
    with pytest.raises(PrometheusUnavailable, match="answered nonsense"):
        query(replies_json(200, success([SAMPLE, sample])))


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success"},
        {"data": []},
        {"status": "success", "data": []},
        {"status": "success", "data": {}},
        {"status": "success", "data": {"result": None}},
        {"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}},
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        {"status": "error", "error": "parse error"},
        True,
        None,
        [],
        1,
    ],
    ids=json.dumps,
)
def test_what_is_no_vector_is_no_answer(answer: Any) -> None:
    with pytest.raises(PrometheusUnavailable, match=r"Prometheus at http://127\.0\.0\.1:\d+ answered"):
        query(replies_json(200, answer))


@pytest.mark.parametrize(
    "talk",
    [
        replies(200, b"<html>log in</html>"),
        replies(200, b'{"status": "success", "data": {"result": [{"metric": {}, "value": [NaN, "1"]}]}}'),
        replies(200, b'{"status": "success", "data": {"result": [{"metric": {}, "value": [1e400, "1"]}]}}'),
        replies(200, b"\xff"),
        replies(503, b"not ready"),
        replies_json(503, success([SAMPLE])),
        replies_json(400, {"status": "error", "error": {"not": "words"}}),
        *BROKEN,
    ],
)
def test_what_cannot_be_read_is_no_answer(talk: Talk) -> None:
    with pytest.raises(PrometheusUnavailable):
        query(talk)


def test_a_refusal_is_told_in_prometheus_words() -> None:
    with pytest.raises(PrometheusUnavailable, match="answered 400: parse error at char 1"):
        query(replies_json(400, {"status": "error", "error": "parse error\nat char 1"}))
    with pytest.raises(PrometheusUnavailable, match=r"answered 401: Odd\. It gets no token"):
        query(replies(401, b""))
    google = {"error": {"code": 403, "message": "May not", "details": [{}]}}
    with pytest.raises(PrometheusUnavailable, match=r"answered 403: May not\. It gets no token"):
        query(replies_json(403, google))


def test_a_server_that_is_not_there_does_not_answer() -> None:
    with serving(lambda *_: (200, "text/plain", b"")) as url:
        pass
    with pytest.raises(PrometheusUnavailable, match="does not answer"):
        client(url).query("up", 1.0)


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
def test_a_query_ends_at_its_limit(talk: Talk) -> None:
    with ends_within(3), pytest.raises(PrometheusUnavailable, match=r"no whole answer within 0\.3 s"):
        query(talk, timeout=LIMIT)


@pytest.mark.parametrize("code", [429, 503])
def test_a_promise_to_answer_later_is_not_waited_for(code: int) -> None:
    with ends_within(3), pytest.raises(PrometheusBusy, match=f"answered {code}") as caught:
        query(replies(code, b"later", Retry_After="4"), timeout=60)
    assert caught.value.later == 4.0


@pytest.mark.parametrize(("after", "pause"), [("4", 4.0), ("3600", 15.0)])
def test_a_store_is_not_asked_before_it_wants_to_be_but_never_left_alone_for_long(
    after: str, pause: float
) -> None:
    asked, clock = [], [100.0]

    def talk(connection: socket.socket, over: threading.Event) -> None:
        asked.append(clock[0])
        replies(503, b"later", Retry_After=after)(connection, over)

    with odd_server(talk) as url:
        store = PrometheusClient(lambda: Access(url), now=lambda: clock[0])
        for clock[0] in (100.0, 101.0, 100.0 + pause - 0.1, 100.0 + pause, 101.0 + pause):
            with pytest.raises(PrometheusUnavailable, match="answered 503"):
                store.query("up", 1.0)
    assert asked == [100.0, 100.0 + pause]


def test_a_store_that_redirects_does_not_answer() -> None:
    with pytest.raises(PrometheusUnavailable, match=r"does not answer: it redirects to https://login\.test/"):
        query(replies(302, b"", Location="https://login.test/"))


def test_an_answer_without_an_end_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.clients.bearer.ANSWER_BYTES", 10**6)
    with pytest.raises(PrometheusUnavailable, match="larger than 1000000 bytes"):
        query(floods)


def test_warnings_of_the_store_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    answer = success([], warnings=["remote read of store-2 failed:\ntimeout", 7])
    with odd_server(replies_json(200, answer)) as url:
        prometheus = client(url)
        assert [prometheus.query("up", 1.0) for _ in range(3)] == [[], [], []]
    told = [
        f"Prometheus at {url} warns: {words}." for words in ("remote read of store-2 failed: timeout", "7")
    ]
    assert caplog.messages == told
    assert prometheus.remarks_on(["up"]) == tuple(told)


def test_a_warning_is_of_the_latest_answer_to_its_query() -> None:
    answers = iter([success([], warnings=["partial"]), success([]), success([])])

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        return 200, "application/json", json.dumps(next(answers)).encode()

    with serving(answer) as url:
        prometheus = client(url)
        for asked, on_up in (("up", 1), ("down", 1), ("up", 0)):
            prometheus.query(asked, 1.0)
            assert len(prometheus.remarks_on(["up"])) == on_up
            assert prometheus.remarks_on(["down"]) == (), "whoever asks that hears nothing of what others ask"


@pytest.mark.parametrize(("partial", "remarks"), [(True, 1), (False, 0), (None, 0), ("true", 0)])
def test_a_store_that_only_marks_its_answer_as_partial_is_heard_too(partial: Any, remarks: int) -> None:
    """VictoriaMetrics says nothing in words."""
    with odd_server(replies_json(200, success([]) | {"isPartial": partial})) as url:
        prometheus = client(url)
        assert prometheus.query("up", 1.0) == []
        said = prometheus.remarks_on(["up"])
    assert len(said) == remarks
    assert all("answer is partial" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(0, None), (-1, None), (3600, r"3(600|59\d) s ahead of"), (-60, r"(58|59|60) s behind ours")],
)
def test_a_clock_unlike_ours_is_said(
    ahead: float, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def date(*_: object) -> str:
        return formatdate(time.time() + ahead, usegmt=True)

    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", date)

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        return 200, "application/json", json.dumps(success([])).encode()

    with serving(answer) as url:
        prometheus = client(url)
        prometheus.query("up", 1.0)
    if words is None:
        assert prometheus.remarks_on(["up"]) == ()
    else:
        [remark] = prometheus.remarks_on(["up"])
        assert re.search(words, remark)


KEYS = ("resultType", "result", "metric", "value", "le", "pod")


def is_vector(samples: list[dict[str, Any]]) -> bool:
    """Whether everything that the judge does with a vector can be done."""
    for sample in samples:
        assert all(isinstance(label, str) for label in sample["metric"].values())
        assert math.isfinite(sample["value"][0])
        float(sample["value"][1])
        float(sample["metric"].get("le", "0"))
    return True


@settings(deadline=None)
@given(json_values(*KEYS))
def test_any_json_at_all_is_a_valid_vector_or_none(data: Any) -> None:
    try:
        samples = vector_of(data)
    except ValueError:
        return
    assert is_vector(samples)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"metric": json_values(*KEYS), "value": json_values()}), max_size=3))
def test_any_samples_at_all_are_a_valid_vector_or_none(samples: list[dict[str, Any]]) -> None:
    try:
        assert is_vector(vector_of({"result": samples}))
    except ValueError:
        return


def body_of(kind: str, *result: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def test_series_are_the_same_in_whatever_order_a_store_shows_them() -> None:
    """At one time as it finds them, at several in their order: who is late counts on in arrays."""
    reader = VectorReader()
    a, b = {"pod": "a"}, {"pod": "b"}
    one = body_of("vector", {"metric": b, "value": [7, "2"]}, {"metric": a, "value": [7, "1"]})
    several = body_of(
        "matrix",
        {"metric": a, "values": [[8, "3"], [9, "5"]]},
        {"metric": b, "values": [[8, "4"], [9, "6"], [10, "7"]]},
    )
    first, _ = reader.vector(one, "up")
    later, _ = reader.vectors(several, 8, 1, 3, "up")
    last, _ = reader.vector(one, "up")
    for seen, values in ((first, [1, 2]), (later[0], [3, 4]), (later[1], [5, 6]), (last, [1, 2])):
        assert isinstance(seen, Answered)
        assert seen.samples.series == first.samples.series
        assert list(seen.samples.values) == values
        assert [each["metric"] for each in seen] == [a, b]
    assert list(later[2]) == [{"metric": b, "value": (10, "7")}]
    other = body_of("vector", {"metric": b, "value": [7, "2"]})
    assert reader.vector(other, "up")[0].samples.series != first.samples.series


def test_a_reader_is_used_by_many_threads_at_once() -> None:
    """Each of them brings queries that are new, while others look for those that are old."""
    reader, data = VectorReader(), {"result": [{"metric": {"pod": "a"}, "value": [1, "2"]}]}
    body = json.dumps({"status": "success", "data": data}).encode()

    def ask(number: int) -> int:
        return sum(len(reader.vector(body, f"{number}/{query}")[0]) for query in range(400))

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(8))) == [400] * 8
    finally:
        sys.setswitchinterval(usual)
