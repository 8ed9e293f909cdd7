"""The records of a comparison's finished runs, one mapping each: what a report's JSON Lines hold."""

from __future__ import annotations

from typing import Any

from .evaluation_files import NUMBERS_FILE, PROBES_FILE
from .load import ANALYSIS_FILE, Comparison
from .trials import trial_rows

RECORDS = "records.jsonl"
"""The report's file of perplexities; :func:`extra_rows` names the others."""

TRIALS = "tuning.jsonl"


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
        rows[NUMBERS_FILE] += [whose | record for record in run.numbers]
        rows[PROBES_FILE.name] += [{**record, "drawn_with": record["seed"], **whose} for record in run.probes]
    return rows | {TRIALS: trial_rows(comparison)}
