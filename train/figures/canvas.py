"""Axes in the report's style, and labels that do not cover each other."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's palette, told apart with every common form of colour blindness; its yellow is left out, since a
# yellow line on white is hardly seen, and the baseline takes the place of its black.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b3578f", "#b97f00", "#3a97d3")
_DARK = ("#56b4e9", "#f08a4b", "#2ec4a0", "#e39bc6", "#e8b93a", "#9ad0f5")
# Beyond six variants colours come round again with another stroke.
_STROKES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

Stroke = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Theme:
    """One page's colours."""

    name: str
    page: str
    ink: str
    quiet: str
    grid: str
    palette: tuple[str, ...]

    def styles(self, variants: Sequence[str], baseline: str) -> dict[str, tuple[str, Stroke]]:
        """Colour and stroke of each variant; the baseline is drawn in the ink of the text."""
        others = [name for name in variants if name != baseline]
        styles: dict[str, tuple[str, Stroke]] = {baseline: (self.ink, "-")}
        for i, name in enumerate(others):
            turn, colour = divmod(i, len(self.palette))
            styles[name] = (self.palette[colour], _STROKES[turn % len(_STROKES)])
        return styles


LIGHT = Theme("light", page="#ffffff", ink="#1d2430", quiet="#667080", grid="#e6e9ee", palette=_LIGHT)
DARK = Theme("dark", page="#151a22", ink="#e8ecf2", quiet="#97a1b0", grid="#2a323e", palette=_DARK)

# 100 points an inch, drawn at 2x, so that text stays sharp on a phone's screen.
DPI = 200
# Inches: about half of a page, and a phone's screen.
WIDE, NARROW = 5.6, 3.7
_COLOURS = 256
_LABEL_HEIGHT = 13.5  # points between two labels' baselines
_LONG, _FITS_TWICE = 12, 22  # letters of a name: too many beside a narrow picture, few enough for two columns below

Draw = Callable[[Axes, Theme], None]


@dataclass(frozen=True)
class Plot:
    """A picture, drawn when it is asked for: for a light and for a dark page, each also for a phone's screen.

    Attributes:
        file: name of the PNG in the report's folder (the light, wide one).
        alt: what is to be seen, for those who do not see it.
        draw: draws on fresh axes.
        height, narrow_height: in inches, at :data:`WIDE` and at :data:`NARROW` inches of width.
    """

    file: str
    title: str
    caption: str
    alt: str
    draw: Draw
    height: float
    narrow_height: float

    @cached_property
    def light(self) -> bytes:
        return _png(self.draw, LIGHT, WIDE, self.height)

    @cached_property
    def dark(self) -> bytes:
        return _png(self.draw, DARK, WIDE, self.height)

    @cached_property
    def narrow_light(self) -> bytes:
        return _png(self.draw, LIGHT, NARROW, self.narrow_height)

    @cached_property
    def narrow_dark(self) -> bytes:
        return _png(self.draw, DARK, NARROW, self.narrow_height)

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height of the wide one as a page lays it out, in pixels."""
        return round(100 * WIDE), round(100 * self.height)

    def write(self, folder: Path) -> None:
        """The light, wide one into ``folder``, whole or not at all."""
        temporary = folder / f".{self.file}.{os.getpid()}.tmp"
        temporary.write_bytes(self.light)
        temporary.replace(folder / self.file)


def draw_plot(
    draw: Draw,
    *,
    file: str,
    title: str,
    caption: str,
    alt: str,
    height: float = 3.6,
    narrow_height: float | None = None,
) -> Plot:
    """A plot whose ``draw`` is run on fresh axes, once for each theme and width, when its picture is wanted."""
    return Plot(file, title, caption, alt, draw, height, height if narrow_height is None else narrow_height)


def is_narrow(axes: Axes) -> bool:
    """Whether the picture is the one for a phone's screen."""
    return axes.figure.get_figwidth() <= NARROW  # type: ignore[union-attr]


