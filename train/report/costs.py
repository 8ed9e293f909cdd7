"""What each variant cost: parameters, speed, memory, time and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..figures.formats import NONE, amount, duration, plain, plus_minus, signed
from ..figures.statistics.spread import spread
from ..figures.table import Cell, Table, TableRow
from ..runs.load import Comparison, Row, Run, number
from ..runs.matching import Matching

MATCH_COLUMNS = {"feed_forward": "Feed-forward width", "depth": "Layers"}
RESIDUE = "Residue"


class MatchedBudget:
    """The columns that a comparison with ``match`` adds to the table of costs; without it there are none.

    Sizes and costs are those that the finished runs wrote down, not those that were planned.

    Args:
        comparison: as read back.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.matching = Matching(**comparison.match) if comparison.match else None
        self.baseline = comparison.baseline
        rows = [_row(run, self.matching) for run in comparison.finished if self.matching]
        self._frame = pd.DataFrame(rows, columns=["variant", "size", "cost"])

    @property
    def columns(self) -> list[str]:
        """Titles."""
        return [MATCH_COLUMNS[self.matching.by], RESIDUE] if self.matching else []

    def cells(self, variant: str) -> list[Cell]:
        """The solved size, and how far the variant's cost is from the baseline's, in percent of that."""
        if self.matching is None:
            return []
        residue = self.residue(variant)
        size = Cell(plain(self._one(variant, "size"), 0))
        if variant == self.baseline or math.isnan(residue):
            return [size, Cell(plain(math.nan, 0))]
        return [size, Cell(f"{signed(residue, 3)} %")]

    def residue(self, variant: str) -> float:
        """100 (C - C_baseline) / C_baseline; NaN where one of them is not known."""
        reference = self._one(self.baseline, "cost")
        return 100.0 * (self._one(variant, "cost") - reference) / reference

    def notes(self) -> list[str]:
        """What was matched, in words."""
        if self.matching is None:
            return []
        text = (
            f"Matched: {self.matching.describe()}. Each variant's {MATCH_COLUMNS[self.matching.by].lower()} was solved "
            f"for before training; the residue is what it then has more than {self.baseline}, in percent."
        )
        if self.matching.budget == "flops":
            text += (
                " FLOPs are those of matrix products; elementwise work and what a kernel does again in the backward "
                "pass are not in them, so equal FLOPs are not equal time."
            )
        return [text]

    def _one(self, variant: str, column: str) -> float:
        """The value that all runs of a variant share; NaN where there is none."""
        distinct = set(self._frame.loc[self._frame["variant"] == variant, column].tolist())
        return float(distinct.pop()) if len(distinct) == 1 else math.nan


def _row(run: Run, matching: Matching) -> tuple[str, float, float]:
    results = run.results or {}
    if matching.budget == "flops":
        cost = results.get("flops_per_token" if matching.of == "total" else "body_flops_per_token")
    else:
        cost = (results.get("parameters") or {}).get("total" if matching.of == "total" else "other")
    return run.variant, number((results.get("sizes") or {}).get(matching.by)), number(cost)


def timed(comparison: Comparison) -> dict[str, Row]:
    """By variant, what was timed in turn against the comparison's own baseline; empty where nothing was."""
    return {row["variant"]: row for row in comparison.speed if row["baseline"] == comparison.baseline}


def ratio_cell(row: Row) -> Cell:
    """The ratio to the baseline, with the quartiles of its rounds."""
    low, high = row["to_baseline_low"], row["to_baseline_high"]
    return Cell(f"{row['to_baseline']:.2f}×", f"{plain(low, 2)} to {plain(high, 2)}")


def timed_sentence(comparison: Comparison) -> str:
    """How the speeds were timed; empty where they were not."""
    rows = list(timed(comparison).values())
    if not rows:
        return ""
    first = rows[0]
    return (
        f"Speeds are of training steps timed in turn in one process (lmzoo speed): medians of {first['rounds']} rounds "
        f"on {first['device']} with {first['environment']['torch_threads']} threads; ratios are taken round by round, "
        "with their quartiles."
    )


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


