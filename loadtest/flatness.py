"""Says whether the memory of a process grows, from samples. No IO.

The rule. The slope is that of Theil and Sen: the median of the slopes between all pairs of points, which a few odd
samples do not move. The points are medians of equal stretches of time, so that it costs little. The noise is how far
the points stray from the line: the greatest distance but for the farthest tenth. A process **grows** where its slope
is above the limit and the line rises by more than the noise. Where a growth at the limit would not rise above the
noise within the time, a process below the limit is **unclear**, not flat: the run was too short to tell.

Source: P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final, Literal

POINTS: Final = 60
"""Stretches of time; 1,770 pairs."""

POINTS_MIN: Final = 4
"""Of fewer nothing can be said."""

State = Literal["flat", "grows", "unclear"]


@dataclass(frozen=True)
class Trend:
    """How a value went."""

    per_hour: float
    """Slope, in the unit of the values."""
    rise: float
    """What the line rises over the time of the samples; negative where it falls."""
    noise: float
    """How far points stray from the line."""
    state: State


def trend_of(samples: Sequence[tuple[float, float]], limit_per_hour: float) -> Trend:
    """Judge samples.

    Args:
        samples: (time in seconds, value), in the order of time.
        limit_per_hour: slope up to which a value counts as flat; above 0.
    """
    points = _medians(samples)
    if len(points) < POINTS_MIN:
        return Trend(0.0, 0.0, 0.0, "unclear")
    slope = median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(points, 2))
    offset = median(value - slope * at_s for at_s, value in points)
    strays = sorted(abs(value - slope * at_s - offset) for at_s, value in points)
    noise = strays[(len(strays) - 1) * 9 // 10]
    seconds = points[-1][0] - points[0][0]
    rise, per_hour = slope * seconds, slope * 3600
    state: State = "flat"
    if per_hour > limit_per_hour:
        state = "grows" if rise > noise else "unclear"
    elif limit_per_hour * seconds / 3600 < noise:
        state = "unclear"
    return Trend(per_hour, rise, noise, state)


def _medians(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the median of the times and of the values in each stretch of time."""
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
        return []
    begin_s, width_s = samples[0][0], (samples[-1][0] - samples[0][0]) / POINTS
    stretches: dict[int, list[tuple[float, float]]] = {}
    for at_s, value in samples:
        stretches.setdefault(min(POINTS - 1, int((at_s - begin_s) / width_s)), []).append((at_s, value))
    return [
        (median(at_s for at_s, _ in stretch), median(value for _, value in stretch)) for stretch in stretches.values()
    ]
