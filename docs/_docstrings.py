"""Docstrings as they are written here, made into the Markdown that mkdocstrings expects."""

from __future__ import annotations

import re
from collections.abc import Iterator

import griffe

_ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):`([^`]+)`")
_LITERAL = re.compile(r"^( *)(.*?)::$", re.MULTILINE)
_BORDER = re.compile(r"^ *=+(?: +=+)+$")


class ReadableDocstrings(griffe.Extension):
    """Roles become links, ``::`` before an equation a colon, and tables between rows of ``=`` tables with bars."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: object) -> None:
        """Rewrite every docstring of the package once all of it is known, so that names can be looked up."""
        for owner in _objects(pkg):
            if owner.docstring is not None:
                owner.docstring.value = readable(owner.docstring.value, owner)


def readable(text: str, owner: griffe.Object) -> str:
    """The docstring of ``owner`` as Markdown."""
    text = "\n".join(_tables(text.splitlines()))  # first: their columns are counted in characters
    text = _LITERAL.sub(lambda match: f"{match[1]}{match[2]}:" if match[2] else "", text)
    return _ROLE.sub(lambda match: _link(match[1], owner), text)


def _objects(owner: griffe.Object) -> Iterator[griffe.Object]:
    yield owner
    for member in owner.members.values():
        if isinstance(member, griffe.Object):
            yield from _objects(member)


def _link(name: str, owner: griffe.Object) -> str:
    """A link where the name is on some page, its plain name elsewhere."""
    shown = name.rpartition(".")[2] if name.startswith(("lmzoo.", ".")) else name
    found = _resolved(name, owner)
    return f"`{shown}`" if found is None else f'<autoref identifier="{found}" optional><code>{shown}</code></autoref>'


def _resolved(name: str, owner: griffe.Object) -> str | None:
    if name.startswith("lmzoo."):
        return name
    first, _, rest = name.partition(".")
    scope: griffe.Object | None = owner
    while scope is not None:
        # a method's docstring names its neighbours, which the scope rules of Python would not find
        if scope.is_class and first in scope.all_members:
            return f"{scope.path}.{name}"
        scope = scope.parent
    try:
        found = owner.resolve(first)
    except griffe.NameResolutionError:
        return None
    return f"{found}.{rest}" if rest else found


def _tables(lines: list[str]) -> Iterator[str]:
    inside: list[str] | None = None
    borders = 0
    for i, line in enumerate(lines):
        if not _BORDER.match(line):
            if inside is None:
                yield line
            else:
                inside.append(line)
            continue
        if inside is None:
            inside, borders = [line], 1
            continue
        borders += 1
        # a table has two rows of = without a header and three with one
        more = any(_BORDER.match(later) for later in _until_blank(lines[i + 1 :]))
        if borders == 2 and more:
            inside.append("")
            continue
        yield from _bars(inside)
        inside = None


def _until_blank(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            return
        yield line


def _bars(table: list[str]) -> list[str]:
    border, *body = table
    spans = [match.span() for match in re.finditer(r"=+", border)]
    ends = [*(start for start, _ in spans[1:]), None]
    rows: list[list[str]] = []
    header = body.index("") if "" in body else 0
    for line in body:
        if not line:
            continue
        cells = [line[start:end].strip().replace("|", r"\|") for (start, _), end in zip(spans, ends)]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # a row that goes on
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells)]
    if not header:
        rows.insert(0, [""] * len(spans))
    drawn = [f"| {' | '.join(cells)} |" for cells in rows]
    drawn.insert(1, f"|{' --- |' * len(spans)}")
    return drawn
