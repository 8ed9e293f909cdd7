"""What comparisons have measured, read from their runs or from the JSON Lines of their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....errors import ConfigError
from ...config import load_yaml
from ...runs.evaluation_files import NUMBERS_FILE, PROBES_FILE
from ...runs.load import ANALYSIS_FILE, COMPARISON_FILE, Comparison, Fates, Row, fates_of, load_comparison
from ...runs.rows import RECORDS, extra_rows, record_rows
from ...storage import read_lines

_FILES = (RECORDS, ANALYSIS_FILE, NUMBERS_FILE, PROBES_FILE.name)


@dataclass(frozen=True)
class Results:
    """One comparison's records.

    Attributes:
        name: of the comparison.
        place: the folder they are from.
        rows: by the report's file that holds them; each with its variant and seed, and its passport's fields beside it.
        fates: what became of each run that was asked for; not known where there are JSON Lines alone.
        asked: the comparison they are of; None where there are JSON Lines alone.
    """

    name: str
    place: Path
    rows: Mapping[str, list[Row]]
    fates: Fates = field(default_factory=dict)
    asked: Comparison | None = None


def results_of(comparison: Comparison) -> Results:
    """The records of a comparison's finished runs."""
    rows = {RECORDS: record_rows(comparison), **extra_rows(comparison)}
    return Results(comparison.name, comparison.output, _flat(rows), fates_of(comparison), comparison)


def read_results(folders: Sequence[str | Path]) -> list[Results]:
    """The comparisons in folders.

    Each folder is that of a comparison's runs (it holds ``comparison.yaml``), or holds the JSON Lines of a report
    (``records.jsonl`` and, where there were any, ``analysis.jsonl``, ``numbers.jsonl``, ``probes.jsonl``), or holds
    such folders. A comparison whose runs are not there has the name of the folder of its JSON Lines, or of the folder
    above where that one is called ``report``.

    Raises:
        ConfigError: a folder is none of these, or a file in it cannot be read.
    """
    read: dict[Path, Results] = {}
    for folder in map(Path, folders):
        inner = sorted(folder.iterdir()) if folder.is_dir() and not holds_results(folder) else [folder]
        holding = list(filter(holds_results, inner))
        if not holding:
            what = "no such folder" if not folder.is_dir() else f"it holds no {COMPARISON_FILE} and no {RECORDS}"
            raise ConfigError(f"expected a comparison's runs or its report's JSON Lines: {what}", place=str(folder))
        read |= {place.resolve(): _read(place) for place in holding}
    return list(read.values())


def holds_results(folder: Path) -> bool:
    """Whether it is the folder of a comparison's runs or of its report's JSON Lines."""
    return (folder / COMPARISON_FILE).is_file() or (folder / RECORDS).is_file()


def _read(folder: Path) -> Results:
    if (folder / COMPARISON_FILE).is_file():
        return results_of(load_comparison(folder))
    rows = {name: read_lines(folder / name) for name in _FILES}
    for name in _FILES:
        if any("variant" not in row or "seed" not in row for row in rows[name]):
            raise ConfigError("expected the variant and the seed in every line", place=str(folder / name))
    name = folder.resolve().name
    if folder.name == "report":
        file = folder.parent / COMPARISON_FILE
        name = str(load_yaml(file)["name"]) if file.is_file() else folder.resolve().parent.name
    return Results(name, folder, _flat(rows))


def _flat(rows: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    return {name: [{**(row.get("passport") or {}), **row} for row in of_file] for name, of_file in rows.items()}
