"""How figures are made again: the commands, the file that asks for the same runs, and what they need."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import ArgumentError, ConfigError
from ..config import Config, differing_keys, find_base, find_config, flatten, load_run_config, load_yaml, merge
from ..evaluate.analyze.run import AnalysisSettings
from ..evaluate.numbers.run import NumbersSettings
from ..evaluate.probe.run import ProbeSettings
from ..figures.formats import duration, plain
from ..runs.alike import TOKENIZER
from ..runs.folder import HARMLESS
from ..runs.load import COMPARISON_FILE, Comparison, Row, Run, number, run_folder
from ..runs.matching import Matching
from ..runs.trials import Tuning


def compare_command(file: str, variants: Iterable[str], seeds: Iterable[int], output: Path | None = None) -> str:
    """``lmzoo compare`` for some variants and seeds, into a folder if one is given."""
    words = ["lmzoo", "compare", file, "--variants", ",".join(variants), "--seeds", ",".join(map(str, seeds))]
    return shlex.join(words if output is None else [*words, "--output", str(output)])


def comparison_file(place: Path) -> str:
    """The file that asks for the runs published in a folder: the shipped one where it still does, else their own."""
    shipped, published = f"configs/compare/{place.name}.yaml", place / COMPARISON_FILE
    same = find_config(shipped).is_file() and (not published.is_file() or _asks_for(load_yaml(published), shipped))
    return shipped if same else published.as_posix()


def unlike_settings(
    one: Mapping[str, Any], other: Mapping[str, Any], variants: Iterable[str], keys: Sequence[str]
) -> list[str]:
    """The keys by which two comparisons make unlike runs of these variants.

    Args:
        one: with every base spelt out, as a comparison's folder holds it.
        other: likewise.
        variants: that both have.
        keys: what decides beside the variants.
    """
    first, second = (
        {key: file.get(key) for key in keys} | {"variants": {name: file["variants"][name] or {} for name in variants}}
        for file in (one, other)
    )
    places = ("base", *(f"variants.{name}" for name in variants))
    return differing_keys(first, second, ignore=[f"{place}.{key}" for place in places for key in HARMLESS])


_SETTINGS = {
    "match": Matching,
    "tuning": Tuning,
    "analyze": AnalysisSettings,
    "numbers_probe": NumbersSettings,
    "probes": ProbeSettings,
}


def _asks_for(published: Config, shipped: str) -> bool:
    """Whether the shipped file would make the published runs; what it says of how they are shown does not matter."""
    path = find_config(shipped)
    try:
        raw = load_yaml(path)
        base = raw.get("base") or {}
        base = load_run_config(find_base(base, path))[0] if isinstance(base, str) else base
        variants = {name: merge({}, overrides) for name, overrides in raw["variants"].items()}
        ours = {
            "name": raw.get("name") or path.stem,
            "base": merge(base, raw.get("overrides")),
            "variants": variants,
            "lengths": sorted(raw["lengths"]) if raw.get("lengths") else None,
            **{key: _spelt_out(settings, raw.get(key)) for key, settings in _SETTINGS.items()},
        }
    except (ConfigError, ArgumentError, TypeError):  # it asks for nothing that can be made
        return False
    if not published["variants"].keys() <= variants.keys():
        return False
    theirs = published | {"match": None if published.get("match") == "none" else published.get("match")}
    return not unlike_settings(ours, theirs, list(published["variants"]), ("name", "base", "lengths", *_SETTINGS))


def _spelt_out(settings: Callable[..., Any], given: object) -> Config | None:
    """What a comparison's file says of one of :data:`_SETTINGS`, with every default; None where it asks for nothing."""
    if given in (None, False, "none"):
        return None
    filled = settings() if given is True else settings(**given) if isinstance(given, Mapping) else settings(given)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(filled).items()}


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
        facts = {name: _facts(of_variant) for name, of_variant in runs.items()}
        known = [of_variant for name, of_variant in facts.items() if runs[name]]
        self.shared = [fact for fact in (known[0].items() if known else ()) if all(fact in f.items() for f in known)]
        self.rows = [
            Repeat(
                name,
                self.command([name]),
                [(f"seed {run.seed}", self._run(run)) for run in of_variant],
                [fact for fact in facts[name].items() if fact not in self.shared],
            )
            for name, of_variant in runs.items()
        ]

    def command(self, variants: Sequence[str], seeds: Iterable[int] | None = None) -> str:
        """``lmzoo compare`` for some variants, into a folder of its own.

        With the seeds that they have finished if none are given, the comparison's where they have finished none.
        """
        finished = {run.seed for run in self.comparison.finished if run.variant in variants}
        chosen = sorted(finished) or self.comparison.seeds if seeds is None else seeds
        return compare_command(str(self.comparison.output / COMPARISON_FILE), variants, chosen, self._again)

    @property
    def _again(self) -> Path:
        output = Path("runs") / self.comparison.name if self.comparison.archived else self.comparison.output
        return output.with_name(f"{output.name}-again")

    def _run(self, run: Run) -> str:
        if self.comparison.archived:  # its config.yaml is not there as a file
            return self.command([run.variant], [run.seed])
        again = run_folder(self._again, run.variant, run.seed)
        return shlex.join(["lmzoo", "fit", "--config", str(run.folder / "config.yaml"), "--run_dir", str(again)])


def _facts(runs: Sequence[Run]) -> dict[str, str]:
    """What stands behind the runs' figures and what they took; nothing that is not known."""
    records = [record for run in runs for record in (run.results or {}).get("records", [])]
    passports: list[Row] = [record.get("passport") or {} for record in records]
    splits = dict.fromkeys(str(record["split"]) for record in records)
    configs = [flatten(run.config) for run in runs]
    facts = {
        "commit": _all(passport.get("commit") for passport in passports),
        "versions": _all(_versions(passport.get("versions") or {}) for passport in passports),
        "tokenizer, SHA-256": _all(passport.get(TOKENIZER) for passport in passports),
        **{
            f"{split} text, SHA-256": _all(
                passport.get("text_sha256")
                for record, passport in zip(records, passports, strict=True)
                if record["split"] == split
            )
            for split in splits
        },
        "corpus": _all(config.get("data.source") for config in configs),
        "a trained model": _all(config.get("init_from") for config in configs),
        "precision": _all(config.get("trainer.precision") for config in configs),
        "peak memory": _most(runs, "peak_memory_mb", lambda value: f"{plain(value, 0)} MB"),
        "time to train a seed": _most(runs, "seconds", duration),
        "on": _all(_machine(run) for run in runs),
    }
    return {name: value for name, value in facts.items() if value}


def _versions(versions: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


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
