"""Loss curves: which runs may share axes, and how they are smoothed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..figures.canvas import DOTTED, Plot, Theme
from ..figures.formats import amount, plain
from ..figures.lines import Line, LineChart
from ..figures.statistics.spread import summarise
from ..figures.table import TITLES, figure_digits
from ..runs.alike import FIELDS, Group, records_frame, together
from ..runs.load import Comparison, Run
from .quality import describe

# Share of a run's logged rows that one smoothed point covers.
SMOOTHED_SHARE = 0.1


@dataclass(frozen=True)
class CurveSet:
    """Runs whose cross-entropy per token may be drawn on the same axes: same tokenizer, same validation text."""

    runs: list[Run]
    place: int
    of: int


def curve_sets(runs: Sequence[Run]) -> list[CurveSet]:
    """Cut runs into sets. An unfinished run has no passport yet and goes with the finished ones of the same data."""
    with_rows = [run for run in runs if run.metrics]
    passports = {_data(run): passport for run in with_rows if (passport := _passport(run))}
    keys = [_passport(run) or passports.get(_data(run)) or _data(run) for run in with_rows]
    sets = together(with_rows, keys)
    return [CurveSet(members, place + 1, len(sets)) for place, members in enumerate(sets)]


def train_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Training cross-entropy against tokens; columns variant, seed, tokens, raw, smooth."""
    window = smoothing_window(runs)
    return pd.concat([_train_curve(run, window) for run in runs], ignore_index=True)


def validation_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Validation cross-entropy against training tokens; columns variant, seed, tokens, smooth (not smoothed)."""
    columns = ["variant", "seed", "tokens", "smooth"]
    rows = [
        (run.variant, run.seed, float(row["tokens_seen"]), float(row["cross_entropy"]))
        for run in runs
        for row in run.rows("validation")
    ]
    return pd.DataFrame(rows, columns=columns)


def smoothing_window(runs: Sequence[Run]) -> int:
    """Logged rows that one smoothed point averages, the same for all runs; odd, so that it is centred."""
    longest = max((len(run.rows("train")) for run in runs), default=0)
    return 2 * (int(longest * SMOOTHED_SHARE) // 2) + 1


def mean_curve(frame: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The mean over the seeds that came as far as the variant's furthest; columns tokens, smooth, low, high.

    ``low`` and ``high`` are the lowest and the highest of these seeds at each place.

    A seed that stopped early would else cut the mean off where it stopped, or bend it there.
    """
    own = frame[frame["variant"] == variant]
    furthest = own.groupby("seed")["tokens"].transform("max")
    own = own[furthest == own["tokens"].max()]
    by_seed = own.pivot(index="tokens", columns="seed", values="smooth").dropna()
    ends = {"low": by_seed.min(axis=1).to_numpy(), "high": by_seed.max(axis=1).to_numpy()}
    return pd.DataFrame({"tokens": by_seed.index, "smooth": by_seed.mean(axis=1).to_numpy(), **ends})


def _train_curve(run: Run, window: int) -> pd.DataFrame:
    rows = run.rows("train")
    raw = pd.Series([float(row["cross_entropy"]) for row in rows], dtype="float64")
    return pd.DataFrame(
        {
            "variant": run.variant,
            "seed": run.seed,
            "tokens": [float(row["tokens"]) for row in rows],
            "raw": raw,
            "smooth": raw.rolling(window, center=True, min_periods=1).mean(),
        }
    )


def _passport(run: Run) -> str:
    """Tokenizers and texts of its records; empty before there are any."""
    frame = records_frame([run])
    if frame.empty:
        return ""
    return json.dumps(sorted({tuple(map(str, row)) for row in zip(*(frame[field] for field in FIELDS["curve"]))}))


def _data(run: Run) -> str:
    data = {key: value for key, value in (run.config.get("data") or {}).items() if key != "seed"}
    return json.dumps(data, sort_keys=True, default=str)


