"""The claims as a forest plot: effect, interval and what was claimed, a row each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ...figures.canvas import Plot, Theme, is_narrow
from . import words
from .claim import Paper
from .judge import claimed
from .verdicts import Outcome

FILE = "claims.png"
# shape, size and place in the palette of each verdict, so that colour alone never tells; a tie takes no side
_MARKS: dict[str, tuple[str, int, int | None]] = {
    "supported": ("o", 40, 0),
    "not supported": ("X", 62, 1),
    "tie": ("s", 36, None),
}


def claims_plot(outcomes: Sequence[Outcome]) -> Plot:
    """One picture of all outcomes, grouped by paper."""
    rows = _rows(outcomes)
    return Plot(
        draw=lambda axes, theme: _draw(axes, theme, rows),
        file=FILE,
        title="Difference and claim",
        caption="Mean difference to the baseline with its 95 % interval over seeds; the diamond is the size that was "
        "claimed, or the bound, and the vertical line no difference. Every row has a scale of its own: compare a bar "
        "with its own line and diamond, and read sizes in the figures. An interval stands for its claim alone; the "
        "verdicts are corrected for how many claims a paper makes. Circle: supported; cross: not supported; square: "
        "tie; hollow circle: not tested.",
        alt=f"Forest plot of {len(outcomes)} claims: {words.counts(outcomes)}.",
        height=0.25 + 0.44 * sum(map(_room, rows)),
        narrow_height=0.25 + 0.58 * sum(map(_room, rows)),
    )


def _rows(outcomes: Sequence[Outcome]) -> list[Paper | Outcome]:
    rows: list[Paper | Outcome] = []
    for paper in dict.fromkeys(outcome.paper for outcome in outcomes):
        rows += [paper, *(outcome for outcome in outcomes if outcome.paper == paper)]
    return rows


def _room(row: Paper | Outcome) -> float:
    """The height of a row; without a figure there is no bar."""
    return 1.0 if isinstance(row, Outcome) and math.isfinite(row.mean) else 0.6


def _draw(axes: Axes, theme: Theme, rows: Sequence[Paper | Outcome]) -> None:
    axes.set_axis_off()
    height = 0.0
    for row in rows:
        if isinstance(row, Outcome):
            _draw_row(axes, theme, height, row)
        else:
            axes.text(-1.06, height + 0.3, row.file, color=theme.ink, fontsize=9.5, fontweight="bold", va="center")
        height += _room(row)
    for side, text in (("right", "lower than the baseline ←  "), ("left", "  → higher")):
        axes.text(0, height + 0.15, text, color=theme.quiet, fontsize=8.2, ha=side, va="center")
    axes.set_xlim(-1.06, 1.06)
    axes.set_ylim(height + 0.3, 0)


def _draw_row(axes: Axes, theme: Theme, height: float, outcome: Outcome) -> None:
    """The claim's name and figures, and below them the bar on the scale of the row."""
    tested = outcome.verdict in _MARKS
    shape, area, place = _MARKS.get(outcome.verdict, ("o", 36, None))
    colour = theme.quiet if place is None else theme.palette[place]
    low, mean, high = outcome.low, outcome.mean, outcome.high
    size = claimed(outcome.claim) if not outcome.claim.not_tested else None
    widest = max((abs(v) for v in (low, mean, high, size) if v is not None and math.isfinite(v)), default=0.0) or 1.0
    bar = height + (0.74 if is_narrow(axes) else 0.64)
    if math.isfinite(mean):
        axes.plot([0, 0], [bar - 0.15, bar + 0.15], color=theme.quiet, linewidth=1, zorder=1)
        axes.plot([-1.06, 1.06], [bar, bar], color=theme.grid, linewidth=0.8, zorder=0)
        axes.plot([low / widest, high / widest], [bar] * 2, color=colour, linewidth=2.4, zorder=3)
        face = colour if tested else theme.page
        axes.scatter(
            [mean / widest], [bar], marker=shape, s=area, color=face, edgecolors=colour, linewidths=1, zorder=4
        )
        if size is not None:
            x, y = [size / widest], [bar]
            axes.scatter(x, y, marker="D", s=34, zorder=5, facecolors="none", edgecolors=theme.ink, linewidths=1.1)
    figures = words.difference(outcome)
    text = f"{figures}: {outcome.verdict}" if math.isfinite(mean) else outcome.verdict
    line: dict[str, Any] = {"fontsize": 8.2, "va": "center", "zorder": 6}
    if is_narrow(axes):
        axes.text(-1.06, height + 0.2, outcome.claim.name, color=theme.ink, **line)
        axes.text(-1.06, height + 0.45, text, color=colour, **line)
    else:
        axes.text(-1.06, height + 0.3, outcome.claim.name, color=theme.ink, **line)
        axes.text(1.06, height + 0.3, text, color=colour, ha="right", **line)
