"""The log of requests, and statistics over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab.host.state import CHECKOUT
from lab.loadgen.log import RequestLog, read_log
from lab.loadgen.record import Record
from lab.loadgen.stats import Stats, quantiles


def test_the_log_rotates_and_is_read_in_order(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, largest=2000)
    for number in range(40):
        log.write(Record(time=float(number), outcome="ok" if number % 10 else "http_500"))
        log.flush()
    log.close()
    assert (tmp_path / "requests.jsonl.1").exists()
    times = [record.time for record in read_log(tmp_path)]
    assert times == sorted(times)
    assert times[-1] == 39.0
    assert [record.time for record in read_log(tmp_path, since=35, until=38)] == [35.0, 36.0, 37.0]


def test_another_process_counts_failures_by_cause(tmp_path: Path) -> None:
    log = RequestLog(tmp_path)
    log.write(Record(time=10.0))
    log.write(Record(time=11.0, outcome="http_500", detail="injected", pool="canary"))
    log.flush()
    (tmp_path / "requests.jsonl").open("a").write('{"time": 12.0, "outc')

    def query(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lab.loadgen.log", str(tmp_path), *more]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    everything, good, none = query(), query("--until", "11"), query("--since", "11.5")
    assert everything.returncode == 1
    assert "http_500" in everything.stdout
    assert "canary" in everything.stdout
    assert good.returncode == 0
    assert none.returncode == 2, "an empty log proves nothing"
    log.close()


def test_the_window_forgets_and_the_totals_do_not() -> None:
    stats = Stats()
    stats.add(Record(time=0.0, ttft=1.0, e2e=2.0, pool="a"), now=100.0)
    stats.add(Record(time=0.0, outcome="cut", pool="b"), now=111.0)
    window = stats.window(now=112.0)
    assert window["outcomes"] == {"cut": 1}
    assert list(window["pools"]) == ["b"]
    assert stats.window(now=112.0, seconds=20)["pools"]["a"]["ttft"]["p50"] == 1.0
    assert stats.totals() == {"ended": 2, "outcomes": {"ok": 1, "cut": 1}}


def test_quantiles_are_values_that_occurred() -> None:
    assert quantiles([float(n) for n in range(1, 101)]) == {
        "p50": 50.0,
        "p95": 95.0,
        "p99": 99.0,
        "max": 100.0,
    }
    assert quantiles([]) == {"p50": None, "p95": None, "p99": None, "max": None}
