"""Writing a comparison's report into its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..runs.load import load_comparison
from ..runs.rows import RECORDS, extra_rows, record_rows
from ..storage import write_atomically
from .document import Document, build_document
from .render import render_html, render_markdown


def write_report(output: Path) -> tuple[Document, Path]:
    """Write ``report/`` from the folders below ``output`` alone; returns the content and the HTML page's path.

    ``report.md`` and ``report.html`` say the same, ``*.png`` are the pictures, and ``records.jsonl`` holds every
    record of every finished run with its passport and costs, one a line; ``analysis.jsonl`` the same of their analyses,
    where there are any, ``numbers.jsonl`` those of the number probes, ``probes.jsonl`` those of the probes of their
    context and ``tuning.jsonl`` the records of trials of learning rates. Pictures of an earlier report that this one
    has no more are deleted.

    Raises:
        ConfigError: where ``output`` is not the folder of a comparison or a file in it cannot be read.
    """
    comparison = load_comparison(output)
    document = build_document(comparison)
    folder = output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for plot in document.plots:
        plot.write(folder)
    for old in folder.glob("*.png"):
        if old.name not in {plot.file for plot in document.plots}:
            old.unlink()
    _write_rows(folder / RECORDS, record_rows(comparison))
    for file, rows in extra_rows(comparison).items():
        if rows:
            _write_rows(folder / file, rows)
        else:
            (folder / file).unlink(missing_ok=True)
    write_atomically(folder / "report.md", render_markdown(document))
    page = folder / "report.html"
    write_atomically(page, render_html(document))
    return document, page


def _write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = (json.dumps(_plain(row), allow_nan=False, ensure_ascii=False) for row in rows)
    write_atomically(file, "".join(f"{line}\n" for line in lines))


def _plain(value: Any) -> Any:
    """JSON has no word for infinity and NaN: they become strings, so that a reader sees that something was there."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
