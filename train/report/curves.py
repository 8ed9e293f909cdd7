"""Loss curves: which runs may share axes, and how they are smoothed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..figures.canvas import Plot, Theme, draw_plot, label_ends
from ..figures.formats import amount, plain
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
    frame = records_frame([run])
    return (
        ""
        if frame.empty
        else json.dumps(sorted({tuple(map(str, row)) for row in zip(*(frame[field] for field in FIELDS["curve"]))}))
    )


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
    for one in curve_sets(comparison.runs):
        window = smoothing_window(one.runs)
        rows = "logged rows, each a mean over the steps since the row before"
        smoothing = f"a centred mean over {window} {rows}" if window > 1 else f"the {rows}"
        if window > 1 and 1 in Counter(run.variant for run in one.runs).values():
            smoothing += "; where there is one seed, its rows stand faintly behind"
        plots += _curve_plot(
            comparison,
            one,
            train_frame(one.runs),
            "training",
            f"Plain cross-entropy, whatever was optimised: {smoothing}.",
        )
        plots += _curve_plot(
            comparison, one, validation_frame(one.runs), "validation", "Cross-entropy on the validation text."
        )
    return plots


def point_plots(comparison: Comparison, groups: Sequence[Group]) -> list[Plot]:
    """One plot a group: a dot for every seed, a stroke at the mean."""
    return [_point_plot(comparison, group) for group in groups]


def _curve_plot(comparison: Comparison, one: CurveSet, frame: pd.DataFrame, what: str, caption: str) -> list[Plot]:
    """One plot, or none where no run has come to its first row."""
    if frame.empty:
        return []
    return [
        draw_plot(
            lambda axes, theme: _draw_curves(axes, theme, comparison, frame),
            file=f"loss-{what}{'' if one.of == 1 else f'-{one.place}'}.png",
            title=f"{what.capitalize()} loss"
            + ("" if one.of == 1 else f" ({one.place} of {one.of}: runs of one tokenizer and text)"),
            caption=f"{caption} {_strokes(frame)}{_hidden(frame)}{_greyed(comparison, frame)}",
            alt=_alt(f"{what} cross-entropy", frame),
        )
    ]


def _draw_curves(axes: Axes, theme: Theme, comparison: Comparison, frame: pd.DataFrame) -> None:
    styles = theme.styles(comparison.variants, comparison.baseline)
    present = [name for name in comparison.variants if (frame["variant"] == name).any()]
    named = _named(comparison, frame)
    for name in (n for n in present if n not in named):
        shown = mean_curve(frame, name)
        axes.plot(shown["tokens"], shown["smooth"], color=theme.quiet, linewidth=0.8, alpha=0.4)
    ends: dict[str, tuple[float, float, str]] = {}
    for name in named:
        colour, stroke = styles[name]
        own = frame[frame["variant"] == name]
        seeds = [curve for _, curve in own.groupby("seed")]
        mean = mean_curve(frame, name)
        if len(seeds) == 1 and "raw" in own:
            axes.plot(own["tokens"], own["raw"], color=colour, linewidth=0.6, alpha=0.18)
        axes.fill_between(mean["tokens"], mean["low"], mean["high"], color=colour, alpha=0.2, linewidth=0)
        for curve in seeds:
            if curve["tokens"].max() < own["tokens"].max():
                axes.plot(curve["tokens"], curve["smooth"], color=colour, linewidth=0.9, alpha=0.7, linestyle=stroke)
        shown = mean if not mean.empty else seeds[0]
        marker = "o" if "raw" not in frame and len(shown) < 12 else None
        axes.plot(
            shown["tokens"],
            shown["smooth"],
            color=colour,
            linewidth=1.9,
            linestyle=stroke,
            marker=marker,
            markersize=3.5,
            label=name,
        )
        ends[name] = (float(own["tokens"].max()), float(shown["smooth"].iloc[-1]), colour)
    axes.set_ylim(*_limits(frame))
    axes.set_xlim(0, float(frame["tokens"].max()) * 1.02)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: amount(x)))
    axes.set_xlabel("training tokens")
    axes.set_ylabel("nats per token")
    axes.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
    label_ends(axes, {name: end for name, end in ends.items() if math.isfinite(end[1])})


def _named(comparison: Comparison, frame: pd.DataFrame) -> list[str]:
    """The variants whose lines have a name and a colour, the baseline last; of many the best and the worst beside it.

    They are ranked by where their lines end, among those that came as far as the furthest.
    """
    present = [name for name in comparison.variants if (frame["variant"] == name).any()]
    if len(present) > _MANY:
        curves = {name: mean_curve(frame, name) for name in present}
        furthest = max((float(own["tokens"].max()) for own in curves.values() if not own.empty), default=math.nan)
        last = {
            name: float(own["smooth"].iloc[-1])
            for name, own in curves.items()
            if not own.empty and own["tokens"].max() == furthest and math.isfinite(own["smooth"].iloc[-1])
        }
        extremes = {min(last, key=last.__getitem__), max(last, key=last.__getitem__)} if last else set()
        present = [name for name in present if name in extremes | {comparison.baseline}]
    return sorted(present, key=lambda name: name == comparison.baseline)


def _greyed(comparison: Comparison, frame: pd.DataFrame) -> str:
    lines, named = frame["variant"].nunique(), _named(comparison, frame)
    if len(named) == lines:
        return ""
    return f" Of {lines} lines only the baseline, the best and the worst at the end are named; the others are grey."


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """From below the lowest point to above everything after the first part of training."""
    finite = frame[frame["smooth"].map(math.isfinite)]
    if finite.empty:
        return 0.0, 1.0
    later = finite[finite["tokens"] >= _HIDDEN_START * finite["tokens"].max()]
    low, high = float(finite["smooth"].min()), float(later["smooth"].max())
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _hidden(frame: pd.DataFrame) -> str:
    above = (frame["smooth"] > _limits(frame)[1]).any()
    return " The start of training lies above the frame." if above else ""


def _strokes(frame: pd.DataFrame) -> str:
    if frame["seed"].nunique() == 1:
        return "One seed: no spread."
    last = frame.groupby(["variant", "seed"])["tokens"].max()
    uneven = (last < last.groupby("variant").transform("max")).any()
    text = "Lines are means over seeds, bands reach from the lowest seed to the highest"
    return f"{text}{'; both without seeds that stopped early, which are the thin lines' if uneven else ''}."


def _alt(what: str, frame: pd.DataFrame) -> str:
    last = [
        f"{name} ends at {mean_curve(frame, name)['smooth'].iloc[-1]:.3f}"
        for name in dict.fromkeys(frame["variant"])
        if not mean_curve(frame, name).empty
    ]
    return f"Curves of {what} against training tokens: {', '.join(last)} nats per token."


def _point_plot(comparison: Comparison, group: Group) -> Plot:
    metric = "token_perplexity" if group.one_tokenizer else "bits_per_byte"
    summary = summarise(group.records, metric, comparison.variants)
    digits = figure_digits(metric, summary)
    suffix = "" if group.of == 1 else f"-{group.place}"
    means = ", ".join(f"{name} {plain(summary[name].mean, digits)}" for name in summary)
    return draw_plot(
        lambda axes, theme: _draw_points(axes, theme, comparison, group, metric),
        file=f"points-{group.split}{suffix}.png",
        title=f"{TITLES[metric]}, {group.label[0].lower()}{group.label[1:]}",
        caption="A dot is a seed, the bar their mean; the dotted line is the baseline's mean. "
        f"{describe(group).capitalize()}. "
        "Lower is better; the axis does not begin at zero.",
        alt=f"{TITLES[metric]} on {group.split}: {means}.",
        height=1.3 + 0.42 * len(summary),
    )


def _draw_points(axes: Axes, theme: Theme, comparison: Comparison, group: Group, metric: str) -> None:
    summary = summarise(group.records, metric, comparison.variants)
    digits = figure_digits(metric, summary)
    styles = theme.styles(comparison.variants, comparison.baseline)
    names = list(summary)
    finite = group.records[group.records[metric].map(math.isfinite)]
    for height, name in enumerate(names):
        colour, _ = styles[name]
        values = finite.loc[finite["variant"] == name, metric]
        mean = summary[name].mean
        axes.scatter(values, [height] * len(values), s=46, color=colour, alpha=0.75, linewidths=0, zorder=3)
        if not math.isfinite(mean):
            continue
        axes.plot([mean, mean], [height - 0.28, height + 0.28], color=colour, linewidth=2.4, zorder=4)
        axes.annotate(
            plain(mean, digits),
            xy=(mean, height - 0.3),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            color=colour,
            bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 0.8},
        )
    if comparison.baseline in summary and math.isfinite(summary[comparison.baseline].mean):
        axes.axvline(summary[comparison.baseline].mean, color=theme.quiet, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.set_yticks(range(len(names)), names)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_color(styles[name][0])
        tick.set_fontsize(10)
    axes.set_ylim(len(names) - 0.5, -0.75)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(TITLES[metric].lower())
