"""Names beside lines and points, so that they cover neither each other nor a point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from .canvas import is_narrow

Ends = Mapping[str, tuple[float, float, str]]
"""Name -> x and y of what it names, in data, and its colour."""

_LINE_HEIGHT = 13.5  # points between two names' middles
_LEADER = 13.0  # points; a name further away is joined to its point by a line
_LONG, _FITS_TWICE = 12, 22  # letters of a name: too many beside a narrow picture, few enough for two columns below


def label_ends(axes: Axes, ends: Ends) -> None:
    """Write each line's name right of its end, moved up or down where names would overlap.

    A thin line leads from an end to a name that had to move. On a phone's screen long names would leave the lines no
    room: there they stand in a legend below, for which each line has to be labelled with its name.

    The axes' limits and the layout must be settled before, since the distances are those on the paper.
    """
    if is_narrow(axes) and max(map(len, ends), default=0) > _LONG:
        _legend_below(axes, ends)
        return
    unit = axes.figure.dpi / 72
    order = sorted(ends, key=lambda name: ends[name][1])
    low, high = axes.bbox.y0 / unit, axes.bbox.y1 / unit
    places = [float(axes.transData.transform(ends[name][:2])[1]) / unit for name in order]
    places = [min(max(place, low), high) for place in places]
    moved = [to - place for place, to in zip(places, spread_apart(places, _LINE_HEIGHT, low, high), strict=True)]
    aside = 18 if any(abs(by) > _LINE_HEIGHT / 2 for by in moved) else 8
    bottom, top = axes.get_ylim()
    for name, by in zip(order, moved, strict=True):
        x, y, colour = ends[name]
        leader = (0.0, 0.5) if abs(by) > _LINE_HEIGHT / 2 else None
        _write(axes, name, (x, min(max(y, bottom), top)), (aside, by), colour, leader)


def spread_apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move sorted places as little as needed so that neighbours are ``gap`` apart, inside [low, high] if it fits.

    Least squares under that condition is an isotonic regression of the places, less the gaps before them.
    """
    if not places:
        return []
    gaps = gap * np.arange(len(places))
    return list((np.clip(isotonic_regression(np.asarray(places) - gaps).x, low, high - gaps[-1]) + gaps).tolist())


def label_points(axes: Axes, points: Ends) -> None:
    """Write each point's name beside it. The axes' limits and the layout must be settled before."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    unit = axes.figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    bounds = (frame.x0 / unit, frame.y0 / unit, axes.figure.bbox.x1 / unit, frame.y1 / unit)
    places = [axes.transData.transform((x, y)) / unit for x, y, _ in points.values()]
    sizes = []
    for name in points:
        text = axes.text(0, 0, name, fontsize=_FONT_SIZE)
        extent = text.get_window_extent(renderer)
        text.remove()
        sizes.append((extent.width / unit, extent.height / unit))
    boxes = place_labels([(float(x), float(y)) for x, y in places], sizes, bounds)
    for (name, (x, y, colour)), (left, bottom, right, top), place in zip(points.items(), boxes, places, strict=True):
        nearest = np.clip(place, (left, bottom), (right, top))
        corner = ((nearest[0] - left) / (right - left), (nearest[1] - bottom) / (top - bottom))
        offset = (left - place[0], (bottom + top) / 2 - place[1])
        _write(axes, name, (x, y), offset, colour, corner if math.dist(nearest, place) > _LEADER else None)


Box = tuple[float, float, float, float]  # left, bottom, right, top
Place = tuple[float, float]

_FONT_SIZE = 9.5
_RADII = range(7, 200, 4)  # points from a point to the nearest edge of its name
_DIRECTIONS = 24


def place_labels(points: Sequence[Place], sizes: Sequence[tuple[float, float]], bounds: Box) -> list[Box]:
    """A box for the name of each point: the nearest place inside ``bounds`` that covers no name before it and no point.

    Of places as near as each other the right is taken first, where one reads on; without a free place the nearest.
    The same points give the same places.

    Args:
        points: in points of 1/72 inch.
        sizes: width and height of each name.
        bounds: where names should stay.
    """
    boxes: list[Bbox] = []
    for point, size in zip(points, sizes, strict=True):
        around = _around(point, size)
        boxes.append(next((box for box in around if _is_free(box, boxes, points, bounds)), around[0]))
    return [(box.x0, box.y0, box.x1, box.y1) for box in boxes]


def _around(point: Place, size: tuple[float, float]) -> list[Bbox]:
    """Places for a name around its point, the nearest first, in each ring from the right over above and below."""
    boxes = []
    for radius in _RADII:
        for turn in sorted(range(-_DIRECTIONS // 2, _DIRECTIONS // 2), key=abs):
            angle = 2 * math.pi * turn / _DIRECTIONS
            # the side that faces the point touches the circle
            left = point[0] + radius * math.cos(angle) + size[0] * (math.cos(angle) - 1) / 2
            bottom = point[1] + radius * math.sin(angle) + size[1] * (math.sin(angle) - 1) / 2
            boxes.append(Bbox.from_bounds(left, bottom, *size))
    return boxes


def _is_free(box: Bbox, others: Sequence[Bbox], points: Sequence[Place], bounds: Box) -> bool:
    inside = box.x0 >= bounds[0] and box.y0 >= bounds[1] and box.x1 <= bounds[2] and box.y1 <= bounds[3]
    return inside and not box.padded(2, 1).count_overlaps(others) and not box.padded(4).count_contains(points)


def _write(axes: Axes, name: str, at: Place, offset: Place, colour: str, leader: Place | None) -> None:
    """A name whose left side's middle is ``offset`` points away from ``at``.

    A thin line leads from there to ``leader``, a place in the name's box in shares of its width and height.
    """
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 0.0, "shrinkB": 3.0}
    axes.annotate(
        name,
        xy=at,
        xytext=offset,
        textcoords="offset points",
        arrowprops=None if leader is None else line | {"relpos": leader},
        color=colour,
        va="center",
        fontsize=_FONT_SIZE,
        annotation_clip=False,
    )


def _legend_below(axes: Axes, ends: Ends) -> None:
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
        handlelength=1.8,
        columnspacing=1.0,
    )
