"""Files that are either whole or not there: text, JSON, JSON Lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping in a JSON file; None if there is no such file or it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


Record = dict[str, Any]


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


def finite(value: Any) -> Any:
    """The value with null for infinite and undefined numbers, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write so that ``path`` holds either the old content or the whole new one, also after a power cut."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
