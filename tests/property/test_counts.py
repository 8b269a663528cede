"""Laws of counting and quoting."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import windows
from inference_rollouts.core.judging.counts import Counter, Snapshot
from inference_rollouts.core.judging.promql import quoted, quoted_pattern
from inference_rollouts.core.judging.queries import queries
from tests.support.judging import CANARY, STABLE, rate_samples, sample, small_set

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SET = small_set()
LITERAL = re.compile(r'"((?:[^"\\\n\x00-\x1f]|\\["\\]|\\x[0-9a-f]{2})*)"')


def unquoted(literal: str) -> str:
    """What a PromQL parser makes of a literal that uses only the escapes we write."""
    match = LITERAL.fullmatch(literal)
    assert match, literal
    return re.sub(r"\\x(..)|\\(.)", lambda m: chr(int(m[1], 16)) if m[1] else m[2], match[1])


@given(TEXT)
def test_quoted_text_reads_back(text: str) -> None:
    assert unquoted(quoted(text)) == text


@given(TEXT.filter(bool), TEXT.filter(bool), TEXT)
def test_a_quoted_pattern_matches_its_texts_and_nothing_else(one: str, other: str, stranger: str) -> None:
    pattern = unquoted(quoted_pattern(one, other))
    assert re.fullmatch(pattern, one)
    assert re.fullmatch(pattern, other)
    assert bool(re.fullmatch(pattern, stranger)) == (stranger in (one, other))


@given(TEXT, TEXT, TEXT)
def test_no_name_escapes_from_the_query(canary: str, stable: str, namespace: str) -> None:
    """With all literals taken out, the query is the same whatever the names."""
    if canary == stable:
        return
    (query,) = queries(SET, Arm("pool", canary, namespace), Arm("pool", stable, namespace))
    (plain,) = queries(SET, Arm("pool", "a", "n"), Arm("pool", "b", "n"))
    assert LITERAL.sub("", query.promql) == LITERAL.sub("", plain.promql)


increments = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), min_size=2, max_size=12)
gaps = st.lists(st.booleans(), min_size=12, max_size=12)


def snapshots(steps: list[tuple[int, int]]) -> list[Snapshot]:
    """One canary pod that counts steps of (good, bad), beside a quiet stable pod."""
    scrapes, total, bad = [], 0, 0
    for time, (good, worse) in enumerate(steps):
        total, bad = total + good + worse, bad + worse
        samples = rate_samples(CANARY, "c", total, bad) + rate_samples(STABLE, "s", 5, 0)
        scrapes.append(Snapshot(float(time), {"counts": samples}))
    return scrapes


@given(increments, gaps)
def test_gaps_lose_and_invent_nothing(steps: list[tuple[int, int]], missing: list[bool]) -> None:
    full = snapshots(steps)
    holed: list[Snapshot | None] = [None if gap else s for s, gap in zip(full, missing, strict=False)]
    holed[0], holed[-1] = full[0], full[-1]
    errors = [w.counts["errors"].canary for w in windows(SET, CANARY, STABLE, holed)]
    assert sum(c.n for c in errors) == sum(good + bad for good, bad in steps[1:])
    assert sum(c.bad[0] for c in errors) == sum(bad for _, bad in steps[1:])


@given(st.data())
def test_whatever_is_missing_from_answers_nothing_is_counted_that_did_not_happen(data: st.DataObject) -> None:
    """Of a canary with a past; what was seen once in two answers running is there, as in any store."""
    counters = {"errors/total/0": [5000], "errors/bad/0": [900]}
    answers = data.draw(st.integers(3, 8))
    for _ in range(answers - 1):
        bad = data.draw(st.integers(0, 9))
        counters["errors/bad/0"].append(counters["errors/bad/0"][-1] + bad)
        counters["errors/total/0"].append(
            counters["errors/total/0"][-1] + bad + data.draw(st.integers(0, 50))
        )
    seen = []
    for place in range(answers):
        present = [tag for tag in counters if place < 2 or data.draw(st.booleans())]
        samples = [sample(CANARY, "c", tag, counters[tag][place]) for tag in present]
        samples += [sample(CANARY, "c", "started", 1.0), *rate_samples(STABLE, "s", 5, 0)]
        seen.append(Snapshot(float(place), {"counts": samples}))
    for window in windows(SET, CANARY, STABLE, seen):
        arm, (first, last) = window.counts["errors"].canary, (int(window.start), int(window.end))
        grown = {tag: series[last] - series[first] for tag, series in counters.items()}
        assert arm.n <= grown["errors/total/0"]
        assert arm.bad[0] <= grown["errors/bad/0"]


values = st.one_of(st.none(), st.floats(), st.integers(-5, 10**7).map(float))
TAGS = [
    *[("started", None), ("errors/total/0", None), ("errors/bad/0", None)],
    *[("ttft/le/0", "0.5"), ("ttft/le/0", "1"), ("ttft/le/0", "+Inf")],
]
pods = st.lists(st.lists(values, min_size=6, max_size=6), max_size=3)


@given(st.lists(st.tuples(pods, pods), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_whatever_is_scraped_counts_are_whole_and_consistent(observations: list[Any], random: Any) -> None:
    """Restarts, NaN, missing series, pods that come and go: 0 <= bad <= all, in whatever order."""
    series, shuffled = [], []
    for time, arms in enumerate(observations):
        samples = [
            sample(arm, str(i), tag, value, le)
            for arm, members in zip((CANARY, STABLE), arms, strict=True)
            for i, pod in enumerate(members)
            for (tag, le), value in zip(TAGS, pod, strict=True)
            if value is not None
        ]
        series.append(Snapshot(float(time), {"counts": samples}))
        shuffled.append(Snapshot(float(time), {"counts": random.sample(samples, len(samples))}))
    counted = windows(SET, CANARY, STABLE, series)
    assert counted == windows(SET, CANARY, STABLE, shuffled)
    for window in counted:
        assert window.start < window.end
        for metric in window.counts.values():
            for arm in (metric.canary, metric.stable):
                assert arm.n >= 0
                assert all(0 <= bad <= arm.n for bad in arm.bad)
            assert metric.chi2 >= 0


ends = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 2), st.booleans()), min_size=2, max_size=12
)  # of each window: answers that ended well, lost ones, whether the scrape came between two counters


@given(ends, st.booleans())
def test_no_lost_answer_is_made_up_by_a_torn_scrape(windows: list[tuple[int, int, bool]], torn: bool) -> None:
    counter = Counter(small_set(direction="lower-is-worse"), CANARY, STABLE)
    scrapes = [(0, 0, torn), *windows]
    begun, ended, seen, ahead = 0, 0, 0, []
    for time, (good, lost, tears) in enumerate(scrapes):
        begun, ended = begun + good + lost, ended + good
        following = scrapes[time + 1][0] if time + 1 < len(scrapes) else 1  # whose end is counted already
        ahead.append(tears and following > 0)
        samples = rate_samples(CANARY, "c", begun, ended + ahead[-1]) + rate_samples(STABLE, "s", 5, 0)
        counted = counter.observe(Snapshot(float(time), {"counts": samples}))
        seen += counted.counts["errors"].canary.bad[0] if counted else 0
    lost = sum(each for _, each, _ in windows)
    assert lost - ahead[-1] <= seen <= lost + ahead[0]
