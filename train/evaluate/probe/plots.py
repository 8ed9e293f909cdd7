"""Pictures of probes: copying by distance, passkeys by depth and length, loss by place in the document.

Of one model there is a line for each length, of a comparison a line or a map for each variant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from ...figures.canvas import DOTTED, Plot, Theme, is_narrow, subplots
from ...figures.formats import plain
from ...figures.lines import Line, LineChart
from ...runs.load import Comparison
from ...storage import Record
from .tables import Probed, longest_from_start, probed

_COPY = {
    "accuracy": ("Copying a random segment, by distance", "copied, %", 100.0),
    "gain": ("What a repeated segment is worth, by distance", "nats a token", 1.0),
}
_START = "Loss by distance to the document's start"
_RANGES = "ranges 1, 2, 3-4, 5-8, ..., each drawn at its last index"
_COLUMNS, _NARROW_COLUMNS = 3, 2  # of heat maps


def probe_plots(records: Sequence[Record], train_length: int | None) -> list[Plot]:
    """The pictures of whatever probes the records are of, for one model."""
    of = {name: [r for r in records if r["probe"] == name] for name in ("copy", "passkey", "start")}
    plots: list[Plot] = []
    if of["copy"]:
        first = of["copy"][0]
        what = (
            f"{first['segment_tokens'] - first['cue_tokens']} tokens after a cue of {first['cue_tokens']}, "
            f"{first['samples']} sequences a point; bars: 95 % intervals. One line for each length of sequences."
        )
        of_choices = ("accuracy", "Copying a random segment", "copied (share of tokens)", "Share of right choices")
        of_loss = ("loss", "Loss of a repeated random segment", "loss (nats per token)", "Mean loss")
        for key, title, unit, means in (of_choices, of_loss):
            plots.append(
                _line_plot(
                    [(title, _lines_by_length(of["copy"], "distance", key))],
                    ("distance (tokens)", unit),
                    train_length,
                    file=f"copy-{key}.png",
                    title=f"{title}, by distance",
                    caption=f"{means}: {what} Dashed: chance.",
                    chance=first[f"chance_{key}"],
                )
            )
    if of["passkey"]:
        frame = pd.DataFrame(of["passkey"])
        plots += [
            _passkey_plot(frame, {f"{title}, %": frame}, key, train_length, title=title)
            for key, title in (
                ("ranked_first", "The told number is the likeliest"),
                ("accuracy", "The told number is the answer"),
            )
        ]
    if scored := [r for r in of["start"] if r["tokens"]]:
        counts = ", ".join(f"{r['documents']} at {r['length']:,}" for r in scored if r["first_index"] == 1)
        plots.append(
            _line_plot(
                [(_START, _lines_by_length(scored, "last_index", "loss"))],
                ("index in the document (tokens)", "loss (nats per token)"),
                train_length,
                file="start-loss.png",
                title=_START,
                caption=f"Mean over {_RANGES}; documents: {counts}. Bars: 95 % intervals over documents.",
            )
        )
    return plots


def context_plots(comparison: Comparison) -> list[Plot]:
    """Copying by distance with a panel a length, passkeys as a heat map a variant, loss by index in the document."""
    plots = []
    for place, group in enumerate(probed(comparison, "copy"), start=1):
        first = group.frame.iloc[0]
        panels = {f"Sequences of {n:,} tokens": group.at(length=n) for n in group.lengths()}
        for key, (title, unit, factor) in _COPY.items():
            worth = "0 without copying" if key == "gain" else f"by chance {plain(100 * first['chance_accuracy'], 3)}"
            plots.append(
                _line_plot(
                    [(h, _lines_by_variant(comparison, group, f, "distance", key, factor)) for h, f in panels.items()],
                    ("distance to the first time (tokens)", unit),
                    group.train_length,
                    comparison,
                    file=f"copy-{key}{_suffix(group, place)}.png",
                    title=f"{title}{group.label}",
                    caption=f"{first['samples']} sequences a point, mean over seeds; {worth}.",
                    why=group.why,
                )
            )
    for place, group in enumerate(probed(comparison, "passkey"), start=1):
        maps = {name: group.at(variant=name) for name in group.variants(comparison)}
        title = "Passkeys: how often the told number is the likeliest"
        plots.append(
            _passkey_plot(
                group.frame,
                maps,
                "ranked_first",
                group.train_length,
                comparison,
                title=f"{title}{group.label}",
                suffix=_suffix(group, place),
                why=group.why,
            )
        )
    for place, group in enumerate(probed(comparison, "start"), start=1):
        rows = longest_from_start(group)
        plots.append(
            _line_plot(
                [("", _lines_by_variant(comparison, group, rows, "last_index", "loss", 1.0))],
                ("index in the document", "nats a token"),
                group.train_length,
                comparison,
                file=f"start-loss{_suffix(group, place)}.png",
                title=f"{_START}{group.label}",
                caption=f"{rows['documents'].iloc[0]} documents; {_RANGES}.",
                why=group.why,
            )
        )
    return plots


def _suffix(group: Probed, place: int) -> str:
    return f"-{place}" if group.label else ""


def _lines_by_length(records: Sequence[Record], x: str, y: str) -> dict[str, Line]:
    """A line with intervals for each length."""
    lines = {}
    for length, rows in pd.DataFrame(records).sort_values(x).groupby("length"):
        # one sample has no interval
        low, high = (rows[f"{y}_{end}"].astype(float).fillna(rows[y]).tolist() for end in ("low", "high"))
        lines[f"{length:,}"] = Line(rows[x].tolist(), rows[y].tolist(), low, high)
    return lines


def _lines_by_variant(
    comparison: Comparison, group: Probed, rows: pd.DataFrame, x: str, y: str, factor: float
) -> dict[str, Line]:
    """The mean over seeds of each variant of the group, times ``factor``."""
    lines = {}
    for name in group.variants(comparison):
        mean = factor * rows[rows["variant"] == name].groupby(x)[y].mean().astype(float)
        lines[name] = Line([int(place) for place in mean.index], mean.tolist())
    return lines


def _line_plot(
    panels: Sequence[tuple[str, dict[str, Line]]],
    units: tuple[str, str],
    train_length: int | None,
    comparison: Comparison | None = None,
    *,
    file: str,
    title: str,
    caption: str,
    why: str = "",
    chance: float | None = None,
) -> Plot:
    """Lines against a length; without a comparison the picture itself says what is dotted, else its caption does."""
    names = list(panels[0][1])
    places = [x for _, lines in panels for line in lines.values() for x in line.x]
    inside = train_length is not None and min(places) <= train_length <= max(places)
    chart = LineChart(
        panels=panels,
        names=comparison.variants if comparison else names,
        baseline=comparison.baseline if comparison else names[0],
        x_label=units[0],
        y_label=units[1],
        log_x=2,
        from_zero=comparison is None,
        marks=[] if train_length is None else [train_length],
        mark_label="" if comparison or train_length is None else f"training length {train_length:,}",
        level=chance,
    )
    spelt = [
        f"{heading or units[0]}: "
        + "; ".join(
            f"{name} " + ", ".join(f"{x}: {plain(y, 3)}" for x, y in zip(line.x, line.y, strict=True))
            for name, line in lines.items()
        )
        for heading, lines in panels
    ]
    marked = f" The dotted line is the training length, {train_length:,}." if inside else ""
    return Plot(
        draw=chart,
        file=file,
        title=title,
        caption=caption + marked + why,
        alt=f"{title}, {units[1]}. {'. '.join(spelt)}.",
        height=0.9 + max(2.0, 0.5 + 0.19 * len(names)) * len(panels),
    )


def _passkey_plot(
    frame: pd.DataFrame,
    maps: Mapping[str, pd.DataFrame],
    key: str,
    train_length: int | None,
    comparison: Comparison | None = None,
    *,
    title: str,
    suffix: str = "",
    why: str = "",
) -> Plot:
    """A heat map for each heading's rows: the share ``key`` in % by length and depth, mean over seeds."""
    lengths, depths = (sorted(set(frame[column])) for column in ("length", "depth"))
    shares = {
        name: (100 * rows.groupby(["depth", "length"])[key].mean().astype(float))
        .unstack()
        .reindex(index=depths, columns=lengths)
        .to_numpy()
        for name, rows in maps.items()
    }
    seen = 0 if train_length is None else sum(n <= train_length for n in lengths)
    marked = f" Left of the dots: up to the training length, {train_length:,}." if 0 < seen < len(lengths) else ""

    def draw(axes: Axes, theme: Theme) -> None:
        styles = theme.styles(comparison.variants, comparison.baseline) if comparison else {}
        columns = min(_NARROW_COLUMNS if is_narrow(axes) else _COLUMNS, len(maps))
        panels = subplots(axes, math.ceil(len(maps) / columns), columns)
        figure = panels[0].figure
        colours = LinearSegmentedColormap.from_list("share", [theme.page, theme.palette[0]])
        for panel, (name, cells) in zip(panels, shares.items()):
            panel.imshow(cells, cmap=colours, vmin=0.0, vmax=100.0, aspect="auto")
            for i, row in enumerate(cells):
                for j, share in enumerate(row):
                    ink = theme.page if share > 60 else theme.ink
                    panel.text(j, i, plain(share, 0), ha="center", va="center", color=ink, fontsize=8)
            if marked:
                panel.axvline(seen - 0.5, color=theme.ink, linewidth=1.2, linestyle=DOTTED)
            panel.set_title(name, color=styles[name][0] if styles else theme.ink, fontsize=9)
            panel.set_xticks(range(len(lengths)), [f"{n:,}" for n in lengths], rotation=45, fontsize=8)
            panel.set_yticks(range(len(depths)), [f"{d:g}" for d in depths], fontsize=8)
        for panel in panels[len(maps) :]:
            panel.remove()
        dots = "" if comparison or not marked else f"; left of the dots: up to the training length {train_length:,}"
        figure.supxlabel(f"length (tokens{dots})", fontsize=9.5, color=theme.quiet)
        figure.supylabel("depth (0: at the start)", fontsize=9.5, color=theme.quiet)

    first = frame.iloc[0]
    pooled = {name: 100 * rows.groupby("length")[key].mean() for name, rows in maps.items()}
    spelt = [f"{name} " + ", ".join(f"{n}: {plain(v, 0)}" for n, v in means.items()) for name, means in pooled.items()]
    return Plot(
        draw=draw,
        file=f"passkey-{key.replace('_', '-')}{suffix}.png",
        title=title,
        caption=f"In % of {first['samples']} texts a cell, mean over seeds; by chance "
        f"{plain(100 * first[f'chance_{key}'], 0)}.{marked}{why}",
        alt=f"Share in % by length, all depths together: {'; '.join(spelt)}.",
        height=0.7 + 1.75 * math.ceil(len(maps) / _COLUMNS),
        narrow_height=0.7 + 1.75 * math.ceil(len(maps) / _NARROW_COLUMNS),
    )
