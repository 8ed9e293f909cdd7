"""Records of an extrapolation on the disk, and which of them need not be made again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..arguments import say
from ..figures.statistics.spread import share_interval
from ..storage import Record, finite, write_atomically

PROBES_FILE = Path("probe") / "probes.jsonl"
"""Where ``lmzoo probe RUN`` leaves its records, below the run's folder."""


RECORDS_FILE = "extrapolation.jsonl"

SETTINGS = ("protocol", "length", "stride", "longest", "within", "targets", "intervention")
"""What was asked for; two records that agree in these and in their passports are of the same evaluation."""


def read_records(file: Path) -> list[Record]:
    """The records of a file, of those with like settings and passport only the newest. Empty if there is no file.

    A line that a kill cut off is told and left out; what it was the record of is then evaluated anew.
    """
    if not file.is_file():
        return []
    found: dict[str, Record] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            key = identity(record, record["passport"])
        except (ValueError, KeyError, TypeError):
            say(f"{file}:{number}: no whole record, left out")
            continue
        found.pop(key, None)
        found[key] = record
    return list(found.values())


def unchanged(file: Path, records: Iterable[Record]) -> list[Record]:
    """Of the records in a file those of the same evaluations without an intervention, as far as they are there."""
    wanted = {identity({**record, "intervention": None}, record["passport"]) for record in records}
    return [record for key, record in known_records(file).items() if key in wanted]


def identity(settings: Mapping[str, Any], passport: Mapping[str, Any]) -> str:
    """One string for settings and passport, whatever the order of keys."""
    return json.dumps([{name: settings[name] for name in SETTINGS}, finite(passport)], sort_keys=True)


def known_records(file: Path | None) -> dict[str, Record]:
    """The records of a file by their :func:`identity`."""
    records: Iterable[Record] = [] if file is None else read_records(file)
    return {identity(record, record["passport"]): record for record in records}


NUMBERS_FILE = "numbers.jsonl"


def share(right: int, problems: int) -> Record:
    """The share of right answers with Wilson's 95 % interval, which also holds near 0 and 1."""
    low, high = share_interval(right / problems, problems)
    return {
        "problems": problems,
        "right": right,
        "exact_match": right / problems,
        "low": low,
        "high": high,
    }


def write_probe(run: Path, records: Sequence[Record]) -> None:
    """Write ``numbers.jsonl`` into a run's folder, atomically."""
    lines = [json.dumps(finite(record), allow_nan=False) + "\n" for record in records]
    write_atomically(run / NUMBERS_FILE, "".join(lines))


def read_probe(run: Path) -> list[Record]:
    """The records that a probe of the run has left; none where there was none.

    Raises:
        ConfigError: the file cannot be read.
    """
    file = run / NUMBERS_FILE
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    except ValueError as error:
        raise ConfigError(f"not valid JSON: {error}; delete it to probe the run again", place=str(file)) from None


def is_probed(run: Path, settings: Record) -> bool:
    """Whether the run was probed with these settings since it was finished."""
    file, results = run / NUMBERS_FILE, run / "results.json"
    if not file.is_file() or not results.is_file() or file.stat().st_mtime_ns < results.stat().st_mtime_ns:
        return False
    records = read_probe(run)
    return bool(records) and all(record["passport"]["probe"] == settings for record in records)
