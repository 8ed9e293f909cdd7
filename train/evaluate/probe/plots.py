"""Pictures of probes: accuracy and loss by distance, passkeys by depth and length, loss by place in the document."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ...figures.canvas import Plot, Theme, draw_plot, is_narrow, label_ends
from ...figures.formats import plain
from ...runs.alike import Alike
from ...runs.load import Comparison
from ...storage import Record
from .tables import longest_from_start, probed

Line = tuple[list[float], list[float], list[tuple[float, float]]]
"""x, y and the interval of each point."""


def probe_plots(records: Sequence[Record], train_length: int | None) -> list[Plot]:
    """The pictures of whatever probes the records are of, for one model."""
    of = {name: [r for r in records if r["probe"] == name] for name in ("copy", "passkey", "start")}
    plots: list[Plot] = []
    if of["copy"]:
        plots += _copy_plots(of["copy"], train_length)
    if of["passkey"]:
        plots += [
            _heat_map(of["passkey"], "ranked_first", "The told number is the likeliest", train_length),
            _heat_map(of["passkey"], "accuracy", "The told number is the answer", train_length),
        ]
    scored = [r for r in of["start"] if r["tokens"]]
    if scored:
        plots.append(_start_plot(scored, train_length))
    return plots


def _copy_plots(records: Sequence[Record], train_length: int | None) -> list[Plot]:
    one = records[0]
    what = f"{one['segment_tokens'] - one['cue_tokens']} tokens after a cue of {one['cue_tokens']}"
    beside = f"{what}, {one['samples']} sequences a point; bars: 95 % intervals. One line for each length of sequences."
    return [
        draw_plot(
            _lines(
                _by_length(records, "distance", "accuracy"),
                "Copying a random segment",
                "copied (share of tokens)",
                one["chance_accuracy"],
                train_length,
            ),
            file="copy-accuracy.png",
            title="Copying a random segment, by distance",
            caption=f"Share of greedy choices that are right: {beside} Dashed: chance.",
            alt=_alt(records, "accuracy", "distance"),
        ),
        draw_plot(
            _lines(
                _by_length(records, "distance", "loss"),
                "Loss of a repeated random segment",
                "loss (nats per token)",
                one["chance_loss"],
                train_length,
            ),
            file="copy-loss.png",
            title="Loss of a repeated random segment, by distance",
            caption=f"Mean loss: {beside} Dashed: every token alike.",
            alt=_alt(records, "loss", "distance"),
        ),
    ]


def _start_plot(records: Sequence[Record], train_length: int | None) -> Plot:
    counts = ", ".join(f"{r['documents']} at {r['length']:,}" for r in records if r["first_index"] == 1)
    return draw_plot(
        _lines(
            _by_length(records, "last_index", "loss"),
            "Loss by distance to the document's start",
            "loss (nats per token)",
            None,
            train_length,
            "index in the document",
        ),
        file="start-loss.png",
        title="Loss by distance to the document's start",
        caption=f"Mean over ranges 1, 2, 3-4, 5-8, ..., each drawn at its last index; documents: {counts}. "
        "Bars: 95 % intervals over documents.",
        alt=_alt(records, "loss", "last_index"),
    )


def _by_length(records: Sequence[Record], x: str, y: str) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for length in sorted({r["length"] for r in records}):
        own = sorted((r for r in records if r["length"] == length), key=lambda r: r[x])
        bounds = [(r[f"{y}_low"], r[f"{y}_high"]) for r in own]
        sure = [(r[y], r[y]) if None in b else b for r, b in zip(own, bounds)]  # one sample has no interval
        lines[f"{length:,}"] = ([r[x] for r in own], [r[y] for r in own], sure)
    return lines


def _lines(
    lines: dict[str, Line],
    title: str,
    unit: str,
    chance: float | None,
    train_length: int | None,
    along: str = "distance",
) -> Callable[[Axes, Theme], None]:
    def draw(axes: Axes, theme: Theme) -> None:
        styles = theme.styles(list(lines), next(iter(lines)))
        ends: dict[str, tuple[float, float, str]] = {}
        for name, (x, y, bounds) in lines.items():
            colour, stroke = styles[name]
            axes.plot(x, y, color=colour, linestyle=stroke, linewidth=1.7, marker="o", markersize=3.5)
            axes.vlines(
                x, [low for low, _ in bounds], [high for _, high in bounds], color=colour, linewidth=0.9, alpha=0.6
            )
            ends[name] = (x[-1], y[-1], colour)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=9))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain(x, 0)))
        tops = [high for _, _, bounds in lines.values() for _, high in bounds]
        axes.set_ylim(0.0, max([*tops, chance or 0.0]) * 1.06 or 1.0)
        if chance is not None:
            axes.axhline(chance, color=theme.quiet, linewidth=1.0, linestyle=(0, (5, 3)), zorder=0)
        low, high = axes.get_xlim()
        dotted = ""
        if train_length is not None and low < train_length < high:
            axes.axvline(train_length, color=theme.quiet, linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
            dotted = f"; dotted: training length {train_length:,}"
        axes.grid(axis="y")
        axes.set_xlabel(f"{along} (tokens{dotted})")
        axes.set_ylabel(unit)
        axes.set_title(title, loc="left", color=theme.ink, fontsize=11)
        axes.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
        label_ends(axes, ends)

    return draw


def _heat_map(records: Sequence[Record], key: str, title: str, train_length: int | None) -> Plot:
    lengths, depths = (sorted({r[name] for r in records}) for name in ("length", "depth"))
    shares = np.full((len(depths), len(lengths)), np.nan)
    for r in records:
        shares[depths.index(r["depth"]), lengths.index(r["length"])] = r[key]
    one = records[0]

    def draw(axes: Axes, theme: Theme) -> None:
        colours = LinearSegmentedColormap.from_list("share", [theme.page, theme.palette[0]])
        axes.imshow(shares, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
        for (i, j), share in np.ndenumerate(shares):
            ink = theme.page if share > 0.6 else theme.ink
            axes.text(j, i, plain(float(share), 2), ha="center", va="center", color=ink, fontsize=9.5)
        axes.set_xticks(range(len(lengths)), [f"{n:,}" for n in lengths])
        axes.set_yticks(range(len(depths)), [f"{d:g}" for d in depths])
        seen = sum(n <= train_length for n in lengths) if train_length is not None else 0
        dotted = ""
        if 0 < seen < len(lengths):
            axes.axvline(seen - 0.5, color=theme.ink, linewidth=1.2, linestyle=(0, (1, 2)))
            dotted = f"; left of the dots: up to the training length {train_length:,}"
        axes.set_xlabel(f"length (tokens{dotted})")
        axes.set_ylabel("depth (0: at the start)")
        axes.set_title(title, loc="left", color=theme.ink, fontsize=11)

    chance = one[f"chance_{key}"]
    cells = ", ".join(f"{r['length']:,} at depth {r['depth']:g}: {r[key]:.2f}" for r in records)
    return draw_plot(
        draw,
        file=f"passkey-{key.replace('_', '-')}.png",
        title=f"{title}: passkeys by depth and length",
        caption=f"Share of {one['samples']} texts a cell; numbers of {one['digits']} digits, {one['distractors']} "
        f"others beside the told one. Chance is {chance:.3g}.",
        alt=f"{title}, share by length and depth: {cells}.",
    )


def _alt(records: Sequence[Record], y: str, x: str) -> str:
    return f"{y} by {x}: " + "; ".join(f"{r['length']:,} tokens, {r[x]:,}: {r[y]:.3g}" for r in records) + "."


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
        plots.append(_start_comparison_plot(comparison, one, _suffix(one, place)))
    return plots


def _suffix(one: Alike, place: int) -> str:
    return f"-{place}" if one.label else ""


def _copy_plot(comparison: Comparison, one: Alike, key: str, suffix: str) -> Plot:
    title, unit, factor = _COPY[key]
    first = one.records.iloc[0]
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


def _start_comparison_plot(comparison: Comparison, one: Alike, suffix: str) -> Plot:
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
    one: Alike,
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
        caption=caption + marked + one.apart,
        alt=f"{title}, {units[1]}. {'. '.join(spelt)}.",
        height=0.9 + max(2.0, 0.5 + 0.19 * len(names)) * len(panels),
    )


def _passkey_plot(comparison: Comparison, one: Alike, suffix: str) -> Plot:
    names, lengths = one.variants(comparison), one.lengths()
    depths = sorted(set(one.records["depth"]))
    shares = {name: np.full((len(depths), len(lengths)), np.nan) for name in names}
    means = one.records.groupby(["variant", "depth", "length"])["ranked_first"].mean().reset_index()
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

    first = one.records.iloc[0]
    marked = f" Left of the dots: up to the training length, {train_length:,}." if 0 < seen < len(lengths) else ""
    pooled = {name: 100 * one.at(variant=name).groupby("length")["ranked_first"].mean() for name in names}
    spelt = [f"{name} " + ", ".join(f"{n}: {plain(v, 0)}" for n, v in pooled[name].items()) for name in names]
    return draw_plot(
        draw,
        file=f"passkey-ranked-first{suffix}.png",
        title=f"Passkeys: how often the told number is the likeliest{one.label}",
        caption=f"In % of {first['samples']} texts a cell, mean over seeds; by chance "
        f"{plain(100 * first['chance_ranked_first'], 0)}.{marked}{one.apart}",
        alt=f"Share in % by length, all depths together: {'; '.join(spelt)}.",
        height=0.7 + 1.75 * math.ceil(len(names) / _COLUMNS),
        narrow_height=0.7 + 1.75 * math.ceil(len(names) / _NARROW_COLUMNS),
    )
