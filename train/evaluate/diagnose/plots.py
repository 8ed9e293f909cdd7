"""Pictures of how attention spreads, by evaluation length and by row, one line a layer; and of learned phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from ...figures.canvas import DOTTED, Draw, Plot, Theme
from ...figures.lines import Line, LineChart

Record = dict[str, Any]

_UNIFORM = "uniform"


def attention_plots(records: Sequence[Record], train_length: int) -> list[Plot]:
    """Entropy of the layers whose weights sum to 1, total weight of the others."""
    # one layer's rows may sum to 1 at one length only, as good as never
    odd = {r["layer"] for r in records if not r["sums_to_one"]}
    sums_to_one = [r for r in records if r["layer"] not in odd]
    others = [r for r in records if r["layer"] in odd]
    name, unit = "Attention entropy", "entropy (nats)"
    plots = _pair(sums_to_one, "entropy", name, unit, "entropy", train_length, uniform=True)
    name, unit = "Total attention weight", "sum of a row's weights"
    return plots + _pair(others, "total_weight", name, unit, "total-weight", train_length)


def threshold_plots(records: Sequence[Record], train_length: int) -> list[Plot]:
    """Share of the visible keys above the threshold."""
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
    """The figure ``key`` by evaluation length, and by row in the longest windows; none without records."""
    if not records:
        return []
    lengths = sorted({r["length"] for r in records})
    of_layer = {layer: [r for r in records if r["layer"] == layer] for layer in sorted({r["layer"] for r in records})}
    lines = {f"layer {layer}": _lines(rows, key, factor) for layer, rows in of_layer.items()}
    if uniform:
        lines[_UNIFORM] = _lines(next(iter(of_layer.values())), "uniform_entropy", 1.0)
    by_length, by_row = ({name: both[i] for name, both in lines.items()} for i in (0, 1))
    sizes = " to ".join(f"{n:,}" for n in dict.fromkeys((lengths[0], lengths[-1])))
    beside = "; uniform: equal weights, log i at row i" if uniform else ""
    style: dict[str, Any] = {
        "names": [line for line in lines if line != _UNIFORM],
        "baseline": _UNIFORM,
        "y_label": unit,
        "from_zero": True,
        "marks": [train_length],
        "mark_label": f"training length {train_length:,}",
    }
    title = f"{name} by evaluation length"
    row_title = f"{name} by row, windows of {lengths[-1]:,}"
    return [
        Plot(
            draw=LineChart(
                panels=[(title, by_length)], x_label="window length (tokens)", ticks=lengths, log_x=2, **style
            ),
            file=f"{file}-by-length.png",
            title=title,
            caption=f"Mean over heads, rows and windows{beside}. The dotted line is the training length.",
            alt=f"{name} against window lengths {sizes}. {_alt(by_length)}",
        ),
        Plot(
            draw=LineChart(panels=[(row_title, by_row)], x_label="row = keys it sees", **style),
            file=f"{file}-by-row.png",
            title=f"{name} by row position in windows of {lengths[-1]:,} tokens",
            caption=f"Mean over heads, windows and neighbouring rows{beside}. The dotted line is the training length.",
            alt=f"{name} against the row. {_alt(by_row)}",
        ),
    ]


def _lines(records: Sequence[Record], key: str, factor: float) -> tuple[Line, Line]:
    """Of one layer: by evaluation length, and by row at the longest."""
    rising = sorted(records, key=lambda r: r["length"])
    groups = rising[-1]["by_row"]
    return (
        Line([r["length"] for r in rising], [factor * r[key] for r in rising]),
        Line([g["mean_row"] for g in groups], [factor * g[key] for g in groups]),
    )


def _alt(lines: dict[str, Line]) -> str:
    return "; ".join(f"{name}: {line.y[0]:.3g} to {line.y[-1]:.3g}" for name, line in lines.items()) + "."


# What the value is called, its value in rotary attention, and its unit.
_NAMES = {"delta": ("delta", 1.0, "delta (1 is rotary)"), "bias": ("bias b", 0.0, "b (radians, 0 is rotary)")}


def phase_plots(records: Sequence[Record], histograms: dict[str, Record]) -> list[Plot]:
    """For delta and b each: a map of layer, head and channel, and a histogram of every head's channels."""
    if not records:
        return []
    heads = {f"layer {record['layer']}": len(record["delta"]) for record in records}
    height = min(14.0, 1.5 + max(0.17 * sum(heads.values()), 0.3 * len(heads), 1.3))
    plots = []
    for name, (title, rotary, unit) in _NAMES.items():
        values = np.concatenate([np.asarray(record[name]) for record in records])
        edges = np.arange(values.shape[1] + 1) - 0.5  # so that a tick stands at the middle of its channel
        counts, bins = np.asarray(histograms[name]["channels"]), np.asarray(histograms[name]["edges"])
        by_channel = f"Learned {title} by head and channel"
        by_value = f"Histogram of learned {title} per head"
        spread = f"{values.min():.3g} to {values.max():.3g}, mean {values.mean():.3g}"
        caption = "One row a head, from head 0 of the first layer at the top."
        plots += [
            Plot(
                draw=_heat_map(values, edges, heads, by_channel, "complex channel c", unit, middle=rotary),
                file=f"{name}-by-channel.png",
                title=by_channel,
                caption=f"{caption} Channel 0 turns fastest with the position.",
                alt=f"Heat map of {title}, {spread}.",
                height=height,
            ),
            Plot(
                draw=_heat_map(counts, bins, heads, by_value, unit, "channels of the head", mark=rotary),
                file=f"{name}-histogram.png",
                title=by_value,
                caption=f"{caption} Colour: how many of the head's channels lie there. The dotted line is rotary.",
                alt=f"Histograms of {title}, {spread}.",
                height=height,
            ),
        ]
    return plots


def _heat_map(
    values: np.ndarray[Any, Any],
    edges: np.ndarray[Any, Any],
    heads: dict[str, int],
    title: str,
    x_label: str,
    unit: str,
    *,
    middle: float | None = None,
    mark: float | None = None,
) -> Draw:
    """A row a head, head 0 of the first layer at the top; ``heads`` says how many each layer has.

    The value ``middle`` has the page's colour and others one of two; without one, 0 has it and others one colour. A
    dotted line stands at ``mark``, where it is between the columns' ``edges``.
    """
    sizes = np.asarray(list(heads.values()))
    ends = np.cumsum(sizes)

    def draw(axes: Axes, theme: Theme) -> None:
        if middle is None:
            low, high, colours = 0.0, None, [theme.page, theme.palette[0]]
        else:
            reach = float(np.abs(values - middle).max()) or 1.0
            low, high, colours = middle - reach, middle + reach, [theme.palette[0], theme.page, theme.palette[1]]
        shades = LinearSegmentedColormap.from_list("values", colours)
        mesh = axes.pcolormesh(edges, np.arange(len(values) + 1), values, cmap=shades, vmin=low, vmax=high)
        if mark is not None and edges[0] <= mark <= edges[-1]:
            axes.axvline(mark, color=theme.ink, linewidth=1.0, linestyle=DOTTED)
        for end in ends[:-1]:
            axes.axhline(end, color=theme.quiet, linewidth=0.8)
        axes.set_ylim(float(ends[-1]), 0.0)
        axes.set_yticks(ends - sizes / 2, list(heads))
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=mark is None))
        axes.spines[["top", "right"]].set_visible(True)
        axes.set_title(title)
        axes.set_xlabel(x_label)
        bar = axes.figure.colorbar(mesh, ax=axes, label=unit, pad=0.02, aspect=25)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=middle is None))

    return draw
