"""Writing a comparison's report into its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..config import write_atomically
from ..extrapolation.probes.settings import PROBES_FILE
from ..number_records import NUMBERS_FILE, read_probe
from .document import Document, build_document
from .load import ANALYSIS_FILE, Comparison, load_comparison
from .render import render_html, render_markdown
from .tuning import TuningReport


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
    _write_rows(folder / "records.jsonl", record_rows(comparison))
    for file, rows in extra_rows(comparison).items():
        if rows:
            _write_rows(folder / file, rows)
        else:
            (folder / file).unlink(missing_ok=True)
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


def extra_rows(comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """What was asked of the runs beside their perplexity: by file, one mapping a record with its variant and seed.

    The seed that a probe was drawn with is called ``drawn_with``.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in (ANALYSIS_FILE, NUMBERS_FILE, PROBES_FILE.name)}
    for run in comparison.finished:
        whose = {"variant": run.variant, "seed": run.seed}
        rows[ANALYSIS_FILE] += [whose | record for record in run.analysis]
        rows[NUMBERS_FILE] += [whose | record for record in read_probe(run.folder)]
        rows[PROBES_FILE.name] += [{**record, "drawn_with": record["seed"], **whose} for record in run.probes]
    return rows | {"tuning.jsonl": TuningReport(comparison).rows()}


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