def _png(draw: Draw, theme: Theme, width: float, height: float) -> bytes:
    with mpl.rc_context(page_settings(theme)):
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.page, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure.add_subplot(), theme)
        canvas.draw()  # type: ignore[no-untyped-call]
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]
    stream = io.BytesIO()
    # a page holds four of each: a palette makes them a third as large, and nobody sees which
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def page_settings(theme: Theme) -> Any:
    """Matplotlib's settings for this page's colours and type sizes."""
    return {
        "font.size": 10.5,
        "text.color": theme.ink,
        "axes.labelcolor": theme.quiet,
        "axes.edgecolor": theme.quiet,
        "axes.facecolor": theme.page,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "xtick.color": theme.quiet,
        "ytick.color": theme.quiet,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
    }


def label_ends(axes: Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """Write each line's name right of its end (x, y, colour), moved apart where they would overlap.

    A thin line leads from an end to a name that had to move. On a phone's screen long names would leave the lines no
    room: there they stand in a legend below, for which each line has to be labelled with its name.

    The axes' limits must be set before, since the distances are those on the paper.
    """
    if is_narrow(axes) and max(map(len, ends), default=0) > _LONG:
        _legend_below(axes, ends)
        return
    low, high = axes.get_ylim()
    points = axes.bbox.height / axes.figure.dpi * 72
    unit = (high - low) / points
    order = sorted(ends, key=lambda name: ends[name][1])
    places = [min(max(ends[name][1], low), high) for name in order]
    heights = spread_apart(places, _LABEL_HEIGHT * unit, low, high)
    crowded = any(abs(a - b) > _LABEL_HEIGHT / 2 * unit for a, b in zip(places, heights, strict=True))
    for name, height in zip(order, heights, strict=True):
        x, y, colour = ends[name]
        end = min(max(y, low), high)
        moved = abs(height - end) > _LABEL_HEIGHT / 2 * unit
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 0.0, "shrinkB": 3.0}
        axes.annotate(
            name,
            xy=(x, end),
            xytext=(18 if crowded else 8, (height - end) / unit),
            arrowprops={**leader, "relpos": (0.0, 0.5)} if moved else None,
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=10,
            annotation_clip=False,
        )


