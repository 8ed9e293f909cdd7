"""What each variant cost: parameters, speed, memory, time and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ..figures.formats import amount, duration, plain, signed
from ..figures.statistics.spread import by_seed, summarise
from ..figures.table import Cell, Column, Table, figure_cells, table_of
from ..runs.load import Comparison, Row, Run, number
from ..runs.matching import Matching

# Of environment.json: what a speed hangs on. Runs that differ here do not compare in speed.
_MACHINE = {"processor": "processor", "cores": "cores", "torch_threads": "threads", "gpus": "GPUs"}

_PARAMETERS = {
    "total": "Parameters",
    "embedding": "embedding",
    "other": "body",
    "head": "head",
    "tied": "tied",
    "head_table_bytes": "head tables, bytes",
}

_SIZES = {"feed_forward": "Feed-forward width", "depth": "Layers"}


def timed(comparison: Comparison) -> dict[str, Row]:
    """By variant, what was timed in turn against the comparison's own baseline; empty where nothing was."""
    return {row["variant"]: row for row in comparison.speed if row["baseline"] == comparison.baseline}


def costs_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a finished run; figures it does not have are NaN. Speeds that were timed in turn replace logged ones."""
    rows = []
    in_turn = timed(comparison)
    for run in comparison.finished:
        figures: Mapping[str, Any] = run.results or {}
        parameters: Mapping[str, Any] = figures.get("parameters") or {}
        row: dict[str, Any] = {"variant": run.variant, "seed": run.seed}
        row |= {key: number(parameters.get(key)) for key in _PARAMETERS}
        keys = ("steps", "train_tokens", "seconds", "tokens_per_second", "peak_memory_mb", "flops_per_token")
        row |= {key: number(figures.get(key)) for key in keys}
        if in_turn:
            row["tokens_per_second"] = number(in_turn.get(run.variant, {}).get("tokens_per_second"))
        rows.append(row)
    return pd.DataFrame(rows)


def cost_table(comparison: Comparison) -> Table | None:
    """One row a variant; means over its finished runs, the largest peak of memory. None without a finished run."""
    frame = costs_frame(comparison)
    if frame.empty:
        return None
    runs = {str(name): own for name, own in frame.groupby("variant")}
    asked = len(comparison.seeds)

    def cells(shown: Callable[[pd.DataFrame], str]) -> dict[str, Cell]:
        return {name: Cell(shown(own)) for name, own in runs.items()}

    def shared(key: str) -> Callable[[pd.DataFrame], str]:
        return lambda own: amount(_same(own[key]))

    def peak(own: pd.DataFrame) -> str:
        most = plain(float(own["peak_memory_mb"].max()), 0)
        return f"{most} MB" if own["peak_memory_mb"].notna().any() else most

    matched, matched_notes = _matched(comparison)
    columns: list[Column] = [
        ("Runs", cells(lambda own: f"{len(own)}" if len(own) >= asked else f"{len(own)} of {asked}")),
        *((title, cells(shared(key))) for key, title in _PARAMETERS.items()),
        ("Training tokens", cells(lambda own: amount(float(own["train_tokens"].mean())))),
        *_speeds(comparison, frame),
        ("Peak memory", cells(peak)),
        ("Training time", cells(lambda own: duration(float(own["seconds"].mean())))),
        ("FLOPs/token", cells(shared("flops_per_token"))),
        *matched,
    ]
    names = [name for name in comparison.variants if name in runs]
    notes = [*matched_notes, *_notes(frame, comparison)]
    return table_of("Cost", names, comparison.baseline, columns, _machine_sentence(comparison), notes)


def _speeds(comparison: Comparison, frame: pd.DataFrame) -> list[Column]:
    """Training tokens/s and the ratio to the baseline's; where they were timed in turn, with the rounds' quartiles."""
    means = {name: own.mean for name, own in summarise(frame, "tokens_per_second", comparison.variants).items()}
    if in_turn := timed(comparison):
        speeds = {name: Cell(plain(mean, 0)) for name, mean in means.items()}
        quartiles = {
            name: f"{plain(row['to_baseline_low'], 2)} to {plain(row['to_baseline_high'], 2)}"
            for name, row in in_turn.items()
        }
        ratios = {name: Cell(f"{row['to_baseline']:.2f}×", quartiles[name]) for name, row in in_turn.items()}
    else:
        speeds = figure_cells(by_seed(frame, "tokens_per_second", comparison.variants), 0)
        reference = means.get(comparison.baseline, math.nan) or math.nan
        to_baseline = {name: mean / reference for name, mean in means.items()}
        ratios = {name: Cell(f"{ratio:.2f}×") for name, ratio in to_baseline.items() if not math.isnan(ratio)}
    return [("Training tokens/s", speeds), ("to baseline", ratios)]


def _matched(comparison: Comparison) -> tuple[list[Column], list[str]]:
    """What a comparison with ``match`` adds: the solved size and how far the cost is from the baseline's, with a note.

    Sizes and costs are those that the finished runs wrote down, not those that were planned.
    """
    if not comparison.match:
        return [], []
    matching = Matching(**comparison.match)
    shared = pd.DataFrame([_size_and_cost(run, matching) for run in comparison.finished]).groupby("variant").agg(_same)
    reference = shared["cost"].get(comparison.baseline, math.nan)
    residues = (100.0 * (shared["cost"] - reference) / reference).drop(comparison.baseline, errors="ignore").dropna()
    title = _SIZES[matching.by]
    text = (
        f"Matched: {matching.describe()}. Each variant's {title.lower()} was solved "
        f"for before training; the residue is what it then has more than {comparison.baseline}, in percent."
    )
    if matching.budget == "flops":
        text += (
            " FLOPs are those of matrix products; elementwise work and what a kernel does again in the backward "
            "pass are not in them, so equal FLOPs are not equal time."
        )
    return [
        (title, {str(name): Cell(plain(size, 0)) for name, size in shared["size"].items()}),
        ("Residue", {str(name): Cell(f"{signed(residue, 3)} %") for name, residue in residues.items()}),
    ], [text]


def _size_and_cost(run: Run, matching: Matching) -> Row:
    results = run.results or {}
    if matching.budget == "flops":
        cost = results.get("flops_per_token" if matching.of == "total" else "body_flops_per_token")
    else:
        cost = (results.get("parameters") or {}).get("total" if matching.of == "total" else "other")
    size = (results.get("sizes") or {}).get(matching.by)
    return {"variant": run.variant, "size": number(size), "cost": number(cost)}


def _same(values: pd.Series[Any]) -> float:
    """The one value all seeds share; parameters that differed between seeds would make no mean worth showing."""
    distinct = set(values.tolist())
    return float(distinct.pop()) if len(distinct) == 1 else math.nan


def _machines(comparison: Comparison) -> pd.DataFrame:
    """What the speed of each run hangs on, in words; runs that say nothing of their machine are not there."""
    rows = []
    for run in comparison.finished:
        if run.environment:
            values = {word: run.environment.get(key) for key, word in _MACHINE.items()}
            values["torch"] = (run.environment.get("versions") or {}).get("torch")
            rows.append({word: _joined(value) for word, value in values.items()})
    return pd.DataFrame(rows)


def _joined(value: object) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value))
    return "" if value is None else str(value)


def unlike_speeds(comparison: Comparison) -> list[str]:
    """In what the machines differ that the speeds were measured on; empty where the speeds compare."""
    machines = _machines(comparison)
    return [] if timed(comparison) else [str(word) for word in machines if machines[word].nunique() > 1]


def _machine_sentence(comparison: Comparison) -> str:
    machines = _machines(comparison)
    if timed(comparison) or machines.empty:
        return ""
    if differing := unlike_speeds(comparison):
        return f"Speeds do not compare: the runs were made on unlike machines ({', '.join(differing)} differ)."
    same = [f"{word} {value}" for word, value in machines.iloc[0].items() if value]
    return f"Measured with {', '.join(same)}." if same else ""


def speed_sentence(comparison: Comparison) -> str:
    """How speeds were measured, and what else the machine did while memory was, or both.

    A comparison's runs do not take turns, so that what else the machine does falls on one of them alone; the budgets in
    their ``environment.json`` say how many ran at once.
    """
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
    if in_turn := list(timed(comparison).values()):
        first = in_turn[0]
        return (
            "Speeds are of training steps timed in turn in one process (lmzoo speed): medians of "
            f"{first['rounds']} rounds on {first['device']} with {first['environment']['torch_threads']} threads; "
            f"ratios are taken round by round, with their quartiles. Memory was measured {where}."
        )
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
