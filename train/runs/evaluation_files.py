"""Records of evaluations on the disk, and whether an evaluation of a run is done."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from ...errors import ConfigError
from ..arguments import say
from ..storage import Record, finite

WEIGHTS_FILE = "model.safetensors"
RECORDS_FILE = "extrapolation.jsonl"
NUMBERS_FILE = "numbers.jsonl"
PROBES_FILE = Path("probe") / "probes.jsonl"
"""Where ``lmzoo probe RUN`` leaves its records, below the run's folder."""

SETTINGS = ("protocol", "length", "stride", "longest", "within", "targets", "intervention")
"""What was asked for; two records that agree in these and in their passports are of the same evaluation."""

ORIGIN = "evaluation"
"""The field of a passport that holds the :class:`Origin` of figures."""

# of a passport: the code that made the figures. Other code makes the same ones, or else has another version.
_CODE = ("versions", "commit", ORIGIN)


class Origin(TypedDict):
    """What decides the figures of an evaluation beside its settings.

    An evaluation of a run is done if its files hold figures of the settings that are asked for now and of an equal
    origin. Neither the commit nor the time of a file is part of it, so that a copied or touched folder, and work on
    other code, repeat nothing.

    Attributes:
        version: of the evaluation, raised by hand when its code gives other figures.
        weights_sha256: of the file of exported weights; None where a checkpoint was evaluated.
        text_sha256: of the documents of each split that was read.
    """

    version: int
    weights_sha256: str | None
    text_sha256: dict[str, str]


def file_sha256(file: Path) -> str | None:
    """SHA-256 of a file's content; None if there is no such file."""
    if not file.is_file():
        return None
    state = file.stat()
    return _file_sha256(file, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=1024)
def _file_sha256(file: Path, *_state: int) -> str:
    # remembered as long as the process lives, since a progress bar asks twice a second
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def has_origin(recorded: Any, wanted: Origin, *, text_known: bool = True) -> bool:
    """Whether figures that carry ``recorded`` are those that an evaluation would make now.

    Records from before there were origins carry none, and are made again once. What is not to be had any more, the
    weights or the text, could not be evaluated again, and is not compared.
    """
    if not isinstance(recorded, Mapping) or recorded.get("version") != wanted["version"]:
        return False
    same_weights = wanted["weights_sha256"] in (None, recorded.get("weights_sha256"))
    return same_weights and (not text_known or recorded.get("text_sha256") == wanted["text_sha256"])


def read_records(file: Path) -> list[Record]:
    """The records of a file, of those of the same evaluation only the newest. Empty if there is no file.

    A line that a kill cut off is told and left out; what it was the record of is then evaluated anew.
    """
    if not file.is_file():
        return []
    newest: dict[str, Record] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            key = identity(record, record["passport"])
        except (ValueError, KeyError, TypeError):
            say(f"{file}:{number}: no whole record, left out")
            continue
        newest.pop(key, None)
        newest[key] = record
    return list(newest.values())


def unchanged(file: Path, records: Iterable[Record]) -> list[Record]:
    """Of the records in a file those of the same evaluations without an intervention, as far as they are there."""
    origins = {}
    for record in records:
        origins[identity({**record, "intervention": None}, record["passport"])] = record["passport"].get(ORIGIN)
    known = known_records(file).items()
    return [record for key, record in known if key in origins and record["passport"].get(ORIGIN) == origins[key]]


def identity(settings: Mapping[str, Any], passport: Mapping[str, Any]) -> str:
    """One string for settings, text and model, whatever the order of keys and the code."""
    card = {name: value for name, value in finite(passport).items() if name not in _CODE}
    return json.dumps([{name: settings[name] for name in SETTINGS}, card], sort_keys=True)


def known_records(file: Path | None) -> dict[str, Record]:
    """The records of a file by their :func:`identity`."""
    records: Iterable[Record] = [] if file is None else read_records(file)
    return {identity(record, record["passport"]): record for record in records}


def read_probe(run: Path) -> list[Record]:
    """The records that ``lmzoo numbers`` has left in a run's folder; none where there are none.

    Raises:
        ConfigError: the file cannot be read.
    """
    file = run / NUMBERS_FILE
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    except ValueError as error:
        raise ConfigError(f"not valid JSON: {error}; delete it to probe the run again", place=str(file)) from None