def _legend_below(axes: Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """One for all panels of the figure, which grows by it; names stand in the order in which the first one's end."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    if figure.legends:
        return
    lines = {str(line.get_label()): line for panel in figure.axes for line in panel.get_lines()}
    named = [name for name in lines if not name.startswith("_")]  # as matplotlib calls those without a label
    names = sorted(named, key=lambda name: -ends[name][1] if name in ends else math.inf)
    columns = 2 if max(map(len, names)) <= _FITS_TWICE else 1
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.19 * math.ceil(len(names) / columns))
    figure.legend(
        [lines[name] for name in names],
        names,
        loc="outside lower center",
        ncols=columns,
        labelcolor=[str(lines[name].get_color()) for name in names],
        fontsize=8,
        frameon=False,
        handlelength=1.8,
        columnspacing=1.0,
    )


def spread_apart(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move sorted places as little as needed so that neighbours are ``gap`` apart, inside [low, high] if it fits."""
    blocks: list[list[float]] = []  # mean place and number of labels that stand together
    for place in places:
        blocks.append([place, 1])
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < gap * (blocks[-1][1] + blocks[-2][1]) / 2:
            (a, n), (b, m) = blocks[-2], blocks.pop()
            blocks[-1] = [(a * n + b * m) / (n + m), n + m]
    spread = [centre + gap * (i - (count - 1) / 2) for centre, count in blocks for i in range(int(count))]
    if spread and spread[0] < low:
        shift = low - spread[0]
        spread = [place + shift for place in spread]
    if spread and spread[-1] > high:
        shift = spread[-1] - high
        spread = [place - shift for place in spread]
    return spread


Box = tuple[float, float, float, float]  # left, bottom, right, top
Place = tuple[float, float]

_RADII = (7.0, 11.0, 17.0, 26.0, 38.0, 54.0, 74.0, 98.0)  # points from a point to the nearest edge of its name
_DIRECTIONS = 16
_ROUNDS = 4
_LEADER = 13.0  # points; a name further away is joined to its point by a line


def label_points(axes: Axes, points: Mapping[str, tuple[float, float, str]], *, size: float = 9.5) -> None:
    """Write each point's name (x, y, colour) beside it. The axes' limits and the layout must be settled before."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    unit = figure.dpi / 72
    texts = {name: axes.text(0, 0, name, fontsize=size, color=colour) for name, (_, _, colour) in points.items()}
    extents = [texts[name].get_window_extent(renderer) for name in points]
    places = [axes.transData.transform((x, y)) / unit for x, y, _ in points.values()]
    frame = axes.get_window_extent(renderer)
    bounds = (frame.x0 / unit, frame.y0 / unit, figure.bbox.x1 / unit, frame.y1 / unit)
    sizes = [(extent.width / unit, extent.height / unit) for extent in extents]
    boxes = place_labels([(float(x), float(y)) for x, y in places], sizes, bounds)
    for name, box, place in zip(points, boxes, places, strict=True):
        texts[name].remove()
        colour = points[name][2]
        end = (min(max(place[0], box[0]), box[2]), min(max(place[1], box[1]), box[3]))
        far = math.dist(end, place) > _LEADER
        axes.annotate(
            name,
            xy=points[name][:2],
            xytext=(box[0] - place[0], box[1] - place[1]),
            textcoords="offset points",
            color=colour,
            fontsize=size,
            va="bottom",
            annotation_clip=False,
        )
        if far:
            axes.annotate(
                "",
                xy=points[name][:2],
                xytext=(end[0] - place[0], end[1] - place[1]),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.7, "shrinkB": 3.0},
                annotation_clip=False,
            )


def place_labels(points: Sequence[Place], sizes: Sequence[tuple[float, float]], bounds: Box) -> list[Box]:
    """A box for the name of each point, near it and clear of the others as far as there is room.

    Each name in turn takes the best of places around its point, the others being where they are; a few rounds of that
    settle. The same points give the same places.

    Args:
        points: in points of 1/72 inch.
        sizes: width and height of each name.
        bounds: where names should stay.
    """
    boxes: list[Box | None] = [None] * len(points)
    for _ in range(_ROUNDS):
        for i, (point, size) in enumerate(zip(points, sizes, strict=True)):
            others = [box for j, box in enumerate(boxes) if box is not None and j != i]
            boxes[i] = min(_around(point, size), key=lambda one: _cost(one, point, others, points, bounds))
    return [box for box in boxes if box is not None]


def _around(point: Place, size: tuple[float, float]) -> list[Box]:
    boxes = []
    for radius in _RADII:
        for turn in range(_DIRECTIONS):
            across, up = (f(2 * math.pi * turn / _DIRECTIONS) for f in (math.cos, math.sin))
            # the side that faces the point touches the circle
            left = point[0] + radius * across + size[0] * (across - 1) / 2
            bottom = point[1] + radius * up + size[1] * (up - 1) / 2
            boxes.append((left, bottom, left + size[0], bottom + size[1]))
    return boxes


def _cost(box: Box, own: Place, others: Sequence[Box], points: Sequence[Place], bounds: Box) -> float:
    padded = (box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1)
    covered = sum(_shared(padded, other) for other in others)
    hidden = sum(padded[0] - 3 < x < padded[2] + 3 and padded[1] - 3 < y < padded[3] + 3 for x, y in points)
    area = (padded[2] - padded[0]) * (padded[3] - padded[1])
    outside = area - _shared(padded, bounds)
    end = (min(max(own[0], box[0]), box[2]), min(max(own[1], box[1]), box[3]))
    # of places as good as each other the one to the right, where one reads on
    turned = abs((box[1] + box[3]) / 2 - own[1]) + (20.0 if box[0] < own[0] else 0.0)
    return 10.0 * covered + 400.0 * hidden + 10.0 * outside + math.dist(end, own) + 0.1 * turned


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes have in common."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0
