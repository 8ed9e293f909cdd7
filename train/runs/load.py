"""What a report is made from: the folders of a comparison, or what was collected of them, read back."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...errors import ConfigError
from ..config import load_yaml
from ..figures.formats import listed
from ..figures.statistics.family import EFFECT
from ..storage import read_lines, write_atomically
from .evaluation_files import PROBES_FILE, RECORDS_FILE, read_probe, read_records

State = Literal["finished", "failed", "unfinished"]
Row = dict[str, Any]

COMPARISON_FILE = "comparison.yaml"
ANALYSIS_FILE = "analysis.jsonl"
SPEED_FILE = "speed.jsonl"
TRIALS_FILE = "tuning.jsonl.gz"
_SEEDS = "seed-*.jsonl.gz"


@dataclass(frozen=True)
class Run:
    """One run folder, ``OUTPUT/<variant>/seed-<seed>``.

    Attributes:
        config: the resolved configuration, empty when the run never came as far as writing it.
        metrics: rows of ``metrics.jsonl``, one for each split and step, in the order of steps.
        unreadable_lines: lines of ``metrics.jsonl`` that a kill cut off; nothing else is ever left out.
        results: ``results.json``, present exactly when the run is finished.
        failure: ``failure.json`` of a run that stopped on an error; none once the run has finished after all.
        analysis: records of ``analysis.jsonl`` (``lmzoo analyze``), empty where there is none.
        extrapolation: records of ``extrapolation.jsonl``, where the run was evaluated at several lengths.
        numbers: records of ``lmzoo numbers``, where the run was probed so.
        probes: records of ``lmzoo probe``, where what the run does with its context was probed.
    """

    variant: str
    seed: int
    folder: Path
    config: Row
    environment: Row
    metrics: list[Row]
    unreadable_lines: int
    results: Row | None
    failure: Row | None
    analysis: list[Row] = field(default_factory=list)
    extrapolation: list[Row] = field(default_factory=list)
    numbers: list[Row] = field(default_factory=list)
    probes: list[Row] = field(default_factory=list)

    @property
    def state(self) -> State:
        """Finished, failed, or unfinished (interrupted or still running)."""
        if self.results is not None:
            return "finished"
        return "failed" if self.failure is not None else "unfinished"

    @property
    def diverged(self) -> bool:
        """Whether training stopped because its numbers were no longer usable."""
        return self.failure is not None and "layer" in self.failure

    @property
    def reason(self) -> str:
        """Why a failed run failed, with the step where it is known; empty otherwise."""
        if self.failure is None:
            return ""
        step = self.failure.get("step")
        reason = str(self.failure.get("reason", "no reason was recorded"))
        layer = self.failure.get("layer")
        text = reason if step is None or f"step {step}" in reason else f"step {step}: {reason}"
        return f"{text} (first seen in {layer})" if layer else text

    def rows(self, split: str) -> list[Row]:
        return [row for row in self.metrics if row["split"] == split]


@dataclass(frozen=True)
class Comparison:
    """A comparison's folder: what was asked (``comparison.yaml``) and what is there.

    Attributes:
        overrides: for each variant, in the file's order, its overrides of the base.
        runs: runs of these variants, ordered by variant and seed.
        strays: run folders of variants the comparison does not name; a report says so and leaves them out.
        effect: the relative difference of perplexity that the file wants to see.
        match, tuning: the settings of matched budgets and of trials of learning rates; None where there are none.
        analyze, probe: whether an analysis, and probes, of every finished run were asked for.
        speed: rows of ``lmzoo speed``, one a variant that was timed; empty where none was.
        archived: whether the runs are not in folders but collected into files, without weights.
    """

    name: str
    output: Path
    baseline: str
    overrides: dict[str, Row]
    seeds: list[int]
    runs: list[Run]
    strays: list[str]
    analyze: bool = False
    probe: bool = False
    effect: float = EFFECT
    match: Row | None = None
    tuning: Row | None = None
    speed: list[Row] = field(default_factory=list)
    archived: bool = False

    @property
    def variants(self) -> list[str]:
        """The variants' names in the file's order."""
        return list(self.overrides)

    @property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.state == "finished"]

    @property
    def missing(self) -> list[tuple[str, int]]:
        """Variant and seed of every run that was asked for and has no folder yet."""
        there = {(run.variant, run.seed) for run in self.runs}
        return [(v, s) for v in self.variants for s in self.seeds if (v, s) not in there]


def run_folder(output: Path, variant: str, seed: int) -> Path:
    """Where the run of one variant and one seed lies."""
    return output / variant / f"seed-{seed}"


def load_runs(output: Path) -> list[Run]:
    """Every run folder below ``output``, ordered by name and seed."""
    found = []
    for folder in output.glob("*/seed-*"):
        number = folder.name.removeprefix("seed-")
        if folder.is_dir() and number.isdecimal():
            found.append(load_run(folder))
    return sorted(found, key=lambda run: (run.variant, run.seed))


# -- archives: runs without their weights, many in a file, the form in which comparisons are published ----------------


def seed_file(output: Path, seed: int) -> Path:
    """Where the runs of one seed lie: another seed is another file, and leaves this one as it is."""
    return output / f"seed-{seed}.jsonl.gz"


def is_archive(output: Path) -> bool:
    """Whether a comparison's folder holds archived runs."""
    return any(output.glob(_SEEDS))