def costs_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a finished run; figures it does not have are NaN. Speeds that were timed in turn replace logged ones."""
    rows = []
    in_turn = timed(comparison)
    for run in comparison.finished:
        figures: Mapping[str, Any] = run.results or {}
        parameters: Mapping[str, Any] = figures.get("parameters") or {}
        row: dict[str, Any] = {"variant": run.variant, "seed": run.seed}
        row |= {key: number(parameters.get(key)) for key in PARAMETERS}
        keys = ("steps", "train_tokens", "seconds", "tokens_per_second", "peak_memory_mb", "flops_per_token")
        row |= {key: number(figures.get(key)) for key in keys}
        if in_turn:
            row["tokens_per_second"] = number(in_turn.get(run.variant, {}).get("tokens_per_second"))
        rows.append(row)
    return pd.DataFrame(rows)


def cost_table(comparison: Comparison) -> Table | None:
    """One row a variant; means over its finished runs, the largest peak of memory. None without a finished run."""
    frame = costs_frame(comparison)
    in_turn = timed(comparison)
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
        logged = [
            Cell(plain(speed.mean, 0), plus_minus(speed, 0)),
            Cell(f"{speed.mean / reference:.2f}×" if reference and not math.isnan(reference) else NONE),
        ]
        by_turns = [Cell(plain(speed.mean, 0)), ratio_cell(in_turn[name]) if name in in_turn else Cell(NONE)]
        rows.append(
            TableRow(
                name,
                [
                    Cell(f"{len(own)}" if len(own) >= asked else f"{len(own)} of {asked}"),
                    *(Cell(amount(_same(own[key]))) for key in PARAMETERS),
                    Cell(amount(float(own["train_tokens"].mean()))),
                    *(by_turns if in_turn else logged),
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
    columns, notes = [*COLUMNS, *matched.columns], [*matched.notes(), *_notes(frame, comparison)]
    return Table("Cost", columns, rows, "" if in_turn else _sentence(comparison.finished), notes)


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


def unlike_speeds(comparison: Comparison) -> list[str]:
    """In what the machines differ that the speeds were measured on; empty where the speeds compare."""
    return [] if timed(comparison) else unlike_machines(comparison.finished)


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


def speed_sentence(comparison: Comparison) -> str:
    """How speeds were measured, and what else the machine did while memory was, or both.

    A comparison's runs do not take turns, so that what else the machine does falls on one of them alone; the budgets in
    their ``environment.json`` say how many ran at once.
    """
    by_turns = timed_sentence(comparison)
    of_each = set()
    for run in comparison.finished:
        budget = run.environment.get("budget") or {}
        # a run without a budget was made by itself
        of_each.add((run.environment.get("torch_threads"), budget["jobs"] if budget.get("threads") else 1))
    jobs = {jobs for _, jobs in of_each}
    if None in jobs:
        where = "by tasks of a cluster, whose machines may have done other work too"
    elif jobs <= {1}:
        where = "in one process after another on this machine"
    else:
        where = f"with up to {max(jobs)} jobs at once on this machine"
    if by_turns:
        return f"{by_turns} Memory was measured {where}."
    text = f"Speed and memory were measured {where}; machine load shows in them. For a speed claim see lmzoo speed."
    if len(of_each) > 1:
        text += " The speeds do not compare: the runs had different numbers of threads, or of jobs beside them."
    return text


def memory_kinds(runs: list[Run]) -> list[str]:
    """What the peaks of memory are, in the runs' own words; memories compare where it is one thing."""
    return sorted({str((run.results or {}).get("peak_memory_is", "not recorded what")) for run in runs})


def memory_sentence(runs: list[Run]) -> str:
    """What the peaks of memory are, in the runs' own words (``peak_memory_is``)."""
    kinds = memory_kinds(runs)
    text = f"Peak memory is the largest over seeds: {' / '.join(kinds)}."
    return text if len(kinds) < 2 else f"{text} The memory figures do not compare: they measure different things."


def _notes(frame: pd.DataFrame, comparison: Comparison) -> list[str]:
    logged = (
        "Training tokens/s is each run's median over its logged rows, without validation and checkpoint writing; "
        "then mean ± standard deviation over seeds, and the ratio of the means to the baseline's."
    )
    notes = [
        speed_sentence(comparison),
        *([] if timed(comparison) else [logged]),
        memory_sentence(comparison.finished),
        "Parameters count each once: head is what the output head alone holds, tied what it shares with the embedding, "
        "where it is counted. Head tables are what the head stores beside parameters, such as which code each token "
        "shares.",
    ]
    if frame["train_tokens"].nunique() > 1:
        notes.append("The budgets differ: not every run was trained on the same number of tokens.")
    return notes
