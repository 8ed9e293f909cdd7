"""A comparison file: variants of a base configuration, seeds, and the runs that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ArgumentError, ConfigError, nearest
from ..config import (
    Config,
    Places,
    differing_keys,
    find_base,
    find_config,
    load_run_config,
    load_yaml,
    load_yaml_with_places,
    merge,
)
from ..evaluate.analyze.run import AnalysisSettings
from ..evaluate.numbers.run import NumbersSettings
from ..evaluate.probe.run import ProbeSettings
from ..figures.statistics.family import EFFECT
from ..fit.lightning_cli import TrainingCLI
from ..runs.folder import HARMLESS
from ..runs.load import load_runs, run_folder
from ..runs.matching import Matching
from ..runs.trials import KEY as TUNED_KEY
from ..runs.trials import TUNING_FOLDER, Tuning
from .keys import read_effect, read_lengths, read_settings, read_tuning
from .matching import read_match, solve_all

SEED = "{seed}"
"""What the seed of each run takes the place of, in ``init_from`` alone."""

_KEY = "init_from"


def of_seed(config: Config, seed: int) -> Config:
    """A run's configuration with its seed where ``init_from`` leaves a place for it."""
    start = config.get(_KEY)
    return config | {_KEY: start.replace(SEED, str(seed))} if isinstance(start, str) else config


def check_starts(base: Config, variants: Mapping[str, Config], raw: Config, places: Places) -> None:
    """Refuse a start that cannot be told for every run, or that has seen what trials of learning rates keep back.

    Args:
        base: with the file's overrides and those of the command line merged in.
        variants: name -> overrides of ``base``.
        raw: the comparison file.
        places: where each key stands.

    Raises:
        ConfigError: naming the key and what was expected.
    """
    for name, overrides in variants.items():
        start = merge(base, overrides).get(_KEY)
        if not start:
            continue
        if re.search(r"[{}]", str(start).replace(SEED, "")):
            message = f"expected a folder, in which {SEED} stands for the seed of each run, got {start!r}"
        elif raw.get("tuning"):
            message = (
                f"expected null where there is tuning, got {start!r}: that model was trained on the documents which "
                "trials keep back to choose a learning rate; leave tuning out, and set model.learning_rate"
            )
        else:
            continue
        written = (f"variants.{name}", raw["variants"][name]), ("overrides", raw.get("overrides"))
        keys = [f"{part}.{_KEY}" for part, mapping in written if _KEY in (mapping or {})]
        raise ConfigError(message, key=keys[0] if keys else _KEY, place=places.find(keys[0]) if keys else None)


