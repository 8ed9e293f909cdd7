"""A comparison file: variants of a base configuration, seeds, and the runs that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ArgumentError, ConfigError, nearest, require
from ..config import (
    Config,
    differing_keys,
    find_base,
    find_config,
    first_of,
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
from ..runs.matching import BUDGETS, SIZES, Matching, OutOfReach
from ..runs.trials import KEY as TUNED_KEY
from ..runs.trials import TUNING_FOLDER, Trial, Tuning, read_trials
from .keys import Keys

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What lies beside the variants' folders.
_TAKEN = ("report", TUNING_FOLDER)

SEED = "{seed}"
"""What the seed of each run takes the place of, in ``init_from`` alone."""


def of_seed(config: Config, seed: int) -> Config:
    """A run's configuration with its seed where ``init_from`` leaves a place for it."""
    start = config.get("init_from")
    return config | {"init_from": start.replace(SEED, str(seed))} if isinstance(start, str) else config


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

    def __post_init__(self) -> None:
        share = type(self.effect) in (int, float) and 0 < self.effect < 1
        expected = "a relative difference of perplexity between 0 and 1, such as 0.01"
        require(share, "effect", expected, self.effect)
        if self.tuning:
            other = self.tuning.seed not in self.seeds
            require(other, "tuning.seed", "a seed that no final run has", self.tuning.seed)

    @cached_property
    def sizes(self) -> dict[str, Config]:
        """What matching adds to each variant but the baseline; raises :class:`ConfigError` where it cannot be met."""
        if self.match is None:
            return {}
        parsed = {
            name: self._parse(name, of_seed(merge(self.base, own), self.seeds[0]))
            for name, own in self.variants.items()
        }
        reference = parsed.pop(self.baseline)
        target = self.match.cost(reference.model.counts, reference.datamodule.context_length)
        return {name: self._solve(self.match, name, cli, target) for name, cli in parsed.items()}

    def _solve(self, match: Matching, variant: str, cli: TrainingCLI, target: float) -> Config:
        """The overrides that give a variant the cost ``target``."""
        model = cli.model
        try:
            return match.solve(model.parts, model.vocab_size, cli.datamodule.context_length, target)
        except OutOfReach as error:
            message = (
                f"cannot be matched: with a {SIZES[match.by]} of 1 it has {error.cost:,.0f} {match.describe()}, and "
                f"the baseline {self.baseline} has {target:,.0f}; give the baseline more or the variant less"
            )
        except ArgumentError as error:
            message = str(error)
        raise ConfigError(message, key="match", place=self._place(variant))

    def _place(self, variant: str) -> str:
        return f"{self.origin}, variant {variant}"

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

    def trials(self, variant: str) -> list[Trial]:
        """The trials of a variant as they lie there; none without tuning."""
        return read_trials(self.tuning, self.output, variant) if self.tuning else []

    def _parse(self, variant: str, config: Config) -> TrainingCLI:
        words = ["--allow_classes"] if self.allow_classes else []
        return TrainingCLI("fit", words, config=config, origin=self._place(variant))

    def _resolve(self, variant: str, seed: int, more: Config) -> Config:
        """The whole checked configuration of a variant's run: base, variant, matched size, ``more``, seed."""
        config = of_seed(merge(merge(self.base, self.variants[variant]), self.sizes.get(variant)), seed)
        cli = self._parse(variant, merge(config, more | {"seed_everything": seed}))
        probed = self.probes.lengths if self.probes else ()
        for key, length in (*(("lengths", n) for n in self.lengths), *(("probes.lengths", n) for n in probed)):
            try:
                cli.model.check_length(length, key)
            except ArgumentError as error:
                raise ConfigError(str(error), place=self._place(variant)) from None
        return cli.resolved()

    def as_yaml(self) -> Config:
        """The comparison as a file that stands alone: with its base spelt out and every override merged in."""
        asked = {
            "tuning": _plain(self.tuning),
            "lengths": list(self.lengths),
            "analyze": _plain(self.analyze),
            "numbers_probe": _plain(self.numbers_probe),
            "probes": _plain(self.probes),
        }
        return {
            "name": self.name,
            "base": self.base,
            "variants": self.variants,
            "baseline": self.baseline,
            "seeds": self.seeds,
            "effect": self.effect,
            "match": _plain(self.match) or "none",
            **{name: value for name, value in asked.items() if value},
        }

    @property
    def seeds_there(self) -> list[int]:
        """The seeds, and after them those that runs in the folder have finished with before."""
        finished = [run for run in load_runs(self.output) if run.state == "finished" and run.variant in self.variants]
        return [*self.seeds, *sorted({run.seed for run in finished} - set(self.seeds))]

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
            for trial in self.trials(variant):
                if (trial.run.folder / "config.yaml").is_file():
                    _refuse_other(self.plan_trial(variant, trial.rate), HARMLESS)
            unknown = (TUNED_KEY,) if self.tuning and variant not in rates else ()
            for file in sorted(self.output.glob(f"{variant}/seed-*/config.yaml")):
                seed = file.parent.name.removeprefix("seed-")
                if seed.isdecimal():
                    run = self.plan(variant, int(seed), learning_rate=rates.get(variant))
                    _refuse_other(run, (*HARMLESS, *unknown))


