"""Results as the JSON Lines of a report hold them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest


def record(variant: str, seed: int, nats: float, **changes: Any) -> dict[str, Any]:
    """A final record on the test split, or with ``intervention`` among the changes one of an extrapolation."""
    passport = {"corpus": "c", "text_sha256": "t", "tokenizer_sha256": "k", "detokenize": False, "dtype": "32-true"}
    passport |= {"train_length": 64, "parameters": 1000, "head_parameters": 100, "split": "test"}
    passport |= changes.pop("passport", {})
    row = {"variant": variant, "seed": seed, "split": "test", "protocol": "non_overlapping", "length": 64}
    row |= {"stride": None, "nll": 100 * nats, "tokens": 100, "words": 80, "bytes": 400, "cross_entropy": nats}
    row |= {"token_perplexity": math.exp(nats), "word_perplexity": math.exp(100 * nats / 80)}
    row |= {"passport": passport, **changes}
    return {key: value for key, value in row.items() if not (key == "split" and "intervention" in row)}


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Path]:
    """``results(name, records={"a": [5.0, 5.1]}, analysis=[...])`` writes a folder ``name``; nats by seed."""

    def write(name: str, records: Mapping[str, Sequence[float]] | None = None, **files: Any) -> Path:
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True, exist_ok=True)
        rows = [record(v, seed, x) for v, values in (records or {}).items() for seed, x in enumerate(values)]
        for file, lines in {"records": [*rows, *files.pop("more", [])], **files}.items():
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def extra_record() -> Callable[..., dict[str, Any]]:
    """``extra_record(variant, seed, nats, passport={...}, field=...)``: one more record."""
    return record


@pytest.fixture
def lmzoo_in(tmp_path: Path) -> Callable[..., None]:
    """``lmzoo_in(folder, *words)``: the command as typed there, in a process of its own."""

    def run(folder: Path, *words: str) -> None:
        environment = {**os.environ, "LMZOO_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "lmzoo.train", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"

    return run
