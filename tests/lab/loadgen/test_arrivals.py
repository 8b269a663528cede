"""When requests come, and what they ask."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from lab.host.state import CHECKOUT
from lab.loadgen.arrivals import Poisson, read_trace
from lab.loadgen.prompts import Prompts

RECORDED_TRACE = CHECKOUT.parent / "shared" / "traces" / "azure-llm-2023-code.csv"


def test_arrivals_are_poisson() -> None:
    poisson = Poisson(50.0, Random(1))
    gaps = [poisson.gap() for _ in range(5000)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(1 / 50, rel=0.05)
    assert variance**0.5 == pytest.approx(mean, rel=0.1)
    lengths = [poisson.lengths() for _ in range(500)]
    assert {8 <= each.answer <= 64 and 16 <= each.prompt <= 2048 for each in lengths} == {True}


def test_prompts_share_beginnings_and_have_their_length() -> None:
    prompts = Prompts(Random(1))
    drawn = [prompts.draw(200) for _ in range(100)]
    assert {len(prompt) for prompt in drawn} == {800}
    assert len(set(drawn)) == 100
    assert len({prompt[:480] for prompt in drawn}) <= 12
    assert len(prompts.draw(50_000)) == 200_000


@pytest.mark.parametrize("row", ["nonsense,1,2", "2023-11-16 18:17:03,x,2", "1.0,2"])
def test_a_broken_trace_names_its_line(row: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"t,p,a\n0.5,1,1\n{row}\n")
    with pytest.raises(ValueError, match="line 3"):
        list(read_trace(path))


@pytest.mark.skipif(not RECORDED_TRACE.exists(), reason="needs the recorded trace")
def test_the_recorded_trace_is_read() -> None:
    trace = list(read_trace(RECORDED_TRACE))
    offsets = [request.offset for request in trace]
    assert len(trace) > 8000
    assert offsets == sorted(offsets)
    assert 3000 < offsets[-1] < 3700
