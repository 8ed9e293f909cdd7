"""The records of a number probe, as a run's folder keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .config import ConfigError, finite, write_atomically

NUMBERS_FILE = "numbers.jsonl"
CONFIDENCE = 0.95

Record = dict[str, Any]


def share(right: int, problems: int) -> Record:
    """The share of right answers with Wilson's 95 % interval, which also holds near 0 and 1."""
    from scipy.stats import binomtest  # slow to import, and a report without a probe does without

    interval = binomtest(right, problems).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "problems": problems,
        "right": right,
        "exact_match": right / problems,
        "low": float(interval.low),
        "high": float(interval.high),
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
