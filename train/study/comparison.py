"""Differences between two groups of runs at the same seeds, and how likely chance makes them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from train.study.evidence import Score

LEAST_PAIRS = 3  # Of fewer no test says anything.
_RESAMPLES = 9999


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired differences, and two tests of whether their mean is zero.

    Args:
      difference: the differences, in points.
      t_test: two-sided p of the paired t-test; `None` where there are fewer than
        `LEAST_PAIRS` pairs, or all differences are equal.
      sign_flips: two-sided p of the permutation test that flips the signs of differences: of
        all their signs, or of 9,999 drawn ones where there are more. `None` as above.
    """

    difference: Score
    t_test: float | None
    sign_flips: float | None


def differences(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Returns the first's points less the second's at the seeds of both, in their order."""
    return [first[seed] - second[seed] for seed in sorted(set(first) & set(second))]


def compare(pairs: Sequence[float]) -> Comparison | None:
    """Sums up paired differences; `None` if there are none."""
    if not pairs:
        return None
    difference = Score.of(pairs)
    if len(pairs) < LEAST_PAIRS or np.ptp(pairs) <= 1e-9:
        return Comparison(difference, None, None)
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Of nearly equal differences.
        t_test = float(stats.ttest_1samp(pairs, 0.0).pvalue)
        flips = stats.permutation_test(
            (np.asarray(pairs),),
            np.mean,
            permutation_type="samples",
            n_resamples=_RESAMPLES,
            rng=np.random.default_rng(0),
        )
    return Comparison(difference, t_test, float(flips.pvalue))
