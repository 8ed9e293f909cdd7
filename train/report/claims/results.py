"""What comparisons have measured, read from their runs or from the JSON Lines of their reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....errors import ConfigError
from ...config import load_yaml
from ...runs.evaluation_files import NUMBERS_FILE, PROBES_FILE
from ...runs.load import ANALYSIS_FILE, COMPARISON_FILE, Comparison, Fates, fates_of, load_comparison
from ...runs.rows import RECORDS, extra_rows, record_rows
from ...storage import read_lines

Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """One comparison's records, a mapping each with ``variant`` and ``seed``.

    Attributes:
        name: of the comparison.
        place: the folder they are from.
        records: perplexities, also of extrapolations, with passports and what the run cost.
        analysis, numbers, probes: of ``lmzoo analyze``, ``lmzoo numbers`` and ``lmzoo probe``.
        fates: what became of each run that was asked for; not known where there are JSON Lines alone.
        asked: the comparison they are of; None where there are JSON Lines alone.
    """

    name: str
    place: Path
    records: list[Row]
    analysis: list[Row]
    numbers: list[Row]
    probes: list[Row]
    fates: Fates = field(default_factory=dict, kw_only=True)
    asked: Comparison | None = field(default=None, kw_only=True)


def results_of(comparison: Comparison) -> Results:
    """The records of a comparison's finished runs."""
    extra = extra_rows(comparison)
    return Results(
        comparison.name,
        comparison.output,
        record_rows(comparison),
        extra[ANALYSIS_FILE],
        extra[NUMBERS_FILE],
        extra[PROBES_FILE.name],
        fates=fates_of(comparison),
        asked=comparison,
    )


def read_results(folders: Sequence[str | Path]) -> list[Results]:
    """The comparisons in folders.

    Each folder is that of a comparison's runs (it holds ``comparison.yaml``), or holds the JSON Lines of a report
    (``records.jsonl`` and, where there were any, ``analysis.jsonl``, ``numbers.jsonl``, ``probes.jsonl``), or holds
    such folders. A comparison whose runs are not there has the name of the folder of its JSON Lines, or of the folder
    above where that one is called ``report``.

    Raises:
        ConfigError: a folder is none of these, or a file in it cannot be read.
    """
    found: dict[Path, Results] = {}
    for folder in map(Path, folders):
        own = _read(folder)
        below = [] if own or not folder.is_dir() else [_read(inner) for inner in sorted(folder.iterdir())]
        several = [one for one in (own, *below) if one is not None]
        if not several:
            what = "no such folder" if not folder.is_dir() else f"it holds no {COMPARISON_FILE} and no {RECORDS}"
            raise ConfigError(f"expected a comparison's runs or its report's JSON Lines: {what}", place=str(folder))
        found |= {one.place.resolve(): one for one in several}
    return list(found.values())


def holds_results(folder: Path) -> bool:
    """Whether it is the folder of a comparison's runs or of its report's JSON Lines."""
    return (folder / COMPARISON_FILE).is_file() or (folder / RECORDS).is_file()


def _read(folder: Path) -> Results | None:
    if not holds_results(folder):
        return None
    if (folder / COMPARISON_FILE).is_file():
        return results_of(load_comparison(folder))
    rows = [read_lines(folder / name) for name in (RECORDS, ANALYSIS_FILE, NUMBERS_FILE, PROBES_FILE.name)]
    for name, of_file in zip((RECORDS, ANALYSIS_FILE, NUMBERS_FILE, PROBES_FILE.name), rows, strict=True):
        if any("variant" not in row or "seed" not in row for row in of_file):
            raise ConfigError("expected the variant and the seed in every line", place=str(folder / name))
    return Results(_name(folder), folder, *rows)


def _name(folder: Path) -> str:
    if folder.name != "report":
        return folder.resolve().name
    file = folder.parent / COMPARISON_FILE
    return str(load_yaml(file)["name"]) if file.is_file() else folder.resolve().parent.name
