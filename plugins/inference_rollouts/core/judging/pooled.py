"""What pods counted, taken together by metric and arm, in arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from inference_rollouts.core.judging.evidence import Integers
from inference_rollouts.core.judging.layouts import places
from inference_rollouts.core.judging.scatter import Scatter
from inference_rollouts.core.judging.scatters import Scatters, in_one_window
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts


class Pooled:
    """Of `units`, each a pod's part of a metric (arm, pod, metric), in the order of metrics, arms and pods.

    `unit_of_cell`: the unit of each of its thresholds. `scatters` are those of the thresholds of each metric.
    """

    def __init__(
        self,
        arms: Sequence[str],
        units: Sequence[tuple[str, str, str]],
        unit_of_cell: Integers,
        scatters: Mapping[str, Sequence[Scatter]],
    ) -> None:
        self._metrics = {name: len(each) for name, each in scatters.items()}
        group = {
            (name, arm): place for place, (name, arm) in enumerate((n, a) for n in scatters for a in arms)
        }
        self._group = places([group[metric, arm] for arm, _, metric in units])
        self._pods = np.bincount(self._group, minlength=len(group)).tolist()
        widths = [thresholds for thresholds in self._metrics.values() for _ in arms]
        begin = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        first = np.searchsorted(unit_of_cell, unit_of_cell)  # the first cell of the same unit
        self._column = places(begin[self._group[unit_of_cell]] + np.arange(len(unit_of_cell)) - first)
        self._columns = int(begin[-1])
        self._unit_of_cell = unit_of_cell
        is_stable = self._group[unit_of_cell] % len(arms) == 1
        self._canary, self._stable = (
            places(cells[np.argsort(self._column[cells], kind="stable")])
            for cells in (np.flatnonzero(~is_stable), np.flatnonzero(is_stable))
        )
        pods: dict[int, list[str]] = {}
        for cell in self._stable.tolist():
            pods.setdefault(int(self._column[cell]), []).append(units[int(unit_of_cell[cell])][1])
        canary, stable = (
            [begin[group[name, arm]] + j for name, width in self._metrics.items() for j in range(width)]
            for arm in arms
        )
        self._test_of_canary = places(np.searchsorted(canary, self._column[self._canary]))
        self.scatters = Scatters(
            [each for of_metric in scatters.values() for each in of_metric],
            [pods.get(int(column), []) for column in stable],
        )

    def counts(self, n: Integers, bad: Integers) -> Iterator[tuple[str, Counts]]:
        """By metric, of the events of each unit and the bad ones of each cell in one window."""
        events = np.bincount(self._group, n, len(self._pods)).astype(np.int64).tolist()
        bad_ones = np.bincount(self._column, bad, self._columns).astype(np.int64).tolist()
        of_cell, cells = n[self._unit_of_cell], self._columns // 2
        tests = [
            tuple(each.tolist())
            for each in (
                *self.scatters.add(of_cell[self._stable], bad[self._stable]),
                *in_one_window(of_cell[self._canary], bad[self._canary], self._test_of_canary, cells),
            )
        ]
        group = column = test = 0
        for name, width in self._metrics.items():
            middle, end, last = column + width, column + 2 * width, test + width
            canary, stable = (
                ArmCounts(n=events[arm], bad=tuple(bad_ones[begin : begin + width]), pods=self._pods[arm])
                for arm, begin in ((group, column), (group + 1, middle))
            )
            chi2, df, lasting_chi2, lasting_df, canary_chi2, canary_df = (each[test:last] for each in tests)
            yield (
                name,
                Counts(
                    canary=canary,
                    stable=stable,
                    chi2=chi2,
                    df=df,
                    lasting_chi2=lasting_chi2,
                    lasting_df=lasting_df,
                    canary_chi2=canary_chi2,
                    canary_df=canary_df,
                ),
            )
            group, column, test = group + 2, end, last
