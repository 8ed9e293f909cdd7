"""Equal tuning: the learning rates that every variant tries, and the one that its trials choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import require
from ..config import Config
from ..data.corpus import at_least
from .load import Comparison, Run, archived_trials, is_archive, load_run, number

TUNING_FOLDER = "tuning"
# The key of a run's configuration that is tuned.
KEY = "model.learning_rate"


@dataclass(frozen=True)
class Tuning:
    """The trials of a comparison: each variant is trained once with each learning rate before its final runs.

    A trial is the variant's run with its own learning rate, its own seed, and ``data.tuning_fraction``, which keeps a
    share of the training documents back as its validation split. The corpus's own validation and test splits have no
    part in the choice.

    Args:
        learning_rates: peak rates, at least two; the same for every variant.
        seed: of all trials; none of the final runs'.
        fraction: the share of training documents that trials are not trained but validated on.
        max_steps: optimizer steps of a trial; None is those of the final runs. A shorter trial may favour another rate.

    Raises:
        ArgumentError: a value is out of range.
    """

    learning_rates: Sequence[float] = (0.001, 0.003, 0.01)
    seed: int = 1000
    fraction: float = 0.05
    max_steps: int | None = None

    def __post_init__(self) -> None:
        rates = self.learning_rates
        listed = isinstance(rates, list | tuple) and len(set(rates)) == len(rates) >= 2
        good = listed and all(type(rate) in (int, float) and 0 < rate < math.inf for rate in rates)
        require(good, "learning_rates", "a list of at least two different positive numbers", rates)
        object.__setattr__(self, "learning_rates", tuple(sorted(float(rate) for rate in rates)))
        at_least("seed", self.seed, 0)
        real = type(self.fraction) is float and 0 < self.fraction < 1
        require(real, "fraction", "a share of the training documents, between 0 and 1", self.fraction)
        if self.max_steps is not None:
            at_least("max_steps", self.max_steps, 1)

    def overrides(self, rate: float) -> Config:
        """What a trial changes in its variant's configuration, its seed apart."""
        trainer: Config = {"limit_val_batches": 1.0}  # also where the final runs are told to do without validation
        if self.max_steps is not None:
            trainer["max_steps"] = self.max_steps
        return {"model": {"learning_rate": rate}, "data": {"tuning_fraction": self.fraction}, "trainer": trainer}

    def folder(self, output: Path, variant: str, rate: float) -> Path:
        """Where a trial lies."""
        return output / TUNING_FOLDER / variant / f"lr-{rate!r}" / f"seed-{self.seed}"


@dataclass(frozen=True)
class Trial:
    """One learning rate of one variant, and what came of it."""

    variant: str
    rate: float
    run: Run

    @property
    def diverged(self) -> bool:
        """Whether training stopped because its numbers were no longer usable, the end of a rate that is too high."""
        return self.run.diverged

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do: an interrupted trial goes on, and one that failed otherwise is made again."""
        return self.run.state == "finished" or self.diverged

    @property
    def loss(self) -> float:
        """Cross-entropy a token, in nats, on the documents kept back; infinite if it has none that is finite."""
        records: list[dict[str, Any]] = (self.run.results or {}).get("records", [])
        found = [number(record["cross_entropy"]) for record in records if record["split"] == "validation"]
        return found[0] if found and math.isfinite(found[0]) else math.inf

    @property
    def said(self) -> str:
        """What a table shows in place of a loss that is not there."""
        if self.diverged or (self.run.state == "finished" and math.isinf(self.loss)):
            return "diverged"
        return "failed" if self.run.state == "failed" else "not finished"


def read_trials(tuning: Tuning, output: Path, variant: str) -> list[Trial]:
    """The trials of a variant as they lie there, by rising rate; one that was not begun counts as unfinished."""
    folders = {rate: tuning.folder(output, variant, rate) for rate in tuning.learning_rates}
    archived = {}
    if is_archive(output):
        own = [row for row in archived_trials(output) if row["variant"] == variant and row["seed"] == tuning.seed]
        archived = {row.pop("rate"): row for row in own}
    return [
        Trial(variant, rate, Run(folder=folder, **archived[rate]) if rate in archived else load_run(folder))
        for rate, folder in folders.items()
    ]


def trials_of(comparison: Comparison) -> dict[str, list[Trial]]:
    """Variant -> its trials; empty for a comparison without tuning."""
    if not comparison.tuning:
        return {}
    tuning = Tuning(**comparison.tuning)
    return {name: read_trials(tuning, comparison.output, name) for name in comparison.variants}


def trial_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Every record of the trials with its variant, learning rate and seed."""
    return [
        {"variant": name, "learning_rate": trial.rate, "seed": trial.run.seed, **record}
        for name, trials in trials_of(comparison).items()
        for trial in trials
        for record in (trial.run.results or {}).get("records", [])
    ]


def best_rate(trials: Sequence[Trial]) -> float | None:
    """The rate of the lowest loss, of equal ones the smaller; None unless all have ended, one with a loss."""
    if not trials or not all(trial.ended for trial in trials):
        return None
    best = min(trials, key=lambda trial: (trial.loss, trial.rate))
    return best.rate if math.isfinite(best.loss) else None


def at_edge(rate: float, trials: Sequence[Trial]) -> bool:
    """Whether a rate is the smallest or the largest that was tried, so that a better one may lie beyond."""
    rates = [trial.rate for trial in trials]
    return rate in (min(rates), max(rates))
