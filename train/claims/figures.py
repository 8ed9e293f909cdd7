"""One figure of one run, and what has to be equal for two of them to be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..report.load import absent


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
    like: Mapping[str, Any]
    documents: Mapping[str, Sequence[Any]] | None = None
    unit: str = "tokens"


def likeness(row: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """The fields of a record or of its passport, null for what it lacks."""
    passport = row.get("passport") or {}
    found = {field: row.get(field, passport.get(field)) for field in fields}
    return {field: None if absent(value) else value for field, value in found.items()}


def differing(figures: Sequence[Figure]) -> list[str]:
    """The fields in which the figures are unlike; empty where they compare."""
    fields = dict.fromkeys(field for figure in figures for field in figure.like)
    return [f for f in fields if any(figure.like.get(f) != figures[0].like.get(f) for figure in figures)]
