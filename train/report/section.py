"""A part of a report, independent of whether it ends as HTML or Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .canvas import Plot
from .table import Table


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        sentence: before anything else; words between backticks are set as code.
        plots: pictures, before the tables that hold their figures.
    """

    title: str
    sentence: str = ""
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """What a link to the section ends in."""
        return anchor(self.title)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.plots or self.tables)


def anchor(title: str) -> str:
    """``Loss by frequency, and more -> loss-by-frequency-and-more``, as Markdown's readers make it of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
