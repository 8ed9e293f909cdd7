"""The claims as a forest plot: effect, interval and what was claimed, a row each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from ..report.canvas import Plot, draw_plot
from ..report.theme import Theme
from . import words
from .claim import Paper
from .judge import claimed
from .outcome import Outcome

FILE = "claims.png"
# shape and place in the palette of each verdict, so that colour alone never tells
_MARKS = {"supported": ("o", 0), "not supported": ("X", 1), "tie": ("s", 2)}


def claims_plot(outcomes: Sequence[Outcome]) -> Plot:
    """One picture of all outcomes, grouped by paper."""
    rows = _rows(outcomes)
    counts = {word: sum(o.verdict == word for o in outcomes) for word in (*_MARKS, "not tested")}
    summary = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    return draw_plot(
        lambda axes, theme: _draw(axes, theme, rows),
        file=FILE,
        title="Claims",
        caption="Mean difference to the baseline with its 95 % interval over seeds; the diamond is the size that was "
        "claimed, or the bound, and the vertical line no difference. Every row has a scale of its own: compare a bar "
        "with its own line and diamond, and read sizes in the figures. Circle: supported; cross: not supported; "
        "square: tie.",
        alt=f"Forest plot of {len(outcomes)} claims: {summary}.",
        height=0.7 + 0.42 * len(rows),
    )


def _rows(outcomes: Sequence[Outcome]) -> list[Paper | Outcome]:
    rows: list[Paper | Outcome] = []
    for outcome in outcomes:
        if outcome.paper not in rows:
            rows.append(outcome.paper)
        rows.append(outcome)
    return rows


def _draw(axes: Axes, theme: Theme, rows: Sequence[Paper | Outcome]) -> None:
    for height, row in enumerate(rows):
        if isinstance(row, Outcome):
            _draw_row(axes, theme, height, row)
    axes.axvline(0, color=theme.quiet, linewidth=1, zorder=1)
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xticks([])
    axes.set_xlabel("lower than the baseline  |  higher")
    labels = [row.claim.name if isinstance(row, Outcome) else row.file for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(theme.quiet if isinstance(row, Outcome) else theme.ink)
        tick.set_fontsize(8.5 if isinstance(row, Outcome) else 9.5)
        tick.set_fontweight("normal" if isinstance(row, Outcome) else "bold")
    axes.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_row(axes: Axes, theme: Theme, height: int, outcome: Outcome) -> None:
    tested = outcome.verdict in _MARKS
    shape, place = _MARKS.get(outcome.verdict, ("o", 0))
    colour = theme.palette[place] if tested else theme.quiet
    low, mean, high = outcome.low, outcome.mean, outcome.high
    size = claimed(outcome.claim) if not outcome.claim.not_tested else None
    widest = max((abs(v) for v in (low, mean, high, size) if v is not None and math.isfinite(v)), default=0.0) or 1.0
    if tested:
        axes.plot([low / widest, high / widest], [height + 0.14] * 2, color=colour, linewidth=2.2, zorder=3)
    if math.isfinite(mean):
        axes.scatter([mean / widest], [height + 0.14], marker=shape, s=34, color=colour, linewidths=0, zorder=4)
        if size is not None:
            x, y = [size / widest], [height + 0.14]
            axes.scatter(x, y, marker="D", s=30, zorder=5, facecolors="none", edgecolors=theme.ink, linewidths=1.1)
    figures = words.difference(outcome)
    text = f"{figures}: {outcome.verdict}" if math.isfinite(mean) else outcome.verdict
    box = {"facecolor": theme.page, "edgecolor": "none", "pad": 0.6}
    axes.text(0, height - 0.24, text, color=colour, fontsize=8, ha="center", va="center", zorder=6, bbox=box)
