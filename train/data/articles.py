"""Where one document ends and the next begins in a stream of lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_TITLE = re.compile(r" = [^=\s].* = \r?\n")
_MARKER = re.compile(r"<doc id=[^>\n]*>\r?\n?")
_END_MARKER = re.compile(r"</doc>\r?\n?")


def wikitext_articles(lines: Iterable[str]) -> Iterator[str]:
    """Cut WikiText's lines into articles; their concatenation is the input, character for character.

    A title is a line `` = Title = `` (no second equals sign, which would make it a section's heading) that has a blank
    line before and after it. The form alone is not enough: WikiText-2 has lines of body text such as
    `` = 1 <unk> and <unk> C = ``, left over from formulas and tables, that no blank line parts from their neighbours.
    An article begins with the blank line before its title; text before the first title is a document of its own.
    """
    article: list[str] = []
    for line in lines:
        # Known for a title only now that the line after it is here.
        titled = article and _TITLE.fullmatch(article[-1]) and (len(article) == 1 or _is_blank(article[-2]))
        if titled and _is_blank(line) and len(article) > 2:
            yield "".join(article[:-2])
            article = article[-2:]
        article.append(line)
    if article:
        yield "".join(article)


def _is_blank(line: str) -> bool:
    return not line.strip(" \r\n")


def is_marked(first_line: str) -> bool:
    """Whether a file that begins with this line holds articles between ``<doc id=...>`` and ``</doc>`` lines."""
    return _MARKER.fullmatch(first_line) is not None


def marked_articles(lines: Iterable[str]) -> Iterator[str]:
    """Articles between marker lines ``<doc id=...>`` and ``</doc>``; the markers are no part of the text.

    Blank lines at both ends of an article, which the extractor adds, are left out; text outside the markers is an
    article too, so nothing but markers and blank lines is lost. An article without text is none.
    """
    article: list[str] = []
    for line in lines:
        if _MARKER.fullmatch(line) or _END_MARKER.fullmatch(line):
            yield from _trimmed(article)
            article = []
        else:
            article.append(line)
    yield from _trimmed(article)


def _trimmed(article: list[str]) -> Iterator[str]:
    text = "".join(article).strip("\r\n")
    if text.strip():
        yield text + "\n"
