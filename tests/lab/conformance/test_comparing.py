"""Two servers are held against each other: what is free to differ may, all else is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.conformance import ending, exposition, limits
from bench.conformance.__main__ import ADAPTERS, NAMES
from bench.conformance.answers import same_answers, same_metrics
from bench.conformance.counting import EXPECTED
from bench.conformance.exposition import Page
from bench.conformance.servers import Orders, SimulatedServer
from bench.conformance.shapes import Reply, differences
from bench.conformance.table import Row, compared, lines
from inference_rollouts.clients.include import load_metric_set
from lab.model_server.images import Catalogue

JSON = "application/json"
MODEL = Path("/models/tiny")


def reply(status: int = 200, kind: str | None = JSON, **body: Any) -> Reply:
    return Reply.read(status, kind, json.dumps(body))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (reply(model="m", text="other words"), []),
        (reply(model="n", text="a"), ["body.model: 'm' is 'n'"]),
        (reply(model="m", text=None), ["body.text: 'a' is None"]),
        (reply(model="m"), ["body.text: missing, 'a'"]),
        (reply(model="m", text="a", more=1), ["body.more: not in a real one"]),
        (reply(500, model="m", text="a"), ["status: 200 is 500"]),
        (
            reply(200, f"{JSON}; charset=utf-8", model="m", text="a"),
            [f"content_type: {JSON} is {JSON}; charset=utf-8"],
        ),
    ],
)
def test_all_but_what_a_model_makes_up_must_be_alike(other: Reply, found: list[str]) -> None:
    assert differences(reply(model="m", text="a"), other) == found


def stream(*events: Any) -> Reply:
    text = "".join(f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in events)
    return Reply.read(200, "text/event-stream", text)


def test_how_a_stream_packs_its_tokens_is_free_and_how_it_ends_is_not() -> None:
    one, last = {"text": "a", "finish": None}, {"text": "b", "finish": "length"}
    real = stream(one, one, one, last, "[DONE]")
    assert differences(real, stream(one, last, "[DONE]")) == []
    assert differences(real, stream(one, last)) == ["events: 3 are 2"]
    assert differences(real, stream(one, {"text": "b", "finish": "stop"}, "[DONE]")) == [
        "events[1].finish: 'length' is 'stop'"
    ]


def test_choices_of_a_stream_may_come_in_any_order() -> None:
    def event(index: int, reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": index, "text": "x", "finish_reason": reason}]}

    real = stream(event(0), event(1), event(0, "length"), event(1, "length"), "[DONE]")
    assert (
        differences(real, stream(event(1), event(1, "length"), event(0), event(0, "length"), "[DONE]")) == []
    )
    assert differences(real, stream(event(1), event(1, "length"), event(0), "[DONE]")) != []


def test_an_adapter_s_path_and_the_order_of_modules_are_free_in_words() -> None:
    words = "While loading {}, expected target modules in {} but received {}."
    real = reply(400, message=words.format("<path>", "{'a', 'b'}", "['c']"))
    other = reply(400, message=words.format("/x/y", "{'b', 'a'}", "['c', 'c']"))
    assert differences(real, other, "/x/y") == []
    assert differences(real, other) != []


PAGE = """# TYPE vllm:a_total counter
vllm:a_total{model_name="m"} 3.0
# TYPE vllm:lora_requests_info gauge
vllm:lora_requests_info{max_lora="4"} 1.0
"""


def test_series_are_the_same_but_for_those_that_are_not_simulated() -> None:
    real = Page.read(PAGE)
    mine = Page.read(PAGE.partition("# TYPE vllm:lora")[0])
    assert list(exposition.differences(real, mine)) == []
    other = Page.read('# TYPE vllm:a_total gauge\nvllm:a_total{engine="0"} 3.0\n')
    assert list(exposition.differences(real, other)) == [
        "type of vllm:a_total",
        'series vllm:a_total{model_name="m"}: missing',
        'series vllm:a_total{engine="0"}: not in a real one',
    ]


def test_values_are_compared_where_that_is_asked_for() -> None:
    page = PAGE.partition("# TYPE vllm:lora")[0]
    real, mine = Page.read(page), Page.read(page.replace("3.0", "4.0"))
    assert list(exposition.differences(real, mine)) == []
    assert list(exposition.differences(real, mine, ("vllm:a_",))) == ['vllm:a_total{model_name="m"}: 3 is 4']
    assert real.value("vllm:a_total", model_name="m") == 3
    assert real.value("vllm:a_total", model_name="n") == 0


def test_a_row_that_disagrees_is_told_below_the_table() -> None:
    rows = [*compared("end", {"a": 1, "b": 2}, {"a": 1, "b": 3}), Row("answers", "x", 5)]
    told = list(lines(rows))
    assert told[2:5] == [
        "| end | a | 1 | yes |",
        "| end | b | 1 | no: 1 differences |",
        "| answers | x | 5 | yes |",
    ]
    assert told[5:] == ["end, b: real: 2; simulated: 3"]


@pytest.fixture
def servers() -> Iterator[list[SimulatedServer]]:
    made: list[SimulatedServer] = []
    yield made
    for server in made:
        server.stop()


def start(made: list[SimulatedServer], *arguments: str, **image: Any) -> SimulatedServer:
    orders = Orders((*NAMES, *arguments), {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"})
    made.append(SimulatedServer(MODEL, orders, Catalogue({}, {}), answer_tokens=1e6, **image))
    return made[-1]


def test_the_simulation_agrees_with_itself(servers: list[SimulatedServer]) -> None:
    one, other = start(servers, *ADAPTERS), start(servers, *ADAPTERS)
    rows = [*same_answers(one, other, "/adapters"), same_metrics(one, other, "after")]
    assert [each for row in rows for each in row.found] == []
    assert sum(row.compared for row in rows) > 100


def test_one_that_answers_otherwise_is_found(servers: list[SimulatedServer]) -> None:
    one, other = start(servers, *ADAPTERS), start(servers, *ADAPTERS, served_name="another")
    rows = [*same_answers(one, other, "/adapters"), same_metrics(one, other, "after")]
    assert all(row.found for row in rows if row.what != "paths and tokens")


def test_what_a_burst_and_keys_come_to_is_what_is_expected(servers: list[SimulatedServer]) -> None:
    found = limits.observed(start(servers, *limits.ORDERS.arguments))
    assert found["no key"] == found["a wrong key"] == (401, '{"error":"Unauthorized"}')
    assert found["some of a burst is refused"]
    assert [found[name] for name in found if name.startswith(("refusals are", "those "))] == [0, 0, 0, 0]


def test_an_engine_that_is_killed_is_seen_from_outside(servers: list[SimulatedServer]) -> None:
    found = ending.engine_killed(start(servers))
    assert found["a stream under an engine that dies"] == "error event"
    assert found["the server goes too"]


def test_a_stream_is_lost_under_a_server_that_is_told_to_end_without_time(
    servers: list[SimulatedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "SOON", 1.0)
    found = ending.told(start(servers), {})
    assert found.pop("the running stream, without time") == "does not end well"
    assert all(found.values())


def test_every_count_is_expected_but_those_that_depend_on_how_fast_a_server_is() -> None:
    counted = {each.name for each in load_metric_set("vllm").metrics}
    assert counted - {"ttft", "preemptions"} == EXPECTED.keys()
