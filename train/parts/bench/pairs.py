"""TODO."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from rich.progress import track

from ...fit.measure import Step, quartiles, seconds


@dataclass
class Result:
    """One comparison.

    Attributes:
        name: which benchmark.
        what: what was done in one step, with its sizes.
        ours: median seconds of our step.
        baseline: median seconds of the baseline's step.
        speedup: median over pairs of baseline / ours; above 1, ours is faster.
        low: the lower quartile of the pairs' speedups.
        high: the upper quartile.
        pairs: how many pairs were timed.
        note: what else a reader has to know.
        unit: what ``ours`` and ``baseline`` are: ms for seconds, MB for bytes of memory, shown in these.
    """

    name: str
    what: str
    ours: float
    baseline: float
    speedup: float
    low: float
    high: float
    pairs: int
    note: str = ""
    unit: str = "ms"


def compare_steps(name: str, what: str, ours: Step, baseline: Step, *, pairs: int, note: str = "") -> Result:
    """Time two steps in turn, the order of each pair alternating, after two warm-ups of both."""
    for _ in range(2):
        ours()
        baseline()
    times: list[tuple[float, float]] = []
    gc.collect()
    for i in track(range(pairs), description=f"{name:<12}", transient=True):
        if i % 2:
            second, first = seconds(baseline), seconds(ours)
        else:
            first, second = seconds(ours), seconds(baseline)
        times.append((first, second))
    ratios = [b / a for a, b in times]
    low, high = quartiles(ratios)
    return Result(
        name=name,
        what=what,
        ours=statistics.median(a for a, _ in times),
        baseline=statistics.median(b for _, b in times),
        speedup=statistics.median(ratios),
        low=low,
        high=high,
        pairs=pairs,
        note=note,
    )


def compare_peaks(
    name: str, what: str, ours: Callable[[], float], baseline: Callable[[], float], *, pairs: int, note: str = ""
) -> Result:
    """Compare bytes at the peak, each measured in a process of its own and at most three times."""
    repetitions = min(pairs, 3)
    measured = [(ours(), baseline()) for _ in track(range(repetitions), description=f"{name:<12}", transient=True)]
    ratios = sorted(b / a for a, b in measured)
    return Result(
        name=name,
        what=what,
        ours=statistics.median(a for a, _ in measured),
        baseline=statistics.median(b for _, b in measured),
        speedup=statistics.median(ratios),
        low=ratios[0],
        high=ratios[-1],
        pairs=repetitions,
        note=f"{note}; one process each; extremes in place of quartiles",
        unit="MB",
    )
