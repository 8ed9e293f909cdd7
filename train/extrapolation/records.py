"""Records of an extrapolation on the disk, and which of them need not be made again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..config import ConfigError, finite, write_atomically
from ..console import say

Record = dict[str, Any]

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


def read_lines(file: Path) -> list[Record]:
    """The records of a file that is written whole or not at all; empty where there is none.

    Raises:
        ConfigError: a line is not one JSON object.
    """
    if not file.is_file():
        return []
    records: list[Record] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"not valid JSON: {error}", place=f"{file}:{number}") from None
        if not isinstance(record, dict):
            raise ConfigError("expected one JSON object a line", place=f"{file}:{number}")
        records.append(record)
    return records


def append_record(file: Path, record: Record) -> None:
    """Add one record, on a line of its own also where the line before was cut off; on the disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(finite(record), allow_nan=False) + "\n"
    with file.open("a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else "\n" + line
        stream.write(line.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def write_records(file: Path, records: Iterable[Record]) -> None:
    """A file of just these records, whole or not at all."""
    lines = [json.dumps(finite(record), allow_nan=False) for record in records]
    write_atomically(file, "".join(f"{line}\n" for line in lines))


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