# The first part of training is far above the rest; the frame begins where it has passed.
_HIDDEN_START = 0.08
# More lines than this have no room for their names beside each other.
_MANY = 10


def loss_plots(comparison: Comparison) -> list[Plot]:
    """Training and validation curves, a pair of plots for each set of runs that may share axes."""
    plots: list[Plot] = []
    for group in curve_sets(comparison.runs):
        window = smoothing_window(group.runs)
        rows = "logged rows, each a mean over the steps since the row before"
        smoothing = f"a centred mean over {window} {rows}" if window > 1 else f"the {rows}"
        if window > 1 and 1 in Counter(run.variant for run in group.runs).values():
            smoothing += "; where there is one seed, its rows stand faintly behind"
        training = f"Plain cross-entropy, whatever was optimised: {smoothing}."
        for what, frame, caption in (
            ("training", train_frame(group.runs), training),
            ("validation", validation_frame(group.runs), "Cross-entropy on the validation text."),
        ):
            if not frame.empty:  # a run has come to its first row
                plots.append(_curve_plot(comparison, group, frame, what, caption))
    return plots


def _curve_plot(comparison: Comparison, group: CurveSet, frame: pd.DataFrame, what: str, caption: str) -> Plot:
    means = {str(name): mean_curve(frame, str(name)) for name in dict.fromkeys(frame["variant"])}
    named = _named(comparison, means)
    ends = [f"{name} ends at {mean['smooth'].iloc[-1]:.3f}" for name, mean in means.items() if not mean.empty]
    limits = _limits(frame)
    above = " The start of training lies above the frame." if (frame["smooth"] > limits[1]).any() else ""
    return Plot(
        draw=LineChart(
            panels=[("", _lines(frame, means, named))],
            names=comparison.variants,
            baseline=comparison.baseline,
            x_label="training tokens",
            y_label="nats per token",
            x_format=amount,
            bands=True,
            limits=limits,
        ),
        file=f"loss-{what}{'' if group.of == 1 else f'-{group.place}'}.png",
        title=f"{what.capitalize()} loss"
        + ("" if group.of == 1 else f" ({group.place} of {group.of}: runs of one tokenizer and text)"),
        caption=f"{caption} {_strokes(frame)}{above}{_greyed(means, named)}",
        alt=f"Curves of {what} cross-entropy against training tokens: {', '.join(ends)} nats per token.",
    )


def _lines(frame: pd.DataFrame, means: dict[str, pd.DataFrame], named: Sequence[str]) -> dict[str, Line]:
    """The mean of each variant, the named ones last; with its raw rows if it is of one seed, else with early ends."""
    lines = {}
    for name in [*(name for name in means if name not in named), *named]:
        rows, mean = frame[frame["variant"] == name], means[name]
        seeds = [curve for _, curve in rows.groupby("seed")]
        raw = len(seeds) == 1 and "raw" in rows
        early = [seed for seed in seeds if seed["tokens"].max() < rows["tokens"].max()]
        shown = mean if not mean.empty else seeds[0]
        lines[name] = Line(
            shown["tokens"].tolist(),
            shown["smooth"].tolist(),
            mean["low"].tolist(),
            mean["high"].tolist(),
            thin=[
                (seed["tokens"].tolist(), seed["raw" if raw else "smooth"].tolist())
                for seed in (seeds if raw else early)
            ],
            thin_alpha=0.18 if raw else 0.7,
            named=name in named,
        )
    return lines


def _named(comparison: Comparison, means: dict[str, pd.DataFrame]) -> list[str]:
    """The variants whose lines have a name and a colour, the baseline last; of many the best and the worst beside it.

    They are ranked by where their lines end, among those that came as far as the furthest.
    """
    present = [name for name in comparison.variants if name in means]
    if len(present) > _MANY:
        ends = {name: mean.iloc[-1] for name, mean in means.items() if not mean.empty}
        furthest = max((end["tokens"] for end in ends.values()), default=math.nan)
        last = {
            name: ends[name]["smooth"]
            for name in present
            if name in ends and ends[name]["tokens"] == furthest and math.isfinite(ends[name]["smooth"])
        }
        extremes = {min(last, key=last.__getitem__), max(last, key=last.__getitem__)} if last else set()
        present = [name for name in present if name in extremes | {comparison.baseline}]
    return sorted(present, key=lambda name: name == comparison.baseline)


