"""Publishing a finished comparison: its records without weights, in a folder small enough for version control."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from ...errors import ConfigError
from ..config import first_of, load_yaml, write_yaml
from ..figures.formats import listed
from ..runs.evaluation_files import identity
from ..runs.load import (
    COMPARISON_FILE,
    SPEED_FILE,
    TRIALS_FILE,
    Comparison,
    Row,
    Run,
    archived_runs,
    archived_trials,
    load_comparison,
    seed_file,
    write_archive,
)
from ..runs.trials import trials_of
from ..storage import write_records
from .repeat import unlike_settings

# Of environment.json: what a figure depends on. The command and the kernel's name say where, not how.
_ENVIRONMENT = ("versions", "commit", "processor", "cores", "torch_threads", "budget", "gpus")
# An absolute path within a text; one part alone, such as "/", is none.
_PATH = re.compile(
    r"(?<![\w./:~\\-])(?:~|file://|[A-Za-z]:)?(?:[/\\][\w.@+~-](?:[\w.@+~ -]*[\w.@+~-])?)+[/\\]?(?=$|[^\w/\\])"
)


def portable_environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, commit, kind of processor, cores, threads and GPUs."""
    return {key: environment[key] for key in _ENVIRONMENT if key in environment}


class Portable:
    """Makes absolute paths relative, wherever they stand in a record.

    A path below one of the roots becomes relative to it; of any other the last part remains, after ``.../``.

    Args:
        roots: folders that a reader has too, such as that in which the commands were typed.
    """

    def __init__(self, *roots: Path) -> None:
        self.roots = sorted({str(root.resolve()) for root in roots}, key=len, reverse=True)

    def __call__(self, value: Any) -> Any:
        """The value with every text in it made portable, keys included."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(key) if isinstance(key, str) else key: self(inner) for key, inner in value.items()}
        return [self(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str) -> str:
        return _PATH.sub(lambda match: self._path(match[0]), text) if "/" in text or "\\" in text else text

    def _path(self, path: str) -> str:
        for root in self.roots:
            if path == root or path.startswith(f"{root}/"):
                return path[len(root) + 1 :] or "."
        last = PureWindowsPath(path).name  # takes both kinds of slashes
        return f".../{last}" if last else path


# What every final record has to say of itself, in the record or in its passport.
_SAID = ("protocol", "text_sha256", "tokenizer_sha256", "seed", "dtype", "commit")
# Files that are written whole: the newest counts, and none is no reason to forget the last.
_EVALUATIONS = ("analysis", "numbers", "probes")


@dataclass
class Collected:
    """What came of collecting.

    Attributes:
        folder: where the records are now.
        added, replaced, kept: runs that are new there, that took the place of another run of their variant and seed,
            and that were there and are not among those collected now.
        left_out: runs that are neither finished nor failed, which are not collected.
        changed: runs made by code with changes that no commit has, or outside of a checkout.
        size: of the folder's files, in bytes.
    """

    folder: Path
    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    size: int = 0

    def sentences(self) -> list[str]:
        """What a person is told."""
        words = [f"{len(self.added)} runs added", f"{len(self.replaced)} replaced", f"{len(self.kept)} kept"]
        said = [f"collected into {self.folder} ({self.size / 1e3:.0f} kB): {', '.join(words)}"]
        for what, runs in (
            ("these took the place of other runs of the same variant and seed", self.replaced),
            ("not collected, since not finished", self.left_out),
            ("made by code that no commit has", self.changed),
        ):
            said += [f"{what}: {listed(runs)}"] if runs else []
        return said


def collect(output: Path, target: Path) -> Collected:
    """Copy the records of a comparison's finished and failed runs into ``target/<name>``.

    Everything that a report, its plots and the claims are made from is copied, and nothing is thinned out: settings,
    versions and commit, the rows of the curves, results, and the records of every evaluation; not weights, tokenizers,
    logs and the texts that were generated. Absolute paths become relative or lose all but their last part; of the
    machine remain the kind of its processor, cores, threads and GPUs.

    What is there stays: a run is added, or takes the place of the one of its variant and seed; a failed one never that
    of a finished one. Of a run that is there already its newer evaluations are taken, and older ones kept.

    Args:
        output: the folder of a comparison's runs.
        target: the folder of all published comparisons.

    Raises:
        ConfigError: ``output`` is no such folder, a record lacks part of its passport, or ``target/<name>`` holds runs
            of other settings.
    """
    comparison = load_comparison(output)
    folder = target / comparison.name
    if comparison.archived:
        raise ConfigError(f"{output} holds what was collected already; collect from the folder of the runs")
    portable = Portable(Path.cwd(), output.parent.parent)
    asked = portable(load_yaml(output / COMPARISON_FILE))
    there = {(row["variant"], row["seed"]): row for row in archived_runs(folder)}
    if (folder / COMPARISON_FILE).is_file():
        asked = _merged(load_yaml(folder / COMPARISON_FILE), asked, folder)
    done = Collected(folder)
    runs = dict(there)
    for run in comparison.runs:
        label, key = _label(run.variant, run.seed), (run.variant, run.seed)
        if run.state == "unfinished":
            done.left_out.append(label)
            continue
        _check(run)
        if _changed(run):
            done.changed.append(label)
        row = _row(run, portable)
        if key not in there:
            done.added.append(label)
        elif there[key]["results"] == row["results"]:
            row = _with_older_evaluations(row, there[key])
        elif row["results"] is None:
            continue  # a run that failed where one has finished
        else:
            done.replaced.append(label)
        runs[key] = row
    given = {(run.variant, run.seed) for run in comparison.runs if run.state != "unfinished"}
    done.kept = [_label(*key) for key in there if key not in given]
    _write(folder, asked, runs, _trials(comparison, folder, portable))
    if comparison.speed:
        rows = [row | {"environment": portable_environment(row["environment"])} for row in comparison.speed]
        write_records(folder / SPEED_FILE, rows)
    done.size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return done


def _row(run: Run, portable: Portable) -> Row:
    fields = {name: value for name, value in vars(run).items() if name != "folder"}
    made: Row = portable(fields | {"environment": portable_environment(run.environment)})
    return made


def _trials(comparison: Comparison, folder: Path, portable: Portable) -> list[Row]:
    known = {(row["variant"], row["seed"], row["rate"]): row for row in archived_trials(folder)}
    for name, trials in trials_of(comparison).items():
        for trial in trials:
            if trial.ended:  # its folder is called after its rate, and so is its run
                row = _row(trial.run, portable) | {"variant": name, "rate": trial.rate}
                known[name, trial.run.seed, trial.rate] = row
    return [known[key] for key in sorted(known)]


def _with_older_evaluations(new: Row, old: Row) -> Row:
    """The newer evaluations of one and the same run, and of those that were not made again the older ones."""
    records = {identity(record, record["passport"]): record for record in old["extrapolation"]}
    records |= {identity(record, record["passport"]): record for record in new["extrapolation"]}
    return new | {"extrapolation": list(records.values())} | {key: new[key] or old[key] for key in _EVALUATIONS}


def _merged(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> Row:
    """The comparison with the variants and seeds of both; everything else as it was asked last."""
    shared = [name for name in new["variants"] if name in old["variants"]]
    keys = unlike_settings(old, new, shared, ("base", "match", "tuning"))
    if keys:
        shown = first_of(keys)
        raise ConfigError(
            f"{folder} holds runs of other settings (differing in {shown}). Runs of different settings never share a "
            "report: collect into another folder, or delete this one"
        )
    variants = {**new["variants"], **old["variants"], **new["variants"]}
    return {**old, **new, "variants": variants, "seeds": sorted({*old["seeds"], *new["seeds"]})}


def _write(folder: Path, asked: Row, runs: Mapping[tuple[str, int], Row], trials: list[Row]) -> None:
    order = list(asked["variants"])
    for seed in sorted({seed for _, seed in runs}):
        own = [row for (_, of_seed), row in runs.items() if of_seed == seed and row["variant"] in order]
        write_archive(seed_file(folder, seed), sorted(own, key=lambda row: order.index(row["variant"])))
    if trials:
        write_archive(folder / TRIALS_FILE, trials)
    write_yaml(folder / COMPARISON_FILE, asked)


def _check(run: Run) -> None:
    for record in (run.results or {}).get("records", []):
        lacking = [name for name in _SAID if name not in record and name not in (record.get("passport") or {})]
        if lacking:
            raise ConfigError(
                f"expected {listed(lacking)} beside every figure, as `lmzoo fit` writes them",
                place=str(run.folder / "results.json"),
            )


def _changed(run: Run) -> bool:
    commits = [(record.get("passport") or {}).get("commit") for record in (run.results or {}).get("records", [])]
    return any(commit is None or "+" in commit for commit in commits)


def _label(variant: str, seed: int) -> str:
    return f"{variant}/seed-{seed}"
