"""Pictures of probes: copying by distance, passkeys by depth and length, loss by place in the document.

Of one model there is a line for each length, of a comparison a line or a map for each variant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from ...figures.canvas import DOTTED, Plot, Theme, is_narrow, subplots
from ...figures.formats import plain
from ...figures.lines import Line, LineChart
from ...runs.load import Comparison
from ...storage import Record
from .tables import longest_from_start, probed

_COPY = {
    "accuracy": ("Copying a random segment, by distance", "copied, %", 100.0),
    "gain": ("What a repeated segment is worth, by distance", "nats a token", 1.0),
}
_COPY_OF_ONE = {
    "accuracy": ("Copying a random segment", "copied (share of tokens)"),
    "loss": ("Loss of a repeated random segment", "loss (nats per token)"),
}
_PASSKEY_OF_ONE = {
    "ranked_first": "The told number is the likeliest, %",
    "accuracy": "The told number is the answer, %",
}
_START = "Loss by distance to the document's start"
_INTERVALS = "Bars: 95 % intervals."
_COLUMNS, _NARROW_COLUMNS = 3, 2  # of heat maps


def probe_plots(records: Sequence[Record], train_length: int | None) -> list[Plot]:
    """The pictures of whatever probes the records are of, for one model."""
    copied, passkeys, started = ([r for r in records if r["probe"] == name] for name in ("copy", "passkey", "start"))
    started = [r for r in started if r["tokens"]]
    pictures = _Pictures(train_length)
    plots = []
    for key, (title, unit) in _COPY_OF_ONE.items() if copied else ():
        panels = [(title, _lines_by_length(copied, "distance", key))]
        chance = copied[0][f"chance_{key}"]
        caption = f"{_INTERVALS} Dashed: chance."
        plots.append(pictures.lines(f"copy-{key}", title, caption, panels, ("distance (tokens)", unit), chance))
    for key, title in _PASSKEY_OF_ONE.items() if passkeys else ():
        plots.append(pictures.maps(title, key, {title: pd.DataFrame(passkeys)}))
    if started:
        panels = [(_START, _lines_by_length(started, "last_index", "loss"))]
        units = ("index in the document (tokens)", "loss (nats per token)")
        plots.append(pictures.lines("start-loss", _START, _INTERVALS, panels, units))
    return plots


def context_plots(comparison: Comparison) -> list[Plot]:
    """Copying by distance with a panel a length, passkeys as a heat map a variant, loss by index in the document."""
    plots = []
    for place, group in enumerate(probed(comparison, "copy"), start=1):
        pictures = _Pictures(group.train_length, comparison, group.label, place, group.apart)
        names, first = group.variants(comparison), group.records.iloc[0]
        for key, (title, unit, factor) in _COPY.items():
            panels = [
                (f"Sequences of {n:,} tokens", _lines_by_variant(group.at(length=n), names, "distance", key, factor))
                for n in group.lengths()
            ]
            worth = "0 without copying" if key == "gain" else f"by chance {plain(100 * first['chance_accuracy'], 3)}"
            caption = f"{first['samples']} sequences a point, mean over seeds; {worth}."
            units = ("distance to the first time (tokens)", unit)
            plots.append(pictures.lines(f"copy-{key}", title, caption, panels, units))
    for place, group in enumerate(probed(comparison, "passkey"), start=1):
        pictures = _Pictures(group.train_length, comparison, group.label, place, group.apart)
        maps = {name: group.at(variant=name) for name in group.variants(comparison)}
        plots.append(pictures.maps("Passkeys: how often the told number is the likeliest", "ranked_first", maps))
    for place, group in enumerate(probed(comparison, "start"), start=1):
        pictures = _Pictures(group.train_length, comparison, group.label, place, group.apart)
        rows = longest_from_start(group)
        lines = _lines_by_variant(rows, group.variants(comparison), "last_index", "loss", 1.0)
        documents = rows["documents"].iloc[0]
        caption = f"{documents} documents; ranges 1, 2, 3-4, 5-8, ..., each drawn at its last index."
        units = ("index in the document", "nats a token")
        plots.append(pictures.lines("start-loss", _START, caption, [("", lines)], units))
    return plots


def _lines_by_length(records: Sequence[Record], x: str, y: str) -> dict[str, Line]:
    """A line with intervals for each length."""
    lines = {}
    for length, rows in pd.DataFrame(records).sort_values(x).groupby("length"):
        # one sample has no interval
        low, high = (rows[f"{y}_{end}"].astype(float).fillna(rows[y]).tolist() for end in ("low", "high"))
        lines[f"{length:,}"] = Line(rows[x].tolist(), rows[y].tolist(), low, high)
    return lines


def _lines_by_variant(frame: pd.DataFrame, names: Sequence[str], x: str, y: str, factor: float) -> dict[str, Line]:
    """The mean over seeds of each variant, times ``factor``."""
    lines = {}
    for name in names:
        mean = factor * frame[frame["variant"] == name].groupby(x)[y].mean().astype(float)
        lines[name] = Line([int(place) for place in mean.index], mean.tolist())
    return lines


@dataclass(frozen=True)
class _Pictures:
    """Draws what has been probed alike.

    Attributes:
        comparison: None: all is of one model, and pictures say themselves what a report says below them.
        label, place, why: of a comparison's probes, as :class:`.alike.Alike` tells them from other such sets.
    """

    train_length: int | None
    comparison: Comparison | None = None
    label: str = ""
    place: int = 1
    why: str = ""

    def lines(
        self,
        file: str,
        title: str,
        caption: str,
        panels: Sequence[tuple[str, dict[str, Line]]],
        units: tuple[str, str],
        chance: float | None = None,
    ) -> Plot:
        """Lines in ``units`` of x and y, one colour a name in all panels."""
        length = self.train_length
        names = list(panels[0][1])
        places = [x for _, lines in panels for line in lines.values() for x in line.x]
        inside = length is not None and min(places) <= length <= max(places)
        chart = LineChart(
            panels=panels,
            names=self.comparison.variants if self.comparison else names,
            baseline=self.comparison.baseline if self.comparison else names[0],
            x_label=units[0],
            y_label=units[1],
            log_x=2,
            from_zero=self.comparison is None,
            marks=[] if length is None else [length],
            mark_label="" if self.comparison or length is None else f"training length {length:,}",
            level=chance,
        )
        spelt = [f"{heading or units[0]}: {'; '.join(map(_spelt, lines.items()))}" for heading, lines in panels]
        marked = f" The dotted line is the training length, {length:,}." if inside else ""
        return Plot(
            draw=chart,
            file=self._file(file),
            title=f"{title}{self.label}",
            caption=caption + marked + self.why,
            alt=f"{title}{self.label}, {units[1]}. {'. '.join(spelt)}.",
            height=0.9 + max(2.0, 0.5 + 0.19 * len(names)) * len(panels),
        )

    def maps(self, title: str, key: str, frames: Mapping[str, pd.DataFrame]) -> Plot:
        """A heat map for each heading: the share ``key`` in % by length and depth, mean over seeds."""
        frame = pd.concat(frames.values())
        lengths, depths = (sorted(set(frame[column])) for column in ("length", "depth"))
        seen = 0 if self.train_length is None else sum(n <= self.train_length for n in lengths)
        marked = f"eft of the dots: up to the training length, {self.train_length:,}" if 0 < seen < len(lengths) else ""

        def draw(axes: Axes, theme: Theme) -> None:
            styles = theme.styles(self.comparison.variants, self.comparison.baseline) if self.comparison else {}
            columns = min(_NARROW_COLUMNS if is_narrow(axes) else _COLUMNS, len(frames))
            panels = subplots(axes, math.ceil(len(frames) / columns), columns)
            colours = LinearSegmentedColormap.from_list("share", [theme.page, theme.palette[0]])
            for panel, (name, rows) in zip(panels, frames.items()):
                means = 100 * rows.groupby(["depth", "length"])[key].mean().astype(float)
                shares = means.unstack().reindex(index=depths, columns=lengths).to_numpy()
                panel.imshow(shares, cmap=colours, vmin=0.0, vmax=100.0, aspect="auto")
                for (i, j), share in np.ndenumerate(shares):
                    ink = theme.page if share > 60 else theme.ink
                    panel.text(j, i, plain(share, 0), ha="center", va="center", color=ink, fontsize=8)
                if marked:
                    panel.axvline(seen - 0.5, color=theme.ink, linewidth=1.2, linestyle=DOTTED)
                panel.set_title(name, color=styles[name][0] if styles else theme.ink, fontsize=9)
                panel.set_xticks(range(len(lengths)), [f"{n:,}" for n in lengths], rotation=45, fontsize=8)
                panel.set_yticks(range(len(depths)), [f"{d:g}" for d in depths], fontsize=8)
            for panel in panels[len(frames) :]:
                panel.remove()
            length_label = "length (tokens" + (f"; l{marked})" if marked and not self.comparison else ")")
            panels[0].figure.supxlabel(length_label, fontsize=9.5, color=theme.quiet)
            panels[0].figure.supylabel("depth (0: at the start)", fontsize=9.5, color=theme.quiet)

        pooled = {name: 100 * rows.groupby("length")[key].mean() for name, rows in frames.items()}
        spelt = [f"{name} " + ", ".join(f"{n}: {plain(v, 0)}" for n, v in by.items()) for name, by in pooled.items()]
        chance = plain(100 * frame[f"chance_{key}"].iloc[0], 0)
        return Plot(
            draw=draw,
            file=self._file(f"passkey-{key.replace('_', '-')}"),
            title=f"{title}{self.label}",
            caption=f"In % of {frame['samples'].iloc[0]} texts a cell, mean over seeds; by chance {chance}."
            f"{f' L{marked}.' if marked else ''}{self.why}",
            alt=f"Share in % by length, all depths together: {'; '.join(spelt)}.",
            height=0.7 + 1.75 * math.ceil(len(frames) / _COLUMNS),
            narrow_height=0.7 + 1.75 * math.ceil(len(frames) / _NARROW_COLUMNS),
        )

    def _file(self, name: str) -> str:
        return f"{name}-{self.place}.png" if self.label else f"{name}.png"


def _spelt(named: tuple[str, Line]) -> str:
    name, line = named
    return f"{name} " + ", ".join(f"{x}: {plain(y, 3)}" for x, y in zip(line.x, line.y, strict=True))
