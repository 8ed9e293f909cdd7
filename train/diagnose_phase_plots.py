"""Pictures of what complex attention has learned: delta and b by channel, and their histograms, a row a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FixedLocator, MaxNLocator

from .report.canvas import Plot, draw_plot
from .report.theme import Theme

Record = dict[str, Any]

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
