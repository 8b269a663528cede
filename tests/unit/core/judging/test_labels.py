"""The labels of an answer's series, which are kept in little room."""

from __future__ import annotations

import json

from bench.cost import CANARY, STABLE, answers, ten_metrics
from inference_rollouts.clients.vectors import VectorReader
from inference_rollouts.core.judging.counts import Counter, Snapshot
from inference_rollouts.core.judging.labels import LabelSets, Samples


def test_they_are_read_as_they_were_and_in_a_tenth_of_the_room() -> None:
    [body, *_] = answers(16, 20.0)
    labels = [each["metric"] for each in json.loads(body)["data"]["result"]]
    sets = LabelSets.of(labels)
    assert list(sets.read()) == labels
    assert len(sets.packed) < len(json.dumps(labels)) / 10


def test_they_are_equal_in_whatever_order_each_names_its_labels() -> None:
    assert LabelSets.of([{"a": "1", "b": "2"}]) == LabelSets.of([{"b": "2", "a": "1"}])
    assert LabelSets.of([{"a": "1"}, {"a": "2"}]) != LabelSets.of([{"a": "2"}, {"a": "1"}])


def test_samples_are_pairs() -> None:
    samples = Samples(LabelSets.of([{"a": "1"}, {"a": "2"}]), [3.0, 4.0])
    assert list(samples) == [({"a": "1"}, 3.0), ({"a": "2"}, 4.0)]
    assert (samples[1], samples[:1], len(samples)) == (({"a": "2"}, 4.0), [({"a": "1"}, 3.0)], 2)


def test_who_counts_the_same_series_again_keeps_none_of_them() -> None:
    """Neither after the first answer, nor once it counts in arrays."""
    counter, reader = Counter(ten_metrics(), CANARY, STABLE), VectorReader()
    for place, body in enumerate(answers(4, 20.0)[:4]):
        counter.observe(Snapshot.of_vectors(1000 + 5.0 * place, {"counts": reader.vector(body)[0]}))
        assert not counter._ledger._series
        assert not any(target.values for target in counter._ledger._targets.values())
