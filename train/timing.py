"""Seconds of a step, and steps timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import torch

Step = Callable[[], object]


def seconds(step: Step) -> float:
    """Wall time of one call, with what it left running on a GPU."""
    _synchronise()
    start = time.perf_counter()
    step()
    _synchronise()
    return time.perf_counter() - start


def in_turn(steps: Mapping[str, Step], rounds: int) -> Iterator[dict[str, float]]:
    """Seconds of every step, round by round; what else the machine does in a round falls on all of them.

    Each round begins one step later than the one before, every second runs backwards: no step has one neighbour only.
    """
    names = list(steps)
    for i in range(rounds):
        order = names[i % len(names) :] + names[: i % len(names)]
        yield {name: seconds(steps[name]) for name in (order[::-1] if i % 2 else order)}


def quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper one; both the value itself where there is one only."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
