"""How a command's ``--help`` is laid out."""

from __future__ import annotations

from itertools import groupby

from jsonargparse import DefaultHelpFormatter


class ExampleFormatter(DefaultHelpFormatter):
    """Fills a description as usual, but leaves its examples, indented below ``Examples:``, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for is_kept, lines in groupby(text.splitlines(), _is_kept):
            block = "\n".join(lines)
            filled.append(block if is_kept else super()._fill_text(block, width, indent))
        return "\n".join(filled)


def _is_kept(line: str) -> bool:
    return line.startswith("  ") or line in ("", "Example:", "Examples:")