def _greyed(means: dict[str, pd.DataFrame], named: Sequence[str]) -> str:
    if len(named) == len(means):
        return ""
    return (
        f" Of {len(means)} lines only the baseline, the best and the worst at the end are named; the others are grey."
    )


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """From below the lowest point to above everything after the first part of training."""
    finite = frame[frame["smooth"].map(math.isfinite)]
    if finite.empty:
        return 0.0, 1.0
    later = finite[finite["tokens"] >= _HIDDEN_START * finite["tokens"].max()]
    low, high = float(finite["smooth"].min()), float(later["smooth"].max())
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _strokes(frame: pd.DataFrame) -> str:
    if frame["seed"].nunique() == 1:
        return "One seed: no spread."
    last = frame.groupby(["variant", "seed"])["tokens"].max()
    uneven = (last < last.groupby("variant").transform("max")).any()
    text = "Lines are means over seeds, bands reach from the lowest seed to the highest"
    return f"{text}{'; both without seeds that stopped early, which are the thin lines' if uneven else ''}."


def point_plots(comparison: Comparison, groups: Sequence[Group]) -> list[Plot]:
    """One plot a group: a dot for every seed, a stroke at the mean."""
    return [_point_plot(comparison, group) for group in groups]


def _point_plot(comparison: Comparison, group: Group) -> Plot:
    metric = "token_perplexity" if group.one_tokenizer else "bits_per_byte"
    summary = summarise(group.records, metric, comparison.variants)
    digits = figure_digits(metric, summary)
    means = {name: plain(spread.mean, digits) for name, spread in summary.items()}
    finite = group.records[group.records[metric].map(math.isfinite)]

    def draw(axes: Axes, theme: Theme) -> None:
        styles = theme.styles(comparison.variants, comparison.baseline)
        for height, (name, spread) in enumerate(summary.items()):
            colour, _ = styles[name]
            values = finite.loc[finite["variant"] == name, metric]
            axes.scatter(values, [height] * len(values), s=46, color=colour, alpha=0.75, linewidths=0, zorder=3)
            if not math.isfinite(spread.mean):
                continue
            axes.vlines(spread.mean, height - 0.28, height + 0.28, color=colour, linewidth=2.4, zorder=4)
            axes.annotate(
                means[name],
                xy=(spread.mean, height - 0.3),
                xytext=(0, 1.5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=9,
                color=colour,
                bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 0.8},
            )
            if name == comparison.baseline:
                axes.axvline(spread.mean, color=theme.quiet, linewidth=1, linestyle=DOTTED, zorder=1)
        axes.set_yticks(range(len(summary)), list(summary), fontsize=10)
        for tick, name in zip(axes.get_yticklabels(), summary, strict=True):
            tick.set_color(styles[name][0])
        axes.set_ylim(len(summary) - 0.5, -0.75)
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(TITLES[metric].lower())

    return Plot(
        draw=draw,
        file=f"points-{group.split}{'' if group.of == 1 else f'-{group.place}'}.png",
        title=f"{TITLES[metric]}, {group.label[0].lower()}{group.label[1:]}",
        caption="A dot is a seed, the bar their mean; the dotted line is the baseline's mean. "
        f"{describe(group).capitalize()}. "
        "Lower is better; the axis does not begin at zero.",
        alt=f"{TITLES[metric]} on {group.split}: {', '.join(f'{name} {mean}' for name, mean in means.items())}.",
        height=1.3 + 0.42 * len(summary),
    )
