"""Pictures of probes: accuracy and loss by distance, passkeys by depth and length, loss by place in the document."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ...report.canvas import Plot, draw_plot, label_ends
from ...report.formats import plain
from ...report.theme import Theme
from ..records import Record

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
