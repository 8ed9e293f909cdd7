"""Pictures of what the runs have learned of numbers."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from .canvas import Plot, draw_plot, label_ends
from .formats import plain
from .load import Comparison, absent
from .numbers import SAME_PROBLEMS, exact_match, groups, probe_frame
from .theme import Theme


def number_plots(comparison: Comparison) -> list[Plot]:
    """Exact match by the operands' length, one plot an operation, a line a variant."""
    frame = probe_frame(comparison)
    if frame.empty:
        return []
    plots = []
    for place, (label, same) in enumerate(groups(frame[frame["probe"] == "exact_match"], SAME_PROBLEMS)):
        for operation in dict.fromkeys(same["operation"]):
            own = same[same["operation"] == operation]
            plots.append(_plot(comparison, own, str(operation), label, f"-{place + 1}" if label else ""))
    return plots


def _plot(comparison: Comparison, frame: pd.DataFrame, operation: str, label: str, suffix: str) -> Plot:
    single = frame["seed"].nunique() == 1
    bars = "Wilson's 95 % interval over the problems" if single else "the lowest and the highest seed"
    trained = frame["train_digits"].iloc[0]
    beyond = "" if absent(trained) else f" Right of the dotted line: longer than the {int(trained)} digits of training."
    means = []
    for name in _present(comparison, frame):
        curve = _curve(frame[frame["variant"] == name])
        means.append(f"{name} " + ", ".join(plain(100 * mean, 0) for mean in curve["mean"]))
    lengths = ", ".join(str(n) for n in sorted(set(frame["digits"])))
    return draw_plot(
        lambda axes, theme: _draw(axes, theme, comparison, frame),
        file=f"numbers-{operation}{suffix}.png",
        title=f"{operation.capitalize()}: exact match by length{label}",
        caption=f"Mean over seeds, all kinds together; bars: {bars}.{beyond}",
        alt=f"Exact match in % on {operation} with operands of {lengths} digits: {'; '.join(means)}.",
    )


def _present(comparison: Comparison, frame: pd.DataFrame) -> list[str]:
    return [name for name in comparison.variants if (frame["variant"] == name).any()]


def _curve(frame: pd.DataFrame) -> pd.DataFrame:
    """Of one variant: columns digits, mean, low, high."""
    rows = []
    for digits in sorted(set(frame["digits"])):
        own = frame[frame["digits"] == digits]
        mean, interval = exact_match(own)
        by_seed = own.groupby("seed")[["right", "problems"]].sum()
        shares = (by_seed["right"] / by_seed["problems"]).astype("float64")
        low, high = (interval["low"], interval["high"]) if interval else (shares.min(), shares.max())
        rows.append((int(digits), mean.mean, float(low), float(high)))
    return pd.DataFrame(rows, columns=["digits", "mean", "low", "high"])


def _draw(axes: Axes, theme: Theme, comparison: Comparison, frame: pd.DataFrame) -> None:
    styles = theme.styles(comparison.variants, comparison.baseline)
    names = _present(comparison, frame)
    lengths = sorted({int(n) for n in frame["digits"]})
    ends: dict[str, tuple[float, float, str]] = {}
    for place, name in enumerate(names):
        colour, stroke = styles[name]
        curve = _curve(frame[frame["variant"] == name])
        x = curve["digits"] + 0.08 * (place - (len(names) - 1) / 2)  # side by side, so that bars do not hide each other
        mean = 100 * curve["mean"]
        axes.vlines(x, 100 * curve["low"], 100 * curve["high"], color=colour, linewidth=1.0, alpha=0.6)
        axes.plot(x, mean, color=colour, linestyle=stroke, linewidth=1.6, marker="o", markersize=3.5, label=name)
        ends[name] = (lengths[-1] + 0.5, float(mean.iloc[-1]), colour)  # names stand in one column
    trained = frame["train_digits"].iloc[0]
    if not absent(trained):
        axes.axvline(int(trained) + 0.5, color=theme.quiet, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xlim(lengths[0] - 0.5, lengths[-1] + 0.5)
    axes.set_ylim(-3, 103)
    axes.set_xticks(lengths)
    axes.grid(axis="y")
    axes.set_xlabel("digits of the operands")
    axes.set_ylabel("exact match, %")
    axes.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
    label_ends(axes, ends)
