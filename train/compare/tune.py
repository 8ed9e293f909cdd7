"""Carrying out the trials of a comparison's tuning, before its final runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from ..runs.trials import TUNING_FOLDER, at_edge, best_rate
from .comparison import ComparisonFile
from .executors import Executor
from .run_all import run_all


def check_trials(comparison: ComparisonFile) -> None:
    """Raise :class:`ConfigError` for a trial whose configuration cannot be used."""
    if comparison.tuning is not None:
        for variant in comparison.variants:
            comparison.plan_trial(variant, comparison.tuning.learning_rates[0])


def tuned_rates(comparison: ComparisonFile) -> dict[str, float]:
    """The learning rate of each variant whose trials have all ended, as they lie there; none without tuning."""
    found = {variant: best_rate(comparison.trials(variant)) for variant in comparison.variants}
    return {variant: rate for variant, rate in found.items() if rate is not None}


def tune(
    comparison: ComparisonFile,
    variants: Sequence[str],
    console: Console,
    *,
    executor: Executor | None = None,
    allow_classes: bool = False,
) -> tuple[dict[str, float], list[str]]:
    """Make the trials that are missing; a trial that diverged has lost and is not made again.

    Args:
        comparison: one with tuning.
        variants: whose trials to make.
        console: where to show what goes on.
        executor: where trials run, as for :func:`run_all`.
        allow_classes: passed on to the trials.

    Returns:
        The learning rate of each variant whose trials have ended, and a sentence for each of ``variants`` without one.

    Raises:
        ConfigError: the folder holds final runs with another learning rate than the trials chose.
    """
    waiting = [
        comparison.plan_trial(variant, trial.rate)
        for variant in variants
        for trial in comparison.trials(variant)
        if not trial.ended
    ]
    if waiting:
        folder = comparison.output / TUNING_FOLDER
        console.print(f"{len(waiting)} trials of learning rates in {folder}", markup=False, soft_wrap=True)
        run_all(waiting, console, executor=executor, allow_classes=allow_classes)
    rates = tuned_rates(comparison)
    comparison.refuse_other_runs(rates)
    untuned = []
    for variant in variants:
        trials = comparison.trials(variant)
        if variant in rates:
            edge = ", at the edge of those tried" if at_edge(rates[variant], trials) else ""
            console.print(f"{variant}: learning rate {rates[variant]!r}{edge}", markup=False, highlight=False)
        else:
            said = [f"{t.rate!r} {t.said}" + (f" ({t.run.reason})" if t.run.reason else "") for t in trials]
            untuned.append(f"{variant}: no learning rate was chosen, so no final run was made: {'; '.join(said)}")
    return rates, untuned
