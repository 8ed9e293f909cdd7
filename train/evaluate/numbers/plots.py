"""Pictures of what the runs have learned of numbers: exact match by the operands' length."""

from __future__ import annotations

import pandas as pd

from ...figures.canvas import Plot
from ...figures.formats import plain
from ...figures.lines import Line, LineChart, side_by_side
from ...runs.load import Comparison, absent
from .tables import exact_match, groups, probe_frame


def number_plots(comparison: Comparison) -> list[Plot]:
    """Exact match by the operands' length, one plot an operation, a line a variant."""
    frame = probe_frame(comparison)
    if frame.empty:
        return []
    plots = []
    for place, (label, same) in enumerate(groups(frame, "exact_match"), start=1):
        for operation in dict.fromkeys(same["operation"]):
            rows = same[same["operation"] == operation]
            plots.append(_plot(comparison, rows, str(operation), label, f"-{place}" if label else ""))
    return plots


def _plot(comparison: Comparison, frame: pd.DataFrame, operation: str, label: str, suffix: str) -> Plot:
    single = frame["seed"].nunique() == 1
    bars = "Wilson's 95 % interval over the problems" if single else "the lowest and the highest seed"
    trained = frame["train_digits"].iloc[0]
    beyond = "" if absent(trained) else f" Right of the dotted line: longer than the {int(trained)} digits of training."
    names = [name for name in comparison.variants if (frame["variant"] == name).any()]
    shifts = side_by_side(len(names), 0.08)
    lines = {n: _line(frame[frame["variant"] == n], shift) for n, shift in zip(names, shifts, strict=True)}
    means = [f"{name} " + ", ".join(plain(mean, 0) for mean in line.y) for name, line in lines.items()]
    digits = sorted({int(n) for n in frame["digits"]})
    return Plot(
        draw=LineChart(
            panels=[("", lines)],
            names=comparison.variants,
            baseline=comparison.baseline,
            x_label="digits of the operands",
            y_label="exact match, %",
            ticks=digits,
            limits=(-3, 103),
            marks=[] if absent(trained) else [int(trained) + 0.5],
            names_at=digits[-1] + max(shifts),
        ),
        file=f"numbers-{operation}{suffix}.png",
        title=f"{operation.capitalize()}: exact match by length{label}",
        caption=f"Mean over seeds, all kinds together; bars: {bars}.{beyond}",
        alt=f"Exact match in % on {operation} with operands of {', '.join(map(str, digits))} digits: "
        f"{'; '.join(means)}.",
    )


def _line(frame: pd.DataFrame, shift: float) -> Line:
    """Of one variant, in %: the mean over seeds by the number of digits, ``shift`` to the right of it."""
    points = []
    for digits in sorted(set(frame["digits"])):
        rows = frame[frame["digits"] == digits]
        share, interval = exact_match(rows)
        by_seed = rows.groupby("seed")[["right", "problems"]].sum().astype("float64")
        shares = by_seed["right"] / by_seed["problems"]
        low, high = (interval["low"], interval["high"]) if interval else (shares.min(), shares.max())
        points.append((int(digits) + shift, 100 * share.mean, 100 * low, 100 * high))
    x, means, lows, highs = zip(*points, strict=True)
    return Line(x, means, lows, highs)
