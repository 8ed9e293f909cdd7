"""Colours of the plots, on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