def archived_runs(output: Path) -> list[Row]:
    """Every archived run, a mapping of the fields of :class:`Run` but ``folder``, in no order.

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


def load_archived(output: Path) -> list[Run]:
    """Every archived run, ordered by name and seed; the folder of each is where it would lie."""
    runs = [Run(folder=run_folder(output, row["variant"], row["seed"]), **row) for row in archived_runs(output)]
    return sorted(runs, key=lambda run: (run.variant, run.seed))


def load_comparison(output: Path) -> Comparison:
    """Read a comparison's folder: of its runs, or of what was collected of them.

    Raises:
        ConfigError: where ``comparison.yaml`` is missing, or a file of a run cannot be read as what it should be.
    """
    file = output / COMPARISON_FILE
    if not file.is_file():
        raise ConfigError(f"{output} is not the folder of a comparison: it holds no {COMPARISON_FILE}")
    asked = load_yaml(file)
    overrides = {str(name): dict(value or {}) for name, value in asked["variants"].items()}
    archived = is_archive(output)
    runs = load_archived(output) if archived else load_runs(output)
    order = list(overrides)
    return Comparison(
        name=str(asked["name"]),
        output=output,
        baseline=str(asked["baseline"]),
        overrides=overrides,
        seeds=[int(seed) for seed in asked["seeds"]],
        runs=sorted((r for r in runs if r.variant in overrides), key=lambda r: (order.index(r.variant), r.seed)),
        strays=[f"{r.variant}/{r.folder.name}" for r in runs if r.variant not in overrides],
        analyze=bool(asked.get("analyze")),
        probe=bool(asked.get("probes")),
        effect=float(asked.get("effect", EFFECT)),
        match=None if asked.get("match") in (None, "none") else dict(asked["match"]),
        tuning=asked.get("tuning"),
        speed=read_lines(output / SPEED_FILE),
        archived=archived,
    )


def read_metrics(file: Path) -> tuple[list[Row], int]:
    """Rows of a metrics file, and how many lines could not be read.

    A running or killed run may have left half a line. Where a resumed run wrote a step again, the later row counts.
    """
    if not file.is_file():
        return [], 0
    rows: dict[tuple[str, int], Row] = {}
    unreadable = 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key = (str(row["split"]), int(row["step"]))
        except (ValueError, KeyError, TypeError):
            unreadable += 1
            continue
        rows[key] = row
    return sorted(rows.values(), key=lambda row: int(row["step"])), unreadable


def absent(value: Any) -> bool:
    """Whether a field holds nothing: None, or the NaN that pandas puts in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: Any) -> float:
    """A figure as a float; NaN where there is none."""
    return math.nan if value is None else float(value)


def load_run(folder: Path) -> Run:
    """Read one run folder, ``<variant>/seed-<seed>``."""
    metrics, unreadable = read_metrics(folder / "metrics.jsonl")
    config = folder / "config.yaml"
    results = _read_json(folder / "results.json")
    finished = results is not None and bool(results.get("finished"))
    return Run(
        variant=folder.parent.name,
        seed=int(folder.name.removeprefix("seed-")),
        folder=folder,
        config=load_yaml(config) if config.is_file() else {},
        environment=_read_json(folder / "environment.json") or {},
        metrics=metrics,
        unreadable_lines=unreadable,
        results=results if finished else None,
        failure=None if finished else _read_json(folder / "failure.json"),
        analysis=read_lines(folder / ANALYSIS_FILE),
        extrapolation=read_records(folder / RECORDS_FILE) if finished else [],
        numbers=read_probe(folder) if finished else [],
        probes=read_lines(folder / PROBES_FILE) if finished else [],
    )


def _read_json(file: Path) -> Row | None:
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"not valid JSON: {error}", place=str(file)) from None
    if not isinstance(value, dict):
        raise ConfigError("expected one JSON object", place=str(file))
    return value


Fate = Literal["finished", "diverged", "failed", "not finished"]
Fates = Mapping[str, Mapping[int, Fate]]
"""By variant and seed; empty where it is not known what was asked for."""


def fates_of(comparison: Comparison) -> Fates:
    """Every seed of every variant that was asked for or begun."""
    found: dict[str, dict[int, Fate]] = {
        name: dict.fromkeys(comparison.seeds, "not finished") for name in comparison.variants
    }
    for run in comparison.runs:
        state = "diverged" if run.diverged else run.state
        found[run.variant][run.seed] = "not finished" if state == "unfinished" else state
    return found


def diverged(fates: Fates) -> set[str]:
    """The variants of which a seed diverged."""
    return {name for name, of_seed in fates.items() if "diverged" in of_seed.values()}


def lost(fates: Fates, variant: str) -> str:
    """``1 of 3 seeds of v diverged``; empty where all have finished."""
    of_seed = fates.get(variant, {})
    counts = Counter(fate for fate in of_seed.values() if fate != "finished")
    if not counts:
        return ""
    (first, n), *others = counts.items()
    return f"{n} of {len(of_seed)} seeds of {variant} {first}" + "".join(f", {m} {fate}" for fate, m in others)


def lost_note(fates: Fates) -> list[str]:
    """One note of all variants of which a run stopped on an error; none where there is none."""
    names = [name for name, of_seed in fates.items() if {"diverged", "failed"} & set(of_seed.values())]
    if not names:
        return []
    return [
        f"{listed([lost(fates, name) for name in names])}: these runs have no figure, and every mean is without them."
    ]
