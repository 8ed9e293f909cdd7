"""The trials of a comparison's tuning: their table, their picture, and what to be wary of."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from ..config import flatten
from ..figures.canvas import Plot, Theme
from ..figures.formats import listed, plain
from ..figures.lines import Line, LineChart, side_by_side
from ..figures.table import Cell, Table, TableRow
from ..runs.load import COMPARISON_FILE, Comparison
from ..runs.trials import KEY, TUNING_FOLDER, Trial, Tuning, at_edge, best_rate, trials_of

_DIGITS = 4


class TuningReport:
    """What a report says of the learning rates that were tried; of a comparison without tuning nothing.

    Args:
        comparison: as read back.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.tuning = Tuning(**comparison.tuning) if comparison.tuning else None
        self.trials = trials_of(comparison)
        self.chosen = {name: best_rate(trials) for name, trials in self.trials.items()}

    def table(self) -> Table | None:
        """A row a variant, a column a rate: the validation loss of the trial, the chosen one's bold."""
        if self.tuning is None:
            return None
        columns = [*(_rate(rate) for rate in self.tuning.learning_rates), "Chosen"]
        rows = []
        for name, trials in self.trials.items():
            best = self.chosen[name]
            cells = [
                Cell(plain(trial.loss, _DIGITS) if math.isfinite(trial.loss) else trial.said, best=trial.rate == best)
                for trial in trials
            ]
            chosen = Cell("not yet" if best is None else _rate(best))
            rows.append(TableRow(name, [*cells, chosen], name == self.comparison.baseline))
        sentence = (
            "Validation loss, in nats a token, of one trial for each learning rate. Trials kept "
            f"{100 * self.tuning.fraction:g} % of the training documents back to be validated on, and used seed "
            f"{self.tuning.seed}; the corpus's own validation and test splits had no part in the choice."
        )
        if self.tuning.max_steps is not None:
            sentence += f" A trial took {self.tuning.max_steps:,} optimizer steps, whatever the final runs take."
        notes = [
            "Each row chooses for itself the rate of the lowest loss, of equal ones the smaller; divergence loses."
        ]
        return Table("Learning rates", columns, rows, sentence, notes)

    def plots(self) -> list[Plot]:
        """Validation loss by learning rate, a line a variant; none without a finished trial."""
        losses = {name: _finite(trials) for name, trials in self.trials.items()}
        losses = {name: points for name, points in losses.items() if points}
        if not losses:
            return []
        said = [
            f"{name} " + ", ".join(f"{plain(loss, 3)} at {_rate(rate)}" for rate, loss in points)
            for name, points in losses.items()
        ]
        lost = any(trial.said == "diverged" for trials in self.trials.values() for trial in trials if _lost(trial))
        caption = "The chosen rate is ringed. Rates stand evenly apart, whatever lies between them."
        caption += " A cross at the top is a trial that diverged." if lost else ""
        return [
            Plot(
                draw=lambda axes, theme: self._draw(axes, theme, losses),
                file="tuning.png",
                title="Validation loss by learning rate",
                caption=caption,
                alt=f"Validation loss of the trials, in nats a token: {'; '.join(said)}.",
                height=3.0,
            )
        ]

    def troubles(self) -> list[tuple[str, str]]:
        """Rates at the edge of the grid, trials that are missing or failed, final runs of another rate, strays."""
        found = []
        for name, trials in self.trials.items():
            best = self.chosen[name]
            open_trials = [f"{_rate(t.rate)} {t.said}" for t in trials if not t.ended]
            if open_trials:
                what = f"tuning has not ended ({', '.join(open_trials)}); run the comparison again to go on"
                found.append((name, what))
            elif best is None:
                found.append((name, "every trial of a learning rate diverged; add smaller ones"))
            elif at_edge(best, trials):
                side = "smallest" if best == trials[0].rate else "largest"
                what = f"the best learning rate, {_rate(best)}, is the {side} tried: a better one may lie beyond"
                found.append((name, what))
            if best is not None:
                found += [
                    (f"{name}, seed {run.seed}", f"trained with learning rate {used!r}; the trials chose {best!r}")
                    for run in self.comparison.runs
                    if run.variant == name and (used := flatten(run.config).get(KEY)) not in (None, best)
                ]
        strays = self._strays()
        if strays:
            found.append((listed(strays), f"not in {COMPARISON_FILE} and left out of this report"))
        return found

    def _strays(self) -> list[str]:
        """Folders of trials that the comparison does not ask for, such as those of another grid."""
        known = {trial.run.folder for trials in self.trials.values() for trial in trials}
        output = self.comparison.output
        found = sorted(folder for folder in output.glob(f"{TUNING_FOLDER}/*/lr-*/seed-*") if folder not in known)
        return [str(folder.relative_to(output)) for folder in found]

    def _draw(self, axes: Axes, theme: Theme, losses: dict[str, list[tuple[float, float]]]) -> None:
        assert self.tuning is not None
        rates = self.tuning.learning_rates
        values = [loss for points in losses.values() for _, loss in points]
        room = 0.08 * (max(values) - min(values)) or 0.05
        top = max(values) + 2 * room
        shifts = side_by_side(len(losses), 0.04)
        place = {
            name: {rate: i + shift for i, rate in enumerate(rates)} for name, shift in zip(losses, shifts, strict=True)
        }
        LineChart(
            panels=[
                ("", {n: Line([place[n][rate] for rate, _ in p], [loss for _, loss in p]) for n, p in losses.items()})
            ],
            names=self.comparison.variants,
            baseline=self.comparison.baseline,
            x_label="learning rate",
            y_label="nats a token",
            ticks=range(len(rates)),
            tick_labels=[_rate(rate) for rate in rates],
            limits=(min(values) - room, top + room),
            names_at=len(rates) - 1 + shifts[-1],
        )(axes, theme)
        for name, (colour, _) in theme.styles(self.comparison.variants, self.comparison.baseline).items():
            for trial in self.trials[name] if name in losses else ():
                x = place[name][trial.rate]
                if _lost(trial):
                    axes.plot(x, top, "x", color=colour, markersize=5)
                elif trial.rate == self.chosen[name]:
                    axes.plot(x, trial.loss, "o", mfc="none", mec=colour, markersize=9)


def _finite(trials: list[Trial]) -> list[tuple[float, float]]:
    return [(trial.rate, trial.loss) for trial in trials if math.isfinite(trial.loss)]


def _lost(trial: Trial) -> bool:
    return trial.ended and not math.isfinite(trial.loss)


def _rate(rate: float) -> str:
    return repr(rate)
