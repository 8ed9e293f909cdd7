"""Quality and what it cost: the variants that no other one beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from .costs import costs_frame
from .load import Comparison
from .passport import Group

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Point:
    """One variant: a cost and a loss, means over the seeds that have both; less loss is better."""

    variant: str
    cost: float
    loss: float
    seeds: tuple[tuple[float, float], ...] = ()


def loss_unit(group: Group) -> str:
    """What :func:`points` measures quality in."""
    return "nats per token" if group.one_tokenizer else "bits per byte"


def points(comparison: Comparison, group: Group, cost: str) -> list[Point]:
    """A point for each variant with figures: the ``cost`` of :func:`costs_frame`, and the loss of the group's records.

    The loss is the mean over seeds of nats per token, the logarithm of token perplexity; of bits per byte where the
    tokenizers differ.
    """
    records = group.records
    loss = np.log(records["token_perplexity"]) if group.one_tokenizer else records["bits_per_byte"]
    both = records[["variant", "seed"]].assign(loss=loss).merge(costs_frame(comparison), on=["variant", "seed"])
    both = both[np.isfinite(both["loss"]) & np.isfinite(both[cost])]
    found = []
    for name in comparison.variants:
        own = both[both["variant"] == name]
        if not own.empty:
            found.append(Point(name, float(own[cost].mean()), float(own["loss"].mean()), _seeds(own, cost)))
    return found


def frontier(found: Sequence[Point], better: Better) -> list[Point]:
    """The points that no other one equals or beats in both figures and beats in one, the cheapest first.

    Args:
        found: all points.
        better: whether a lower or a higher cost is the cheaper; of a speed the higher.
    """
    sign = 1 if better == "lower" else -1
    kept: list[Point] = []
    lowest = math.inf
    for point in sorted(found, key=lambda one: (sign * one.cost, one.loss)):
        equal = bool(kept) and (point.cost, point.loss) == (kept[-1].cost, kept[-1].loss)
        if point.loss < lowest or equal:
            kept.append(point)
            lowest = point.loss
    return kept


def _seeds(own: pd.DataFrame, cost: str) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in zip(own[cost], own["loss"], strict=True))
