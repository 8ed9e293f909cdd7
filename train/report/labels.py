"""Names beside points, placed so that they cover neither each other nor a point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

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