KEYS = (
    "name",
    "base",
    "overrides",
    "variants",
    "baseline",
    "seeds",
    "match",
    "effect",
    "tuning",
    "lengths",
    "analyze",
    "numbers_probe",
    "probes",
    "output",
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What lies beside the variants' folders.
_TAKEN = ("report", TUNING_FOLDER)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a comparison: a variant, a seed, its whole checked configuration and its folder."""

    variant: str
    seed: int
    config: Config
    folder: Path

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def steps(self) -> int | None:
        """Optimizer steps where the configuration fixes them; None where it counts passes over the text."""
        steps = (self.config.get("trainer") or {}).get("max_steps", -1)
        return steps if isinstance(steps, int) and steps > 0 else None


@dataclass(frozen=True)
class ComparisonFile:
    """A checked comparison.

    Attributes:
        base: the base configuration with the file's ``overrides`` merged in.
        variants: name -> overrides of ``base``.
        origin: what messages call the file.
        allow_classes: whether class paths outside lmzoo are accepted.
        lengths: windows at which every finished run is evaluated by all protocols; none if empty.
        analyze: what every finished run is analysed for; None analyses nothing.
        numbers_probe: what every finished run is probed with; None asks for no probe.
        probes: what is asked of every finished run's use of its context; None asks nothing.
        effect: the relative difference of perplexity for which the report says how many seeds it would need.
        match: what every variant gets as much of as the baseline; None leaves sizes as they come.
        tuning: the learning rates that every variant tries before its final runs; None keeps those of the file.
    """

    name: str
    base: Config
    variants: dict[str, Config]
    baseline: str
    seeds: list[int]
    output: Path
    origin: str
    allow_classes: bool = False
    lengths: tuple[int, ...] = ()
    analyze: AnalysisSettings | None = None
    numbers_probe: NumbersSettings | None = None
    probes: ProbeSettings | None = None
    effect: float = EFFECT
    match: Matching | None = None
    tuning: Tuning | None = None

    @cached_property
    def sizes(self) -> dict[str, Config]:
        """What matching adds to each variant but the baseline; raises :class:`ConfigError` where it cannot be met."""
        if self.match is None:
            return {}
        configs = {name: of_seed(merge(self.base, own), self.seeds[0]) for name, own in self.variants.items()}
        parsed = {variant: self._parse(variant, config) for variant, config in configs.items()}
        models = {variant: (cli.model, cli.datamodule.context_length) for variant, cli in parsed.items()}
        return solve_all(self.match, models, self.baseline, self.origin)

    def plan(self, variant: str, seed: int, *, learning_rate: float | None = None) -> PlannedRun:
        """The run of one variant and seed. Raises :class:`ConfigError` for a configuration that cannot be used.

        The seed sets ``seed_everything``, from which initialisation, dropout and the order of samples follow: the
        variants of one seed see the same batches in the same order. It also takes the place of ``{seed}`` in
        ``init_from``, so that each seed goes on from a trained model of its own.

        Args:
            variant: its name.
            seed: of the run.
            learning_rate: the tuned one; None is that of the file.
        """
        tuned: Config = {} if learning_rate is None else {"model": {"learning_rate": learning_rate}}
        return PlannedRun(variant, seed, self._resolve(variant, seed, tuned), run_folder(self.output, variant, seed))

    def plan_trial(self, variant: str, rate: float) -> PlannedRun:
        """The trial of one variant and learning rate, where there is tuning; raises as :meth:`plan`."""
        assert self.tuning is not None
        config = self._resolve(variant, self.tuning.seed, self.tuning.overrides(rate))
        folder = self.tuning.folder(self.output, variant, rate)
        return PlannedRun(f"{variant}, learning rate {rate!r}", self.tuning.seed, config, folder)

    def _parse(self, variant: str, config: Config) -> TrainingCLI:
        words = ["--allow_classes"] if self.allow_classes else []
        return TrainingCLI("fit", words, config=config, origin=f"{self.origin}, variant {variant}")

    def _resolve(self, variant: str, seed: int, more: Config) -> Config:
        """The whole checked configuration of a variant's run: base, variant, matched size, ``more``, seed."""
        config = of_seed(merge(merge(self.base, self.variants[variant]), self.sizes.get(variant)), seed)
        cli = self._parse(variant, merge(config, more | {"seed_everything": seed}))
        probed = self.probes.lengths if self.probes else ()
        for key, length in (*(("lengths", n) for n in self.lengths), *(("probes.lengths", n) for n in probed)):
            try:
                cli.model.check_length(length, key)
            except ArgumentError as error:
                raise ConfigError(str(error), place=f"{self.origin}, variant {variant}") from None
        return cli.resolved()

    def as_yaml(self) -> Config:
        """The comparison as a file that stands alone: with its base spelt out and every override merged in."""
        return {
            "name": self.name,
            "base": self.base,
            "variants": self.variants,
            "baseline": self.baseline,
            "seeds": self.seeds,
            "effect": self.effect,
            "match": self.match.as_dict() if self.match else "none",
            **({"tuning": self.tuning.as_dict()} if self.tuning else {}),
            **({"lengths": list(self.lengths)} if self.lengths else {}),
            **({"analyze": asdict(self.analyze)} if self.analyze else {}),
            **({"numbers_probe": asdict(self.numbers_probe)} if self.numbers_probe else {}),
            **({"probes": self.probes.as_dict()} if self.probes else {}),
        }

    @property
    def seeds_there(self) -> list[int]:
        """The seeds, and after them those that runs in the folder have finished with before."""
        finished = {
            run.seed for run in load_runs(self.output) if run.state == "finished" and run.variant in self.variants
        }
        return [*self.seeds, *sorted(finished - set(self.seeds))]

    def refuse_other_runs(self, rates: Mapping[str, float] | None = None) -> None:
        """Raise :class:`ConfigError` if the folder holds a run that this comparison would make differently.

        All runs of the comparison's variants are looked at, also those of seeds not asked for now, since the
        report shows them beside each other; so are the trials of its tuning.

        Args:
            rates: the tuned learning rate of each variant whose trials have ended. With tuning the rate of a variant
                that is not among them is not known yet, and not compared.
        """
        rates = rates or {}
        for variant in self.variants:
            for rate in self.tuning.learning_rates if self.tuning else ():
                assert self.tuning is not None
                if (self.tuning.folder(self.output, variant, rate) / "config.yaml").is_file():
                    _refuse_other(self.plan_trial(variant, rate), HARMLESS)
            for folder in sorted(self.output.glob(f"{variant}/seed-*")):
                stored = folder / "config.yaml"
                seed = folder.name.removeprefix("seed-")
                if not (stored.is_file() and seed.isdecimal()):
                    continue
                unknown = (TUNED_KEY,) if self.tuning and variant not in rates else ()
                _refuse_other(self.plan(variant, int(seed), learning_rate=rates.get(variant)), (*HARMLESS, *unknown))


def read_comparison(
    file: str | Path,
    *,
    output: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_classes: bool = False,
) -> ComparisonFile:
    """Read and check a comparison file; the run configurations themselves are checked by :meth:`ComparisonFile.plan`.

    Args:
        file: YAML with the keys of :data:`KEYS`.
        output: instead of the file's ``output``.
        seeds: instead of the file's ``seeds``.
        settings: overrides that outrank everything else, also those of the variants.
        allow_classes: accept class paths outside lmzoo.

    Raises:
        ConfigError: for an unknown key or name, naming the nearest valid ones.
    """
    path = find_config(file)
    raw, places = load_yaml_with_places(path)
    _check_keys(raw, places)
    base = raw.get("base", {})
    if isinstance(base, str):
        base = load_run_config(find_base(base, path))[0]
    base = merge(_mapping(base, "base", places), _mapping(raw.get("overrides") or {}, "overrides", places))
    named = _mapping(raw.get("variants"), "variants", places)
    if not named:
        raise _error("expected at least one variant: a name and its overrides", "variants", places)
    variants: dict[str, Config] = {}
    for name, overrides in named.items():
        _check_name(name, places)
        variants[name] = merge(_mapping(overrides or {}, f"variants.{name}", places), settings)
    base = merge(base, settings)
    name = raw.get("name") or path.stem
    baseline = _baseline(raw, variants, places)
    check_starts(base, variants, raw, places)
    seeds = _seeds(raw.get("seeds", [0]) if seeds is None else list(seeds), places)
    settings = settings or {}
    return ComparisonFile(
        name=str(name),
        base=base,
        variants=variants,
        baseline=baseline,
        seeds=seeds,
        output=Path(output or raw.get("output") or Path("runs") / str(name)),
        origin=str(path),
        allow_classes=allow_classes,
        lengths=read_lengths(raw.get("lengths"), places),
        analyze=read_settings(AnalysisSettings, raw.get("analyze"), "analyze", places),
        numbers_probe=read_settings(NumbersSettings, raw.get("numbers_probe"), "numbers_probe", places),
        probes=read_settings(ProbeSettings, raw.get("probes"), "probes", places),
        effect=read_effect(raw.get("effect"), places),
        match=read_match(raw.get("match"), named, baseline, settings, places),
        tuning=read_tuning(raw.get("tuning"), named, seeds, settings, places),
    )


def _refuse_other(run: PlannedRun, ignore: Sequence[str]) -> None:
    """Raise :class:`ConfigError` if the run's folder holds one of another configuration."""
    keys = differing_keys(load_yaml(run.folder / "config.yaml"), run.config, ignore=ignore)
    if keys:
        shown = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
        raise ConfigError(
            f"{run.folder} holds a run of another configuration (differs in {shown}). Runs of different "
            "configurations never share a report: give another --output, or move this folder away"
        )


def output_of(file: str | Path, output: str | Path | None = None) -> Path:
    """The folder of a comparison: ``file`` itself where it is such a folder, else what the comparison file says."""
    path = find_config(file)
    if output is not None:
        return Path(output)
    if path.is_dir():
        return path
    raw = load_yaml(path)
    return Path(raw.get("output") or Path("runs") / str(raw.get("name") or path.stem))


def _check_keys(raw: Config, places: Places) -> None:
    for key in raw:
        if key not in KEYS:
            raise _error(f"unknown key; nearest valid keys: {', '.join(nearest(str(key), KEYS))}", str(key), places)


def _check_name(name: object, places: Places) -> None:
    if not isinstance(name, str):
        raise _error(f"expected a name, got {name!r} (YAML reads it so; put it in quotes)", f"variants.{name}", places)
    if not _NAME.fullmatch(name) or name in _TAKEN:
        what = "letters, digits, '.', '_' and '-', beginning with a letter or digit, and not 'report' or 'tuning'"
        raise _error(f"a variant's name becomes a folder: expected {what}", f"variants.{name}", places)


def _baseline(raw: Config, variants: Mapping[str, Config], places: Places) -> str:
    given = raw.get("baseline")
    if given is None:
        raise _error(f"expected one of the variants: {', '.join(variants)}", "baseline", places)
    if given not in variants:
        raise _error(
            f"no variant is called {given!r}; nearest: {', '.join(nearest(str(given), variants))}", "baseline", places
        )
    return str(given)


def _seeds(given: object, places: Places) -> list[int]:
    good = isinstance(given, list) and given and all(type(seed) is int and seed >= 0 for seed in given)
    if not isinstance(given, list) or not good or len(set(given)) < len(given):
        raise _error(f"expected a list of different whole numbers, 0 or more, got {given!r}", "seeds", places)
    return given


def _mapping(value: object, key: str, places: Places) -> Config:
    if not isinstance(value, Mapping):
        raise _error(f"expected a mapping of keys to values, got {value!r}", key, places)
    return dict(value)


def _error(message: str, key: str, places: Places) -> ConfigError:
    return ConfigError(message, key=key, place=places.find(key))
