"""Pictures of how attention spreads: by evaluation length and by row, one line a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ...figures.canvas import Plot, Theme, draw_plot, label_ends
from ...figures.formats import plain

Record = dict[str, Any]
Points = tuple[list[float], list[float]]

_UNIFORM = "uniform"


def attention_plots(records: Sequence[Record], train_length: int) -> list[Plot]:
    """Entropy of the layers whose weights sum to 1, total weight of the others."""
    plots: list[Plot] = []
    for sums_to_one in (True, False):
        # one layer's rows may sum to 1 at one length only, as good as never
        odd = {r["layer"] for r in records if not r["sums_to_one"]}
        own = [r for r in records if (r["layer"] not in odd) is sums_to_one]
        if not own:
            continue
        if sums_to_one:
            key, name, unit, file = "entropy", "Attention entropy", "entropy (nats)", "entropy"
        else:
            key, name, unit, file = "total_weight", "Total attention weight", "sum of a row's weights", "total-weight"
        plots += _pair(own, key, name, unit, file, train_length, uniform=sums_to_one)
    return plots


def threshold_plots(records: Sequence[Record], train_length: int) -> list[Plot]:
    """Share of the visible keys above the threshold."""
    if not records:
        return []
    name, unit = "Keys that survive the threshold", "visible keys (%)"
    return _pair(records, "surviving_share", name, unit, "threshold", train_length, factor=100.0)


def _pair(
    records: Sequence[Record],
    key: str,
    name: str,
    unit: str,
    file: str,
    train_length: int,
    *,
    uniform: bool = False,
    factor: float = 1.0,
) -> list[Plot]:
    lengths = sorted({r["length"] for r in records})
    layers = sorted({r["layer"] for r in records})
    by_length: dict[str, Points] = {}
    by_row: dict[str, Points] = {}
    for layer in layers:
        own = sorted((r for r in records if r["layer"] == layer), key=lambda r: r["length"])
        by_length[f"layer {layer}"] = ([r["length"] for r in own], [factor * r[key] for r in own])
        by_row[f"layer {layer}"] = _row_points(own[-1], key, factor)
    if uniform:
        first = sorted((r for r in records if r["layer"] == layers[0]), key=lambda r: r["length"])
        by_length[_UNIFORM] = ([r["length"] for r in first], [r["uniform_entropy"] for r in first])
        by_row[_UNIFORM] = _row_points(first[-1], "uniform_entropy", 1.0)
    sizes = " to ".join(f"{n:,}" for n in dict.fromkeys((lengths[0], lengths[-1])))
    beside = "; uniform: equal weights, log i at row i" if uniform else ""
    return [
        draw_plot(
            _lines(by_length, f"{name} by evaluation length", "window length (tokens)", unit, train_length, lengths),
            file=f"{file}-by-length.png",
            title=f"{name} by evaluation length",
            caption=f"Mean over heads, rows and windows{beside}. The dotted line is the training length.",
            alt=f"{name} against window lengths {sizes}. {_alt(by_length)}",
        ),
        draw_plot(
            _lines(by_row, f"{name} by row, windows of {lengths[-1]:,}", "row = keys it sees", unit, train_length, []),
            file=f"{file}-by-row.png",
            title=f"{name} by row position in windows of {lengths[-1]:,} tokens",
            caption=f"Mean over heads, windows and neighbouring rows{beside}. The dotted line is the training length.",
            alt=f"{name} against the row. {_alt(by_row)}",
        ),
    ]


def _row_points(record: Record, key: str, factor: float) -> Points:
    groups = record["by_row"]
    return [g["mean_row"] for g in groups], [factor * g[key] for g in groups]


def _lines(
    lines: dict[str, Points], title: str, x_label: str, unit: str, train_length: int, lengths: list[int]
) -> Callable[[Axes, Theme], None]:
    def draw(axes: Axes, theme: Theme) -> None:
        layers = [name for name in lines if name != _UNIFORM]
        styles = theme.styles(layers, _UNIFORM)
        ends: dict[str, tuple[float, float, str]] = {}
        for name, (x, y) in lines.items():
            colour, stroke = styles[name]
            axes.plot(x, y, color=colour, linestyle=stroke, linewidth=1.7, marker="o", markersize=3.5)
            ends[name] = (x[-1], y[-1], colour)
        values = [v for _, y in lines.values() for v in y]
        places = [v for x, _ in lines.values() for v in x]
        axes.set_ylim(min(0.0, *values), max(values) * 1.06 or 1.0)
        if lengths:
            axes.set_xscale("log", base=2)
            axes.set_xlim(min(places) / 1.15, max(places) * 1.15)
            axes.xaxis.set_major_locator(FixedLocator(lengths))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.set_xlim(0, max(places) * 1.03)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain(x, 0)))
        low, high = axes.get_xlim()
        if low < train_length < high:
            axes.axvline(train_length, color=theme.quiet, linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
        axes.grid(axis="y")
        dotted = f"   (dotted: training length {train_length:,})" if low < train_length < high else ""
        axes.set_xlabel(x_label + dotted)
        axes.set_ylabel(unit)
        axes.set_title(title, loc="left", color=theme.ink, fontsize=11)
        axes.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
        label_ends(axes, ends)

    return draw


def _alt(lines: dict[str, Points]) -> str:
    return "; ".join(f"{name}: {y[0]:.3g} to {y[-1]:.3g}" for name, (_, y) in lines.items()) + "."


# What the value is called, its value in rotary attention, and its unit.
_NAMES = {"delta": ("delta", 1.0, "delta (1 is rotary)"), "bias": ("bias b", 0.0, "b (radians, 0 is rotary)")}


def phase_plots(records: Sequence[Record], histograms: dict[str, Record]) -> list[Plot]:
    """For delta and b each: a map of layer, head and channel, and a histogram of every head's channels."""
    if not records:
        return []
    heads = [len(record["delta"]) for record in records]
    labels = [f"layer {record['layer']}" for record in records]
    height = min(14.0, 1.5 + max(0.17 * sum(heads), 0.3 * len(heads), 1.3))
    plots = []
    for name, (title, rotary, unit) in _NAMES.items():
        values = np.concatenate([np.asarray(record[name]) for record in records])
        histogram = histograms[name]
        spread = f"{values.min():.3g} to {values.max():.3g}, mean {values.mean():.3g}"
        caption = "One row a head, from head 0 of the first layer at the top."
        plots += [
            draw_plot(
                _map(values, heads, labels, rotary, f"Learned {title} by head and channel", unit),
                file=f"{name}-by-channel.png",
                title=f"Learned {title} by head and channel",
                caption=f"{caption} Channel 0 turns fastest with the position.",
                alt=f"Heat map of {title}, {spread}.",
                height=height,
            ),
            draw_plot(
                _histogram(histogram, heads, labels, rotary, f"Histogram of learned {title} per head", unit),
                file=f"{name}-histogram.png",
                title=f"Histogram of learned {title} per head",
                caption=f"{caption} Colour: how many of the head's channels lie there. The dotted line is rotary.",
                alt=f"Histograms of {title}, {spread}.",
                height=height,
            ),
        ]
    return plots


