"""Line charts: lines against a length or another quantity, panels below each other, names at the lines' ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from .canvas import DOTTED, Stroke, Theme, subplots
from .formats import plain
from .labels import label_ends

_MARKED = 16  # points of a line; each of more has no marker of its own
_MOST_TICKS = 6  # of a logarithmic axis without places for them

Points = tuple[Sequence[float], Sequence[float]]
"""Their x and their y."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        low, high: how far each point's bar or the line's band reaches; empty: it has none.
        dots: points around the line, such as seeds around their mean.
        thin: lines around it.
        thin_alpha: opacity of these.
        named: whether it has a colour and its name; others are grey, behind.
    """

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: Points = ((), ())
    thin: Sequence[Points] = ()
    thin_alpha: float = 0.5
    named: bool = True


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Draws panels that share their axes, lines of one name alike in all of them; a :data:`~.canvas.Draw`.

    Attributes:
        panels: heading and name -> line of each, from the top.
        names, baseline: what colours and strokes are given to, in this order.
        ticks: of the x axis; none: where they fall.
        tick_labels: what they are called, if not by their number.
        log_x: base of a logarithmic x axis; None: linear, and without ticks from 0.
        bands: whether a line's spread is a band, else bars.
        limits: of the y axis; None: what the lines need, and with ``from_zero`` 0.
        marks: where dotted lines stand upright, if that is inside the axes.
        mark_label: what they are; said below the x axis if one is there.
        level: where a dashed line lies.
        names_at: the x beside which names stand; None: each at its line's end.
    """

    panels: Sequence[tuple[str, Mapping[str, Line]]]
    names: Sequence[str]
    baseline: str
    x_label: str
    y_label: str
    ticks: Sequence[float] = ()
    tick_labels: Sequence[str] = ()
    x_format: Callable[[float], str] = lambda x: plain(x, 0)
    log_x: int | None = None
    log_y: bool = False
    bands: bool = False
    limits: tuple[float, float] | None = None
    from_zero: bool = False
    marks: Sequence[float] = ()
    mark_label: str = ""
    level: float | None = None
    names_at: float | None = None

    def __call__(self, axes: Axes, theme: Theme) -> None:
        styles = theme.styles(self.names, self.baseline)
        panels = dict(zip(subplots(axes, len(self.panels)), self.panels, strict=True))
        for panel, (heading, lines) in panels.items():
            for name, line in lines.items():
                if line.named:
                    self._draw_line(panel, name, line, *styles[name])
                else:
                    panel.plot(line.x, line.y, color=theme.quiet, linewidth=0.8, alpha=0.4, zorder=1)
            if self.level is not None:
                panel.axhline(self.level, color=theme.quiet, linewidth=1.0, linestyle=(0, (5, 3)), zorder=0)
            panel.set_title(heading, wrap=True)
            panel.set_ylabel(self.y_label)
            panel.grid(axis="y")
        first, *_, last = panels if len(panels) > 1 else [*panels, *panels]
        self._set_axes(first)
        low, high = first.get_xlim()
        inside = [mark for mark in self.marks if low < mark < high]
        for panel in panels:
            for mark in inside:
                panel.axvline(mark, color=theme.quiet, linewidth=1.0, linestyle=DOTTED, zorder=0)
        last.set_xlabel(
            self.x_label + (f"; dotted: {self.mark_label}" if inside and self.mark_label else ""), wrap=True
        )
        last.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
        for panel, (_, lines) in panels.items():
            ends = {name: line for name, line in lines.items() if line.named and _has_end(line)}
            label_ends(panel, {name: (*self._end(line), styles[name][0]) for name, line in ends.items()})

    def _draw_line(self, panel: Axes, name: str, line: Line, colour: str, stroke: Stroke) -> None:
        for x, y in line.thin:
            panel.plot(x, y, color=colour, linestyle=stroke, linewidth=0.7, alpha=line.thin_alpha)
        panel.scatter(*line.dots, s=9, color=colour, alpha=0.5, linewidths=0)
        if len(line.low) and self.bands:
            panel.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
        elif len(line.low):
            panel.vlines(line.x, line.low, line.high, color=colour, linewidth=1.0, alpha=0.6)
        marker = "o" if len(line.x) <= _MARKED else None
        panel.plot(line.x, line.y, color=colour, linestyle=stroke, marker=marker, label=name)

    def _set_axes(self, axes: Axes) -> None:
        """Scale, ticks and limits; panels share those of the first."""
        if self.log_y:
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: plain(y, 0)))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5))
        locator: Locator = MaxNLocator(5)
        if self.log_x is not None:
            axes.set_xscale("log", base=self.log_x)
            axes.xaxis.set_minor_locator(NullLocator())
            locator = LogLocator(base=self.log_x, numticks=_MOST_TICKS)
        elif not self.ticks:
            axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(FixedLocator(self.ticks) if self.ticks else locator)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: self.x_format(x)))
        if self.tick_labels:
            axes.set_xticks(self.ticks, self.tick_labels)
        if self.from_zero:
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if self.limits is not None:
            axes.set_ylim(*self.limits)

    def _end(self, line: Line) -> tuple[float, float]:
        return (line.x[-1] if self.names_at is None else self.names_at), line.y[-1]


def _has_end(line: Line) -> bool:
    return len(line.x) > 0 and math.isfinite(line.y[-1])


def side_by_side(count: int, step: float) -> list[float]:
    """How far each of ``count`` lines is moved sideways, so that points of equal height do not hide each other."""
    return [step * (place - (count - 1) / 2) for place in range(count)]
