"""Pictures of what the runs do with their context: the variants of a comparison over each other, or side by side."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .canvas import Plot, draw_plot, is_narrow, label_ends
from .formats import plain
from .load import Comparison
from .probes import Probed, longest_from_start, probed
from .theme import Theme

_COPY = {
    "accuracy": ("Copying a random segment, by distance", "copied, %", 100.0),
    "gain": ("What a repeated segment is worth, by distance", "nats a token", 1.0),
}
_COLUMNS, _NARROW_COLUMNS = 3, 2  # of heat maps


def context_plots(comparison: Comparison) -> list[Plot]:
    """Copying by distance with a panel a length, passkeys as a heat map a variant, loss by index in the document."""
    plots = []
    for place, one in enumerate(probed(comparison, "copy"), start=1):
        plots += [_copy_plot(comparison, one, key, _suffix(one, place)) for key in _COPY]
    for place, one in enumerate(probed(comparison, "passkey"), start=1):
        plots.append(_passkey_plot(comparison, one, _suffix(one, place)))
    for place, one in enumerate(probed(comparison, "start"), start=1):
        plots.append(_start_plot(comparison, one, _suffix(one, place)))
    return plots


def _suffix(one: Probed, place: int) -> str:
    return f"-{place}" if one.label else ""


def _copy_plot(comparison: Comparison, one: Probed, key: str, suffix: str) -> Plot:
    title, unit, factor = _COPY[key]
    first = one.frame.iloc[0]
    panels = {f"Sequences of {n:,} tokens": one.at(length=n) for n in one.lengths()}
    worth = "0 without copying" if key == "gain" else f"by chance {plain(100 * first['chance_accuracy'], 3)}"
    return _stacked(
        comparison,
        one,
        panels,
        ("distance", key, factor),
        ("distance to the first time (tokens)", unit),
        file=f"copy-{key}{suffix}.png",
        title=f"{title}{one.label}",
        caption=f"{first['samples']} sequences a point, mean over seeds; {worth}.",
    )


def _start_plot(comparison: Comparison, one: Probed, suffix: str) -> Plot:
    rows = longest_from_start(one)
    return _stacked(
        comparison,
        one,
        {"": rows},
        ("last_index", "loss", 1.0),
        ("index in the document", "nats a token"),
        file=f"start-loss{suffix}.png",
        title=f"Loss by distance to the document's start{one.label}",
        caption=f"{rows['documents'].iloc[0]} documents; ranges 1, 2, 3-4, 5-8, ..., each drawn at its last index.",
    )


def _stacked(
    comparison: Comparison,
    one: Probed,
    panels: dict[str, pd.DataFrame],
    columns: tuple[str, str, float],
    units: tuple[str, str],
    *,
    file: str,
    title: str,
    caption: str,
) -> Plot:
    """A panel for each frame, a line for each variant; ``columns`` are x, y and the factor of y."""
    x, y, factor = columns
    names = one.variants(comparison)
    length = one.train_length
    whole = pd.concat(panels.values())
    inside = length is not None and min(whole[x]) <= length <= max(whole[x])
    curves = {
        heading: {name: factor * rows[rows["variant"] == name].groupby(x)[y].mean().astype(float) for name in names}
        for heading, rows in panels.items()
    }

    def draw(axes: Axes, theme: Theme) -> None:
        figure = axes.figure
        axes.remove()
        stack = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        styles = theme.styles(comparison.variants, comparison.baseline)
        for panel, (heading, lines) in zip(stack, curves.items(), strict=True):
            for name, curve in lines.items():
                colour, stroke = styles[name]
                places = curve.index.astype(float)
                line = {"color": colour, "linestyle": stroke, "linewidth": 1.7, "marker": "o", "markersize": 3.5}
                panel.plot(places, curve, label=name, **line)
            if inside:
                panel.axvline(length, color=theme.quiet, linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
            panel.set_title(heading, loc="left", color=theme.ink, fontsize=9.5)
            panel.grid(axis="y")
            panel.set_ylabel(units[1])
        stack[0].set_xscale("log", base=2)
        stack[0].xaxis.set_major_locator(LogLocator(base=2, numticks=6))
        stack[0].xaxis.set_minor_locator(NullLocator())
        stack[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value, 0)))
        stack[-1].set_xlabel(units[0])
        figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
        for panel, lines in zip(stack, curves.values(), strict=True):
            there = {name: curve for name, curve in lines.items() if len(curve)}
            label_ends(panel, {n: (float(c.index[-1]), float(c.iloc[-1]), styles[n][0]) for n, c in there.items()})

    spelt = [
        f"{heading or units[0]}: "
        + "; ".join(f"{name} " + ", ".join(f"{i}: {plain(v, 3)}" for i, v in c.items()) for name, c in lines.items())
        for heading, lines in curves.items()
    ]
    marked = f" The dotted line is the training length, {length:,}." if inside else ""
    return draw_plot(
        draw,
        file=file,
        title=title,
        caption=caption + marked + one.why,
        alt=f"{title}, {units[1]}. {'. '.join(spelt)}.",
        height=0.9 + max(2.0, 0.5 + 0.19 * len(names)) * len(panels),
    )


def _passkey_plot(comparison: Comparison, one: Probed, suffix: str) -> Plot:
    names, lengths = one.variants(comparison), one.lengths()
    depths = sorted(set(one.frame["depth"]))
    shares = {name: np.full((len(depths), len(lengths)), np.nan) for name in names}
    means = one.frame.groupby(["variant", "depth", "length"])["ranked_first"].mean().reset_index()
    for cell in means.to_dict("records"):
        shares[cell["variant"]][depths.index(cell["depth"]), lengths.index(cell["length"])] = cell["ranked_first"]
    train_length = one.train_length
    seen = 0 if train_length is None else sum(n <= train_length for n in lengths)

    def draw(axes: Axes, theme: Theme) -> None:
        figure = axes.figure
        across = min(_NARROW_COLUMNS if is_narrow(axes) else _COLUMNS, len(names))
        axes.remove()
        maps = figure.subplots(
            math.ceil(len(names) / across), across, sharex=True, sharey=True, squeeze=False
        ).flatten()
        styles = theme.styles(comparison.variants, comparison.baseline)
        colours = LinearSegmentedColormap.from_list("share", [theme.page, theme.palette[0]])
        for panel, name in zip(maps, names):
            panel.imshow(shares[name].astype(float), cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
            for (i, j), share in np.ndenumerate(shares[name]):
                ink = theme.page if share > 0.6 else theme.ink
                panel.text(j, i, plain(100 * float(share), 0), ha="center", va="center", color=ink, fontsize=8)
            if 0 < seen < len(lengths):
                panel.axvline(seen - 0.5, color=theme.ink, linewidth=1.2, linestyle=(0, (1, 2)))
            panel.set_title(name, loc="left", color=styles[name][0], fontsize=9)
            panel.set_xticks(range(len(lengths)), [f"{n:,}" for n in lengths], rotation=45, fontsize=8)
            panel.set_yticks(range(len(depths)), [f"{d:g}" for d in depths], fontsize=8)
        for panel in maps[len(names) :]:
            panel.remove()
        figure.supxlabel("length (tokens)", fontsize=9.5, color=theme.quiet)
        figure.supylabel("depth (0: at the start)", fontsize=9.5, color=theme.quiet)

    first = one.frame.iloc[0]
    marked = f" Left of the dots: up to the training length, {train_length:,}." if 0 < seen < len(lengths) else ""
    pooled = {name: 100 * one.at(variant=name).groupby("length")["ranked_first"].mean() for name in names}
    spelt = [f"{name} " + ", ".join(f"{n}: {plain(v, 0)}" for n, v in pooled[name].items()) for name in names]
    return draw_plot(
        draw,
        file=f"passkey-ranked-first{suffix}.png",
        title=f"Passkeys: how often the told number is the likeliest{one.label}",
        caption=f"In % of {first['samples']} texts a cell, mean over seeds; by chance "
        f"{plain(100 * first['chance_ranked_first'], 0)}.{marked}{one.why}",
        alt=f"Share in % by length, all depths together: {'; '.join(spelt)}.",
        height=0.7 + 1.75 * math.ceil(len(names) / _COLUMNS),
        narrow_height=0.7 + 1.75 * math.ceil(len(names) / _NARROW_COLUMNS),
    )
