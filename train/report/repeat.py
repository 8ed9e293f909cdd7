"""How the rows of a report are made again: the commands, and what they need."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import flatten
from ..figures.formats import duration, plain
from ..runs.alike import TOKENIZER
from ..runs.load import COMPARISON_FILE, Comparison, Row, Run, number, run_folder


@dataclass(frozen=True)
class Repeat:
    """One variant's row again.

    Attributes:
        command: trains and evaluates the variant with the seeds it has finished, and writes a report of it.
        runs: for each finished seed its label and the command that trains that run alone.
        facts: what the runs were made with and what they took, by name, as far as not all rows share it.
    """

    variant: str
    command: str
    runs: list[tuple[str, str]]
    facts: list[tuple[str, str]]


class Repeats:
    """The commands of a comparison. They are to be typed where the comparison's was, so that paths mean the same.

    Args:
        comparison: as read back.

    Attributes:
        shared: facts that all rows with a finished run have in common: commit, hashes, text, machine.
        rows: one a variant.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        runs = {name: [run for run in comparison.finished if run.variant == name] for name in comparison.variants}
        facts = {name: {**_behind(own), **_needs(own)} for name, own in runs.items()}
        of_all = [set(one.items()) for name, one in facts.items() if runs[name]]
        common = set.intersection(*of_all) if of_all else set()
        self.shared = [fact for fact in next((one for one in facts.values() if one), {}).items() if fact in common]
        self.rows = [
            Repeat(
                name,
                self.command([name]),
                [(f"seed {run.seed}", self._run(run)) for run in own],
                [fact for fact in facts[name].items() if fact not in common],
            )
            for name, own in runs.items()
        ]

    def command(self, variants: Sequence[str], seeds: Iterable[int] | None = None) -> str:
        """``lmzoo compare`` for some variants, into a folder of its own.

        With the seeds that they have finished if none are given, the comparison's where they have finished none.
        """
        finished = {run.seed for run in self.comparison.finished if run.variant in variants}
        chosen = sorted(finished) or self.comparison.seeds if seeds is None else seeds
        file = self.comparison.output / COMPARISON_FILE
        words = ["lmzoo", "compare", str(file), "--variants", ",".join(variants)]
        return shlex.join([*words, "--seeds", ",".join(map(str, chosen)), "--output", str(self._again)])

    @property
    def _again(self) -> Path:
        output = Path("runs") / self.comparison.name if self.comparison.archived else self.comparison.output
        return output.with_name(f"{output.name}-again")

    def _run(self, run: Run) -> str:
        if self.comparison.archived:  # its config.yaml is not there as a file
            return self.command([run.variant], [run.seed])
        again = run_folder(self._again, run.variant, run.seed)
        return shlex.join(["lmzoo", "fit", "--config", str(run.folder / "config.yaml"), "--run_dir", str(again)])


def _behind(runs: Sequence[Run]) -> dict[str, str]:
    records = [record for run in runs for record in (run.results or {}).get("records", [])]
    found = {
        "commit": _all(_of_passport(record, "commit") for record in records),
        "versions": _all(_versions(record) for record in records),
        "tokenizer, SHA-256": _all(_of_passport(record, TOKENIZER) for record in records),
    }
    for split in dict.fromkeys(str(record["split"]) for record in records):
        own = (record for record in records if record["split"] == split)
        found[f"{split} text, SHA-256"] = _all(_of_passport(record, "text_sha256") for record in own)
    return {name: value for name, value in found.items() if value}


def _needs(runs: Sequence[Run]) -> dict[str, str]:
    configs = [flatten(run.config) for run in runs]
    found = {
        "corpus": _all(config.get("data.source") for config in configs),
        "a trained model": _all(config.get("init_from") for config in configs),
        "precision": _all(config.get("trainer.precision") for config in configs),
        "peak memory": _most(runs, "peak_memory_mb", lambda value: f"{plain(value, 0)} MB"),
        "time to train a seed": _most(runs, "seconds", duration),
        "on": _all(_machine(run) for run in runs),
    }
    return {name: value for name, value in found.items() if value}


def _of_passport(record: Row, field: str) -> object:
    return (record.get("passport") or {}).get(field)


def _versions(record: Row) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in ((record.get("passport") or {}).get("versions") or {}).items()
    )


def _machine(run: Run) -> str:
    threads, gpus = run.environment.get("torch_threads"), run.environment.get("gpus") or []
    words = [run.environment.get("processor"), f"{threads} threads" if threads else "", *gpus]
    return ", ".join(str(word) for word in words if word)


def _most(runs: Sequence[Run], key: str, shown: Callable[[float], str]) -> str:
    values = [number((run.results or {}).get(key)) for run in runs]
    known = [value for value in values if math.isfinite(value)]
    return shown(max(known)) if known else ""


def _all(values: Iterable[object]) -> str:
    """The different values, in the order in which they come."""
    return "; ".join(dict.fromkeys(str(value) for value in values if value))