def _map(
    values: np.ndarray[Any, Any], heads: list[int], labels: list[str], rotary: float, title: str, unit: str
) -> Callable[[Axes, Theme], None]:
    def draw(axes: Axes, theme: Theme) -> None:
        reach = float(np.abs(values - rotary).max()) or 1.0
        colours = LinearSegmentedColormap.from_list("both", [theme.palette[0], theme.page, theme.palette[1]])
        edges = np.arange(values.shape[1] + 1) - 0.5  # so that a tick stands at the middle of its channel
        mesh = axes.pcolormesh(
            edges, np.arange(len(values) + 1), values, cmap=colours, vmin=rotary - reach, vmax=rotary + reach
        )
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("complex channel c")
        _rows(axes, theme, heads, labels, title)
        _bar(axes, theme, mesh, unit)

    return draw


def _histogram(
    histogram: Record, heads: list[int], labels: list[str], rotary: float, title: str, unit: str
) -> Callable[[Axes, Theme], None]:
    def draw(axes: Axes, theme: Theme) -> None:
        counts = np.asarray(histogram["channels"])
        colours = LinearSegmentedColormap.from_list("one", [theme.page, theme.palette[0]])
        rows = np.arange(len(counts) + 1)
        mesh = axes.pcolormesh(histogram["edges"], rows, counts, cmap=colours, vmin=0)
        low, high = histogram["edges"][0], histogram["edges"][-1]
        if low <= rotary <= high:
            axes.axvline(rotary, color=theme.ink, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.set_xlabel(unit)
        _rows(axes, theme, heads, labels, title)
        _bar(axes, theme, mesh, "channels of the head", whole=True)

    return draw


def _rows(axes: Axes, theme: Theme, heads: list[int], labels: list[str], title: str) -> None:
    """Name the layers at the left, head 0 of the first one at the top, and draw lines between them."""
    ends = np.cumsum(heads)
    axes.set_ylim(float(ends[-1]), 0.0)
    axes.yaxis.set_major_locator(FixedLocator((ends - np.asarray(heads) / 2).tolist()))
    axes.set_yticklabels(labels)
    axes.tick_params(axis="y", length=0)
    for end in ends[:-1]:
        axes.axhline(end, color=theme.quiet, linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    axes.set_title(title, loc="left", color=theme.ink, fontsize=11)


def _bar(axes: Axes, theme: Theme, mesh: Any, label: str, *, whole: bool = False) -> None:
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=25)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=theme.quiet, labelcolor=theme.quiet)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=whole))
