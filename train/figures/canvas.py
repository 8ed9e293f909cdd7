"""Pictures in the report's style: colours, type sizes, sizes on the page, and PNG files of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
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

from ..storage import write_atomically

# Okabe and Ito's palette, told apart with every common form of colour blindness; its yellow is left out, since a
# yellow line on white is hardly seen, and the baseline takes the place of its black.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b3578f", "#b97f00", "#3a97d3")
_DARK = ("#56b4e9", "#f08a4b", "#2ec4a0", "#e39bc6", "#e8b93a", "#9ad0f5")
# Beyond six variants colours come round again with another stroke.
_STROKES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

Stroke = str | tuple[int, tuple[float, ...]]

DOTTED: Stroke = (0, (1, 2))
"""Of a line that marks a place, such as the training length."""


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

Draw = Callable[[Axes, Theme], None]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture, drawn when it is asked for: for a light and for a dark page, each also for a phone's screen.

    Attributes:
        file: name of the PNG in the report's folder (the light, wide one).
        alt: what is to be seen, for those who do not see it.
        draw: draws on fresh axes.
        height: in inches, at :data:`WIDE` inches of width.
        narrow_height: at :data:`NARROW` inches of width; None is ``height``.
    """

    draw: Draw
    file: str
    title: str
    caption: str
    alt: str
    height: float = 3.6
    narrow_height: float | None = None

    @cached_property
    def light(self) -> bytes:
        return draw_png(self.draw, LIGHT, WIDE, self.height)

    @cached_property
    def dark(self) -> bytes:
        return draw_png(self.draw, DARK, WIDE, self.height)

    @cached_property
    def narrow_light(self) -> bytes:
        return draw_png(self.draw, LIGHT, NARROW, self.narrow_height or self.height)

    @cached_property
    def narrow_dark(self) -> bytes:
        return draw_png(self.draw, DARK, NARROW, self.narrow_height or self.height)

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height of the wide one as a page lays it out, in pixels."""
        return round(100 * WIDE), round(100 * self.height)

    def write(self, folder: Path) -> None:
        """The light, wide one into ``folder``, whole or not at all."""
        write_atomically(folder / self.file, self.light)


def draw_png(draw: Draw, theme: Theme, width: float, height: float) -> bytes:
    """What ``draw`` draws on axes of its own, ``width`` by ``height`` inches; the same drawing gives the same bytes."""
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
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "xtick.color": theme.quiet,
        "ytick.color": theme.quiet,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.8,
        "lines.markersize": 3.5,
        "legend.frameon": False,
    }


def is_narrow(axes: Axes) -> bool:
    """Whether the picture is the one for a phone's screen."""
    return axes.figure.get_figwidth() <= NARROW  # type: ignore[union-attr]


def subplots(axes: Axes, rows: int, columns: int = 1, *, share: bool = True) -> list[Axes]:
    """``rows`` x ``columns`` axes in place of ``axes``, row by row; ``share`` gives them the same limits."""
    if rows == columns == 1:
        return [axes]
    figure = axes.figure
    axes.remove()
    return list(figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).flat)