# Those of a comparison file.
KEYS = ("overrides", *(f.name for f in fields(ComparisonFile) if f.name not in ("origin", "allow_classes")))


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
    keys = Keys(*load_yaml_with_places(path))
    raw, settings = keys.raw, settings or {}
    keys.refuse_unknown(raw, KEYS)
    base = raw.get("base", {})
    if isinstance(base, str):
        base = load_run_config(find_base(base, path))[0]
    base = merge(keys.mapping(base, "base"), keys.mapping(raw.get("overrides") or {}, "overrides"))
    base = merge(base, settings)
    variants = {name: merge(overrides, settings) for name, overrides in _read_variants(keys).items()}
    name = str(raw.get("name") or path.stem)
    baseline = _read_baseline(keys, variants)
    _check_starts(keys, base, variants)
    seeds = keys.numbers(raw.get("seeds", [0]) if seeds is None else list(seeds), "seeds", 0)
    tuning = keys.settings(Tuning, "tuning")
    if tuning:
        keys.refuse_set(TUNED_KEY, "tuning chooses it", variants, settings)
    with keys.placed():
        return ComparisonFile(
            name=name,
            base=base,
            variants=variants,
            baseline=baseline,
            seeds=seeds,
            output=Path(output or raw.get("output") or Path("runs") / name),
            origin=str(path),
            allow_classes=allow_classes,
            lengths=() if raw.get("lengths") is None else tuple(sorted(keys.numbers(raw["lengths"], "lengths", 1))),
            analyze=keys.settings(AnalysisSettings, "analyze"),
            numbers_probe=keys.settings(NumbersSettings, "numbers_probe"),
            probes=keys.settings(ProbeSettings, "probes"),
            effect=EFFECT if raw.get("effect") is None else raw["effect"],
            match=_read_match(keys, baseline, settings),
            tuning=tuning,
        )


def _refuse_other(run: PlannedRun, ignore: Sequence[str]) -> None:
    """Raise :class:`ConfigError` if the run's folder holds one of another configuration."""
    keys = differing_keys(load_yaml(run.folder / "config.yaml"), run.config, ignore=ignore)
    if keys:
        shown = first_of(keys)
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


def _read_variants(keys: Keys) -> dict[str, Config]:
    """Name -> overrides, as the file has them."""
    variants = keys.mapping(keys.raw.get("variants"), "variants")
    if not variants:
        raise keys.error("expected at least one variant: a name and its overrides", "variants")
    for name in variants:
        key = f"variants.{name}"
        if not isinstance(name, str):
            raise keys.error(f"expected a name, got {name!r} (YAML reads it so; put it in quotes)", key)
        if not _NAME.fullmatch(name) or name in _TAKEN:
            what = "letters, digits, '.', '_' and '-', beginning with a letter or digit, and not 'report' or 'tuning'"
            raise keys.error(f"a variant's name becomes a folder: expected {what}", key)
    return {name: keys.mapping(overrides or {}, f"variants.{name}") for name, overrides in variants.items()}


def _read_baseline(keys: Keys, variants: Mapping[str, Config]) -> str:
    given = keys.raw.get("baseline")
    if given is None:
        raise keys.error(f"expected one of the variants: {', '.join(variants)}", "baseline")
    if given not in variants:
        close = ", ".join(nearest(str(given), variants))
        raise keys.error(f"no variant is called {given!r}; nearest: {close}", "baseline")
    return str(given)


def _check_starts(keys: Keys, base: Config, variants: Mapping[str, Config]) -> None:
    """Refuse a start that cannot be told for every run, or that has seen what trials of learning rates keep back."""
    for name, overrides in variants.items():
        start = merge(base, overrides).get("init_from")
        if not start:
            continue
        if re.search(r"[{}]", str(start).replace(SEED, "")):
            message = f"expected a folder, in which {SEED} stands for the seed of each run, got {start!r}"
        elif keys.raw.get("tuning"):
            message = (
                f"expected null where there is tuning, got {start!r}: that model was trained on the documents which "
                "trials keep back to choose a learning rate; leave tuning out, and set model.learning_rate"
            )
        else:
            continue
        written = (f"variants.{name}", keys.raw["variants"][name]), ("overrides", keys.raw.get("overrides"))
        for part, mapping in written:
            if "init_from" in (mapping or {}):
                raise keys.error(message, f"{part}.init_from")
        raise ConfigError(message, key="init_from")


def _read_match(keys: Keys, baseline: str, settings: Mapping[str, Any]) -> Matching | None:
    """Of ``none`` or nothing None; of a budget's name, or a mapping with ``budget``, the matching."""
    given = keys.raw.get("match")
    if given is None or given == "none":
        return None
    if isinstance(given, str) and given in BUDGETS:
        match: Matching | None = Matching(given)
    elif isinstance(given, Mapping) and "budget" in given:
        match = keys.settings(Matching, "match")
    else:
        hint = f"; nearest: {', '.join(nearest(given, ('none', *BUDGETS)))}" if isinstance(given, str) else ""
        expected = f"none, {', '.join(BUDGETS)} or a mapping with budget, of and by"
        raise keys.error(f"expected {expected}, got {given!r}{hint}", "match")
    assert match is not None
    others = [name for name in keys.raw["variants"] if name != baseline]  # the baseline's size is what others get
    keys.refuse_set(match.key, f"match: {match.budget} solves for it", others, settings)
    return match


def _plain(settings: Any) -> Config:
    """Settings as a file holds them; empty for None."""
    found = {} if settings is None else asdict(settings)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
