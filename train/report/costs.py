"""What each variant cost: parameters, speed, memory, time and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..statistics.spread import spread
from .formats import NONE, amount, duration, plain, plus_minus
from .load import Comparison, Run, number
from .matching import MatchedBudget
from .table import Cell, Table, TableRow

# Of environment.json: what a speed hangs on. Runs that differ here do not compare in speed.
MACHINE = {"processor": "processor", "cores": "cores", "torch_threads": "threads", "gpus": "GPUs"}

PARAMETERS = ("total", "embedding", "other", "head", "tied", "head_table_bytes")

COLUMNS = [
    "Runs",
    "Parameters",
    "embedding",
    "body",
    "head",
    "tied",
    "head tables, bytes",
    "Training tokens",
    "Training tokens/s",
    "to baseline",
    "Peak memory",
    "Training time",
    "FLOPs/token",
]


# A comparison's runs do not take turns, so that what else the machine does falls on one of them alone.
NO_BENCHMARK = (
    "Speed and memory were measured while training, in processes that did not take turns: other runs at the same "
    "time and machine load show in them. For a speed claim see lmzoo bench."
)


def costs_frame(runs: list[Run]) -> pd.DataFrame:
    """One row a finished run; figures it does not have are NaN."""
    rows = []
    for run in runs:
        if run.results is None:
            continue
        figures: Mapping[str, Any] = run.results
        parameters: Mapping[str, Any] = figures.get("parameters") or {}
        row: dict[str, Any] = {"variant": run.variant, "seed": run.seed}
        row |= {key: number(parameters.get(key)) for key in PARAMETERS}
        keys = ("steps", "train_tokens", "seconds", "tokens_per_second", "peak_memory_mb", "flops_per_token")
        row |= {key: number(figures.get(key)) for key in keys}
        rows.append(row)
    return pd.DataFrame(rows)


def cost_table(comparison: Comparison) -> Table | None:
    """One row a variant; means over its finished runs, the largest peak of memory. None without a finished run."""
    frame = costs_frame(comparison.finished)
    if frame.empty:
        return None
    speeds = {
        name: spread(frame.loc[frame["variant"] == name, "tokens_per_second"].tolist()) for name in comparison.variants
    }
    reference = speeds[comparison.baseline].mean
    matched = MatchedBudget(comparison)
    rows = []
    for name in comparison.variants:
        own = frame[frame["variant"] == name]
        if own.empty:
            continue
        asked = len(comparison.seeds)
        speed = speeds[name]
        rows.append(
            TableRow(
                name,
                [
                    Cell(f"{len(own)}" if len(own) >= asked else f"{len(own)} of {asked}"),
                    *(Cell(amount(_same(own[key]))) for key in PARAMETERS),
                    Cell(amount(float(own["train_tokens"].mean()))),
                    Cell(plain(speed.mean, 0), plus_minus(speed, 0)),
                    Cell(f"{speed.mean / reference:.2f}×" if reference and not math.isnan(reference) else NONE),
                    Cell(
                        f"{plain(float(own['peak_memory_mb'].max()), 0)} MB"
                        if own["peak_memory_mb"].notna().any()
                        else NONE
                    ),
                    Cell(duration(float(own["seconds"].mean()))),
                    Cell(amount(_same(own["flops_per_token"]))),
                    *matched.cells(name),
                ],
                name == comparison.baseline,
            )
        )
    columns, notes = [*COLUMNS, *matched.columns], [*matched.notes(), *_notes(frame, comparison.finished)]
    return Table("Cost", columns, rows, _sentence(comparison.finished), notes)


def _same(values: pd.Series[Any]) -> float:
    """The one value all seeds share; parameters that differed between seeds would make no mean worth showing."""
    distinct = set(values.tolist())
    return float(distinct.pop()) if len(distinct) == 1 else math.nan


def _sentence(runs: list[Run]) -> str:
    machines = [_machine(run) for run in runs if run.environment]
    differing = unlike_machines(runs)
    if differing:
        return f"Speeds do not compare: the runs were made on unlike machines ({', '.join(differing)} differ)."
    same = [f"{word} {value}" for word, value in machines[0].items() if value] if machines else []
    return f"Measured with {', '.join(same)}." if same else ""


def unlike_machines(runs: list[Run]) -> list[str]:
    """In what the machines of the runs differ; empty where their speeds compare."""
    machines = [_machine(run) for run in runs if run.environment]
    return [word for word in machines[0] if len({m[word] for m in machines}) > 1] if machines else []


def _machine(run: Run) -> dict[str, str]:
    machine = {word: _joined(run.environment.get(key)) for key, word in MACHINE.items()}
    versions = run.environment.get("versions") or {}
    return {**machine, "torch": str(versions.get("torch", ""))}


def _joined(value: object) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value))
    return "" if value is None else str(value)


def memory_kinds(runs: list[Run]) -> list[str]:
    """What the peaks of memory are, in the runs' own words; memories compare where it is one thing."""
    return sorted({str((run.results or {}).get("peak_memory_is", "not recorded what")) for run in runs})


def memory_sentence(runs: list[Run]) -> str:
    """What the peaks of memory are, in the runs' own words (``peak_memory_is``)."""
    kinds = memory_kinds(runs)
    text = f"Peak memory is the largest over seeds: {' / '.join(kinds)}."
    return text if len(kinds) < 2 else f"{text} The memory figures do not compare: they measure different things."


def _notes(frame: pd.DataFrame, runs: list[Run]) -> list[str]:
    notes = [
        NO_BENCHMARK,
        "Training tokens/s is each run's median over its logged rows, without validation and checkpoint writing; "
        "then mean ± standard deviation over seeds, and the ratio of the means to the baseline's.",
        memory_sentence(runs),
        "Parameters count each once: head is what the output head alone holds, tied what it shares with the embedding, "
        "where it is counted. Head tables are what the head stores beside parameters, such as which code each token "
        "shares.",
    ]
    if frame["train_tokens"].nunique() > 1:
        notes.append("The budgets differ: not every run was trained on the same number of tokens.")
    return notes
