"""What happened on both arms between two ticks, as whole numbers."""

from __future__ import annotations

from inference_rollouts.core.values import Finite, Plain, Value


class ArmCounts(Plain, frozen=True):
    """Events of one arm in one window: `n` in all, `bad[j]` of them bad (slower than threshold j).

    `pods` is how many pods could be counted; 0 means that nothing is known, not that nothing happened.
    """

    n: int
    bad: tuple[int, ...]
    pods: int


class Counts(Plain, frozen=True):
    """One metric in one window.

    `chi2` with `df` degrees of freedom is Pearson's test, at each threshold, that stable's pods are alike;
    `lasting_chi2` and `lasting_df` are what the window adds to the same test of all that they counted so far;
    `canary_chi2` and `canary_df` are of the canary's pods in the window.
    """

    canary: ArmCounts
    stable: ArmCounts
    chi2: tuple[Finite, ...]
    df: tuple[int, ...]
    lasting_chi2: tuple[Finite, ...]
    lasting_df: tuple[int, ...]
    canary_chi2: tuple[Finite, ...]
    canary_df: tuple[int, ...]

    @property
    def by_threshold(self) -> tuple[tuple[float, ...], ...]:
        """All that has a place for each threshold."""
        stable = self.stable.bad, self.chi2, self.df, self.lasting_chi2, self.lasting_df
        return (*stable, self.canary.bad, self.canary_chi2, self.canary_df)


class WindowCounts(Value):
    """What happened on both arms between two ticks. A metric that was not exported is absent."""

    start: float
    end: float
    counts: dict[str, Counts]
