"""Runs without their weights, many in a file: the form in which finished comparisons are published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..storage import write_atomically

Row = dict[str, Any]

TRIALS_FILE = "tuning.jsonl.gz"
_SEEDS = "seed-*.jsonl.gz"


def seed_file(output: Path, seed: int) -> Path:
    """Where the runs of one seed lie: another seed is another file, and leaves this one as it is."""
    return output / f"seed-{seed}.jsonl.gz"


def is_archive(output: Path) -> bool:
    """Whether a comparison's folder holds archived runs."""
    return any(output.glob(_SEEDS))


def archived_runs(output: Path) -> list[Row]:
    """Every archived run, a mapping of the fields of :class:`lmzoo.train.runs.load.Run` but ``folder``, in no order.

    Raises:
        ConfigError: a file cannot be read as JSON Lines with variant and seed.
    """
    return [row for file in sorted(output.glob(_SEEDS)) for row in read_archive(file)]


def archived_trials(output: Path) -> list[Row]:
    """Every archived trial of a learning rate: the fields of its run, and its ``rate``."""
    return read_archive(output / TRIALS_FILE)


def read_archive(file: Path) -> list[Row]:
    """The lines of an archive, each one run; none where there is no file.

    Raises:
        ConfigError: it is no gzip file, or a line of it is not one JSON object with variant and seed.
    """
    if not file.is_file():
        return []
    try:
        lines = gzip.decompress(file.read_bytes()).decode("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"expected gzipped JSON Lines: {error}", place=str(file)) from None
    for number, row in enumerate(rows, start=1):
        if not (isinstance(row, dict) and {"variant", "seed", "config", "metrics"} <= row.keys()):
            raise ConfigError("expected a run with its variant, seed, config and metrics", place=f"{file}:{number}")
    return rows


def write_archive(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One line a run, whole or not at all. The same runs give the same bytes: no time and no name is in the file."""
    text = "".join(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(file, gzip.compress(text.encode("utf-8"), mtime=0))
