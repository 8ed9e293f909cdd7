"""Files that are either whole or not there: text, JSON, JSON Lines."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import ConfigError


def write_json(path: Path, content: Mapping[str, Any], *, sort_keys: bool = True) -> None:
    """Write a JSON file, whole or not at all."""
    text = json.dumps(finite(content), indent=2, sort_keys=sort_keys, allow_nan=False)
    write_atomically(path, f"{text}\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping in a JSON file; None if there is no such file or it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


Record = dict[str, Any]


def read_lines(file: Path, *, may_be_cut_off: bool = False) -> list[Record]:
    """The records of a file; empty where there is none.

    Args:
        file: of JSON Lines.
        may_be_cut_off: it grows line by line, and a kill can have left half a line at its end: read up to there.

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
            if may_be_cut_off:
                break
            raise ConfigError(f"not valid JSON: {error}", place=f"{file}:{number}") from None
        if not isinstance(record, dict):
            raise ConfigError("expected one JSON object a line", place=f"{file}:{number}")
        records.append(record)
    return records


def append_record(file: Path, record: Record, *, sync: bool = True) -> None:
    """Add one record, on a line of its own also where the line before was cut off.

    It is on the disk when this returns, unless ``sync`` is false: then the system writes it in its own time.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    line = _line(record)
    with file.open("a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else "\n" + line
        stream.write(line.encode("utf-8"))
        if sync:
            stream.flush()
            os.fsync(stream.fileno())


def write_records(file: Path, records: Iterable[Record], *, ensure_ascii: bool = True) -> None:
    """A file of just these records, whole or not at all; letters beyond ASCII escaped, or as they are."""
    write_atomically(file, "".join(_line(record, ensure_ascii=ensure_ascii) for record in records))


def _line(record: Record, *, ensure_ascii: bool = True) -> str:
    return json.dumps(finite(record), allow_nan=False, ensure_ascii=ensure_ascii) + "\n"


@contextlib.contextmanager
def held(folder: Path, refusal: ConfigError) -> Iterator[None]:
    """Hold a folder, which is made if need be, so that two processes never write into it at once.

    Raises:
        ConfigError: ``refusal``, where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder, on this machine or, where it is shared with locks, on another one."""
    try:
        with (folder / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def finite(value: Any) -> Any:
    """The value with null for infinite and undefined numbers, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write so that ``path`` holds either the old content or the whole new one, also after a power cut."""
    with open_atomically(path) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream under a temporary name, which becomes ``path`` once all is written and on the disk."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    # of its own: threads, and processes of several machines, may write the same file
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
