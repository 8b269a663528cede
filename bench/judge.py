"""The judge's benchmark: `python -m bench.judge` prints its tables; `--write` puts them into the docs.

The shipped policy and metric set judge simulated rollouts (`bench.traffic`). First as they are configured:
alarms and promotions where nothing is wrong. Then beside others, every rule with its thresholds set so that
it raises a false alarm in at most 1 % of the rollouts of every null of a set; those rollouts are drawn from
another seed than the ones in the tables, and are more, since a threshold is as uncertain as the few of them
that set it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from bench import docs, trace
from bench.cost import cost_of_an_observation
from bench.rules import OURS, PEERS, Row, row, tuned
from bench.traffic import NULLS, OTHERS, REGRESSIONS, Array, Scenario, draw, noisy
from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.judging.judge import Policy
from inference_rollouts.core.judging.rules import rules_of

HEALTHY = """Nothing is wrong; the shipped policy and metric set, a step of 8 minutes each at 5, 10, 25,
50 % and the default deadline: the share of rollouts with an alarm, and promoted."""
EQUAL = """Median minutes to the alarm, and the share of rollouts with one where below 99 %, all rules tuned
to at most 1 % false alarms on each null of the set; the first column is ours as it is configured, the
second the share of rollouts that it promotes before an alarm."""
TUNED = 3  # times as many rollouts are tuned on as each row of a table has
SETS = {"ideal": ("ideal", "incident"), "noisy": ("noisy",)}


def judged(scenario: Scenario, rollouts: int, seed: int, arrivals: Array | None) -> Row:
    """The row of one scenario, the same for the same seed."""
    metric_set = load_metric_set("vllm")
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    return row(draw(scenario, metric_set, rollouts, rng, arrivals), rules_of(Policy(), metric_set))


def healthy(rows: Iterable[tuple[Scenario, Row]]) -> str:
    """Alarms and promotions of each null."""
    lines = [
        [s.kind, s.name, f"{r.alarms:.3f}", f"{r.promotions:.3f}", _median(r.promotion)] for s, r in rows
    ]
    return _table(["set", "null", "alarms", "promoted", "after minutes"], lines)


def regressions(rows: Sequence[tuple[Scenario, Row]], nulls: Sequence[Row], fresh: Sequence[Row]) -> str:
    """Minutes of each rule on each regression, tuned on `nulls`; and what that is worth on `fresh` ones."""
    limits = {name: tuned(nulls, name) for name in (OURS, *PEERS)}
    wrong = [max(float(np.isfinite(r.minutes(name, limits[name])).mean()) for r in fresh) for name in limits]
    configured = max(each.alarms for each in fresh)
    lines = [
        ["false alarms, worst null, other seeds", f"{configured:.3f}", "", *map("{:.3f}".format, wrong)],
        *(
            [s.name, _times(r.alarm), f"{r.promotions:.3f}"]
            + [_times(r.minutes(name, limits[name])) for name in limits]
            for s, r in rows
        ),
    ]
    return _table(["regression", "as configured", "promoted", *limits], lines)


def _times(minutes: Array) -> str:
    seen = 100 * float(np.isfinite(minutes).mean())
    return _median(minutes) + ("" if seen >= 99 else f" ({seen:.0f} %)")


def _median(minutes: Array) -> str:
    middle = float(np.median(minutes))
    return f"{middle:.1f}" if np.isfinite(middle) else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(rollouts: int, seed: int, arrivals: Array | None) -> str:
    """All tables."""
    known = NULLS if arrivals is not None else tuple(each for each in NULLS if not each.trace)
    sets = {"ideal": REGRESSIONS, "noisy": tuple(map(noisy, REGRESSIONS))}
    with ProcessPoolExecutor(2) as pool:
        tune = partial(judged, rollouts=TUNED * rollouts, seed=seed + 1, arrivals=arrivals)
        play = partial(judged, rollouts=rollouts, seed=seed, arrivals=arrivals)
        # All are handed out before any is waited for, so that no processor is idle in between.
        tuning, healthy_ones = pool.map(tune, known), pool.map(play, (*known, *OTHERS))
        worse = {name: pool.map(play, scenarios) for name, scenarios in sets.items()}
        tuned_on = list(zip(known, tuning, strict=True))
        shown = list(zip((*known, *OTHERS), healthy_ones, strict=True))
        parts = [HEALTHY, healthy(shown)]
        for name, scenarios in sets.items():
            nulls = [row for each, row in tuned_on if each.kind in SETS[name]]
            rows = list(zip(scenarios, worse[name], strict=True))
            fresh = [row for each, row in shown if each.kind in SETS[name]]
            parts += [f"The {name} set. {EQUAL}", regressions(rows, nulls, fresh)]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the judge with other rules on simulated rollouts.")
    parser.add_argument("--rollouts", type=int, default=300, help="rollouts of each row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/statistics.md")
    args = parser.parse_args()
    path = Path(os.environ.get("TRACE", ""))
    arrivals = trace.arrivals(path) if path.is_file() else None
    call = f"python -m bench.judge --rollouts {args.rollouts} --seed {args.seed}"
    text = "\n\n".join(
        [f"From `{call}`. {cost_of_an_observation()}", report(args.rollouts, args.seed, arrivals)]
    )
    print(text)
    if args.write:
        docs.write("bench.judge", text)


if __name__ == "__main__":
    main()
