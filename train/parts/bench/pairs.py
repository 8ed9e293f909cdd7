"""A part beside its baseline: what is compared, and the comparison pair by pair."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track

from ...fit.measure import in_turn, quartiles

_MOST_PEAKS = 3


@dataclass(frozen=True)
class Case:
    """Our part and the baseline, ready to be compared.

    Attributes:
        what: what is done in one step, with its sizes.
        ours: our step; where memory is compared, a function that returns the bytes at the peak.
        baseline: the same of the baseline.
        note: what else a reader has to know.
        memory: whether bytes are compared instead of seconds.
    """

    what: str
    ours: Callable[[], Any]
    baseline: Callable[[], Any]
    note: str = ""
    memory: bool = False


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


def run(name: str, prepare: Callable[[str], Case], pairs: int, device: str) -> Result:
    """Prepare a case, with weights and inputs that depend on nothing else, and compare its two sides."""
    torch.manual_seed(0)
    return compare(name, prepare(device), pairs)


def compare(name: str, case: Case, pairs: int) -> Result:
    """Time both steps in turn after two warm-ups of both; or measure both peaks, at most three times."""
    note = case.note
    rounds: Iterable[dict[str, float]]
    if case.memory:
        pairs = min(pairs, _MOST_PEAKS)
        note += "; one process each; extremes in place of quartiles"
        rounds = ({"ours": case.ours(), "baseline": case.baseline()} for _ in range(pairs))
    else:
        steps = {"ours": case.ours, "baseline": case.baseline}
        list(in_turn(steps, 2))
        gc.collect()
        rounds = in_turn(steps, pairs)
    measured = list(track(rounds, total=pairs, description=f"{name:<12}", transient=True))
    ratios = [pair["baseline"] / pair["ours"] for pair in measured]
    low, high = (min(ratios), max(ratios)) if case.memory else quartiles(ratios)
    return Result(
        name=name,
        what=case.what,
        ours=statistics.median(pair["ours"] for pair in measured),
        baseline=statistics.median(pair["baseline"] for pair in measured),
        speedup=statistics.median(ratios),
        low=low,
        high=high,
        pairs=pairs,
        note=note,
        unit="MB" if case.memory else "ms",
    )
