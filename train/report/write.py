"""Writing a comparison's report into its folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..config import write_atomically
from ..number_records import NUMBERS_FILE, read_probe
from .document import Document, build_document
from .load import ANALYSIS_FILE, Comparison, load_comparison
from .render import render_html, render_markdown


def write_report(output: Path) -> tuple[Document, Path]:
    """Write ``report/`` from the folders below ``output`` alone; returns the content and the HTML page's path.

    ``report.md`` and ``report.html`` say the same, ``*.png`` are the pictures, and ``records.jsonl`` holds every
    record of every finished run with its passport and costs, one a line; ``analysis.jsonl`` the same of their analyses,
    where there are any, and ``numbers.jsonl`` those of the number probes. Pictures of an earlier report that this
    one has no more are deleted.

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
    lines = [json.dumps(_plain(row), allow_nan=False, ensure_ascii=False) for row in record_rows(comparison)]
    write_atomically(folder / "records.jsonl", "".join(f"{line}\n" for line in lines))
    analyses = [json.dumps(_plain(row), allow_nan=False, ensure_ascii=False) for row in analysis_rows(comparison)]
    if analyses:
        write_atomically(folder / ANALYSIS_FILE, "".join(f"{line}\n" for line in analyses))
    else:
        (folder / ANALYSIS_FILE).unlink(missing_ok=True)
    probed = [
        json.dumps(_plain({"variant": run.variant, "seed": run.seed, **record}), allow_nan=False, ensure_ascii=False)
        for run in comparison.finished
        for record in read_probe(run.folder)
    ]
    if probed:
        write_atomically(folder / NUMBERS_FILE, "".join(f"{line}\n" for line in probed))
    write_atomically(folder / "report.md", render_markdown(document))
    page = folder / "report.html"
    write_atomically(page, render_html(document))
    return document, page


def record_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One mapping a record: variant, seed, the record as the run wrote it, and what the run cost."""
    rows = []
    for run in comparison.finished:
        results = dict(run.results or {})
        records = results.pop("records", [])
        results.pop("finished", None)
        records = [*records, *run.extrapolation]
        rows += [{"variant": run.variant, "seed": run.seed, **record, "run": results} for record in records]
    return rows


def analysis_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One mapping a record of an analysis: variant, seed, and the record with its passport."""
    return [
        {"variant": run.variant, "seed": run.seed, **record} for run in comparison.finished for record in run.analysis
    ]


def _plain(value: Any) -> Any:
    """JSON has no word for infinity and NaN: they become strings, so that a reader sees that something was there."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
