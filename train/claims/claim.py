"""One claim of a paper, as a claims file states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["lower", "higher", "at_most", "at_least"]
Unit = Literal["relative", "absolute"]


@dataclass(frozen=True)
class Paper:
    """Whose claims a file states.

    Attributes:
        arxiv: its number there.
        status: such as published or withdrawn.
        file: name of the claims file without its ending.
    """

    file: str
    title: str
    arxiv: str
    status: str


@dataclass(frozen=True)
class Claim:
    """One claim and what decides it.

    Attributes:
        name: the key in the file.
        sentence: what the paper claims, in our words.
        source: where it says so.
        not_tested: why none of our comparisons decides it; empty where one does, and then the rest is there.
        metric: one of :data:`lmzoo.train.claims.metrics.METRICS`.
        protocol: the metric's settings, every one with its value.
        direction: ``lower`` or ``higher`` than the baseline; ``at_most`` or ``at_least`` the size away from it.
        size: of the claimed difference: a positive amount for ``lower`` and ``higher``, a signed bound for the others.
        unit: ``relative``: a ratio to the baseline less 1, tested on logarithms; ``absolute``: in the metric's unit.
        comparison: the name of the comparison.
        comparison_file: its file.
        variant: the one the claim is about.
        baseline: what it is held against; None where the metric is a difference of its own.
    """

    name: str
    sentence: str
    source: str
    not_tested: str = ""
    metric: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    direction: Direction = "lower"
    size: float | None = None
    unit: Unit = "relative"
    comparison: str = ""
    comparison_file: str = ""
    variant: str = ""
    baseline: str | None = None


@dataclass(frozen=True)
class ClaimsFile:
    """A claims file, read and checked."""

    paper: Paper
    claims: tuple[Claim, ...]
