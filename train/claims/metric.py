"""One metric that claims may name, and the settings it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .claim import Unit
from .figures import Figure
from .results import Results

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
