"""One claim of a paper, as a claims file states it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...runs import alike
from .results import Results

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
        metric: one of :data:`lmzoo.train.report.claims.metrics.METRICS`.
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


Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A setting of a metric.

    Attributes:
        default: where a claim does not say.
        choices: the values there are; any whole number of 1 or more where there are none.
    """

    default: Any
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Metric:
    """How a figure of every run is found in the records.

    Attributes:
        title: as a table has it.
        unit: of the plain figure and of an absolute difference.
        units: what a claim may say of a difference; the first where it names no size.
        read: the figures of all runs that have one.
        settings: by name.
        needs: what a comparison has to ask for so that there are such figures.
        exact: whether it is counted and not estimated, so that equal differences leave nothing to chance.
        floor: what it is where nothing is solved; None where there is no such value.
        is_difference: whether it is a difference in itself, so that a claim may hold it against zero or a bound.
    """

    title: str
    unit: str
    units: tuple[Unit, ...]
    read: Callable[[Results, Settings], list[Figure]]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    needs: str = "runs that are finished"
    is_difference: bool = False
    exact: bool = False
    floor: float | None = None


def choices(names: Sequence[Any], default: Any) -> Setting:
    """A setting with these values."""
    return Setting(default, tuple(names))


@dataclass(frozen=True)
class Figure:
    """What a metric is for one run.

    Attributes:
        value: NaN where the run's record has none.
        like: what has to be equal for figures to be compared, by field.
        documents: sums by document of the same scoring, where the record carries them.
        unit: of the documents' sums: ``tokens``, ``words`` or ``bytes``.
    """

    variant: str
    seed: int
    value: float
    like: alike.Likeness
    documents: Mapping[str, Sequence[Any]] | None = None
    unit: str = "tokens"


def differing(figures: Sequence[Figure]) -> tuple[str, ...]:
    """The fields in which the figures are unlike; empty where they compare."""
    return alike.differing([figure.like for figure in figures])
