"""How the pods of many cells scatter, in arrays, as long as the same pods are counted in the same order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.layouts import places
from inference_rollouts.core.judging.scatter import Scatter, Surprise


class Scatters:
    """Cells whose `pods`, in the order of names, are counted: of each cell as many as it has.

    It goes on from what `scatters` know; once it has, they are left empty until it is given back to them.
    """

    def __init__(self, scatters: Sequence[Scatter], pods: Sequence[Sequence[str]]) -> None:
        self._scatters = scatters
        known = [sorted({*each.pods, *names}) for each, names in zip(scatters, pods, strict=True)]
        entries = [(cell, name) for cell, names in enumerate(known) for name in names]
        place_of = {entry: place for place, entry in enumerate(entries)}
        counted = [(cell, name) for cell, names in enumerate(pods) for name in names]
        self._names = [name for _, name in entries]
        self._cell_of_entry = places([cell for cell, _ in entries])
        self._cell = places([cell for cell, _ in counted])
        self._entry = places([place_of[each] for each in counted])
        surprises = [scatters[cell].pods.get(name) or Surprise() for cell, name in entries]
        self._excess = np.array([each.excess for each in surprises])
        self._variance = np.array([each.variance for each in surprises])
        self._chi2 = np.array([each.so_far[0] for each in scatters])
        self._df = np.array([each.so_far[1] for each in scatters], dtype=np.int64)

    def add(self, n: Integers, bad: Integers) -> tuple[Array, Integers, Array, Integers]:
        """As of `Scatter.add`, of each cell; `n` and `bad` are of each pod of the first, then of the next."""
        cells = len(self._scatters)
        for each in self._scatters:
            each.pods = {}
        excess, variance, cell, telling = _surprises(n, bad, self._cell, cells)
        entry = self._entry[telling]
        self._excess[entry] += excess
        self._variance[entry] += variance
        chi2, df = _pearson(excess, variance, cell, cells)
        begun = self._variance > 0
        before = self._chi2, self._df
        so_far = self._excess[begun], self._variance[begun], self._cell_of_entry[begun]
        self._chi2, self._df = _pearson(*so_far, cells)
        return chi2, df, self._chi2 - before[0], self._df - before[1]

    def give_back(self) -> None:
        """Tell each cell what is known of it now."""
        cells, excesses = self._cell_of_entry.tolist(), self._excess.tolist()
        known = zip(cells, self._names, excesses, self._variance.tolist(), strict=True)
        for cell, name, excess, variance in known:
            if variance:
                self._scatters[cell].pods[name] = Surprise(excess, variance)
        for each, chi2, df in zip(self._scatters, self._chi2.tolist(), self._df.tolist(), strict=True):
            each.so_far = chi2, df


def in_one_window(n: Integers, bad: Integers, cell: Integers, cells: int) -> tuple[Array, Integers]:
    """As of `scatter.in_one_window`, of so many cells; `cell` is the one of each pod."""
    return _pearson(*_surprises(n, bad, cell, cells)[:3], cells)


def _surprises(
    n: Integers, bad: Integers, cell: Integers, cells: int
) -> tuple[Array, Array, Integers, NDArray[np.bool_]]:
    """Excess, variance and cell of the pods that tell something, and which those are."""
    in_all, all_bad = (np.bincount(cell, each, cells) for each in (n, bad))
    share = np.where((all_bad > 0) & (all_bad < in_all), all_bad / np.maximum(in_all, 1), 0.0)[cell]
    telling = (share > 0) & (n > 0)
    expected = n * share
    return (bad - expected)[telling], (expected * (1 - share))[telling], cell[telling], telling


def _pearson(excess: Array, variance: Array, cell: Integers, cells: int) -> tuple[Array, Integers]:
    pods = np.bincount(cell, minlength=cells)
    chi2 = np.bincount(cell, excess * excess / variance, cells)
    return np.where(pods < 2, 0.0, chi2), np.maximum(pods - 1, 0)
