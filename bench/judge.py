"""The judge's benchmark: `python -m bench.judge` prints its tables; `--write` puts them into the docs.

Every rule sees the same simulated rollouts. First each decides as it is usually configured; then each with
its thresholds set so that it raises a false alarm in at most 1 % of the rollouts of every null. Where TRACE
names a recorded trace, the same is done on its arrivals.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench import docs, trace
from bench.bound import minutes_to_tell
from bench.cost import cost_of_an_observation
from bench.rules import ALPHA, RULES, best, run_all, tuned
from bench.streams import DRIFT, NULLS, REGRESSIONS, Array, Scenario, Stream, draw

OURS = 3  # so many of the rules are ours
TRACED = """Eight copies at once of one hour of a production trace (Azure LLM inference trace 2023, CC BY 4.0;
Patel et al., Splitwise, ISCA 2024), 19.6 requests/s: arrivals and prompt lengths are real, arms, pods and
failures are drawn; the time to the first token grows with the prompt, and both drift as above."""
AS_CONFIGURED = """False alarms a rollout, each rule as usually configured (`*`: requests are independent and
the arms alike, so that the guarantee of 0.01 holds):"""
OURS_ALONE = """Ours as configured: median minutes to the alarm, as multiples of the bound, and the share of
rollouts with an alarm where below 99 %:"""
EQUAL = (
    """The same for every rule, its thresholds tuned to at most 1 % false alarms in each of these nulls:"""
)
EXPOSED = """Requests that failed, or took over a second to the first token, because of the canary: until the
alarm of the tuned rule or the end of the rollout, on average:"""


def tables(
    streams: Iterable[tuple[Scenario, Stream]],
    nulls: Sequence[Scenario],
    regressions: Sequence[Scenario],
    bounds: dict[str, float],
) -> str:
    """Four tables: false alarms as configured, ours as configured, all tuned, and requests exposed."""
    runs = run_all(streams)
    chosen = {rule.name: best(runs[rule.name], nulls, regressions) for rule in RULES}
    limits = {rule.name: tuned(chosen[rule.name], nulls) for rule in RULES}
    names = [rule.name for rule in RULES]
    alarms, usual, equal, exposed = [], [], [], []
    for null in nulls:
        seen = [np.isfinite(runs[rule.name][0][null.name].alarms(rule.usual)).mean() for rule in RULES]
        alarms.append([null.name + " *" * null.guaranteed, *(f"{share:.3f}" for share in seen)])
    for s in regressions:
        bound = bounds.get(s.name, np.inf)
        as_is = [runs[rule.name][0][s.name].alarms(rule.usual) for rule in RULES[:OURS]]
        usual.append([s.name, _minutes(bound), *(_times(times, bound) for times in as_is)])
        pairs = [(chosen[name][s.name], limits[name]) for name in names]
        equal.append([s.name, _minutes(bound), *(_times(run.alarms(limit), bound) for run, limit in pairs)])
        exposed.append([s.name, *(f"{run.exposure(limit):.0f}" for run, limit in pairs)])
    parts = [
        (AS_CONFIGURED, ["null", *names], alarms),
        (OURS_ALONE, ["regression", "bound", *names[:OURS]], usual),
        (EQUAL, ["regression", "bound", *names], equal),
        (EXPOSED, ["regression", *names], exposed),
    ]
    return "\n\n".join(f"{text}\n\n{_table(head, rows)}" for text, head, rows in parts)


def _minutes(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "-"


def _times(times: Array, bound: float) -> str:
    middle, seen = float(np.median(times)), 100 * float(np.isfinite(times).mean())
    ratio = f" = {middle / bound:.1f}x" if np.isfinite(middle / bound) and bound < np.inf else ""
    return _minutes(middle) + ratio + ("" if seen >= 99 else f" ({seen:.0f} %)")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def simulated(nulls: int, regressions: int, seed: int) -> str:
    """On traffic that is drawn as `bench.streams` says."""
    rng = np.random.default_rng(seed)
    streams = ((s, draw(s, nulls if s in NULLS else regressions, rng)) for s in (*NULLS, *REGRESSIONS))
    bounds = {s.name: minutes_to_tell(s, ALPHA) for s in REGRESSIONS}
    return tables(streams, NULLS, REGRESSIONS, bounds)


def recorded(path: Path, nulls: int, regressions: int, seed: int) -> str:
    """On the arrivals of a trace; no bound is known there."""
    rng, source = np.random.default_rng(seed), trace.read(path)
    alike = (Scenario("steady", guaranteed=True), Scenario("shared drift", drift=DRIFT, guaranteed=True))
    play = partial(trace.draw, source, copies=8, rng=rng)
    streams = (
        (s, play(scenario=s, rollouts=nulls if s in alike else regressions)) for s in (*alike, *REGRESSIONS)
    )
    return tables(streams, alike, REGRESSIONS, {})


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the judge with other rules on simulated rollouts.")
    parser.add_argument("--nulls", type=int, default=2000, help="rollouts of each null")
    parser.add_argument("--regressions", type=int, default=400, help="rollouts of each regression")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/statistics.md")
    args = parser.parse_args()
    call = f"python -m bench.judge --nulls {args.nulls} --regressions {args.regressions} --seed {args.seed}"
    parts = [
        f"From `{call}`. {cost_of_an_observation()}",
        "### Simulated traffic",
        simulated(args.nulls, args.regressions, args.seed),
    ]
    if (path := Path(os.environ.get("TRACE", ""))).is_file():
        parts += [
            "### Recorded arrivals",
            TRACED,
            recorded(path, args.nulls // 2, args.regressions // 2, args.seed),
        ]
    text = "\n\n".join(parts)
    print(text)
    if args.write:
        docs.write("bench.judge", text)


if __name__ == "__main__":
    main()
