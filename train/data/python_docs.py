"""The English prose that every CPython carries."""

from __future__ import annotations

import ast
import inspect
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from .corpus import Corpus, CorpusError
from .files import split_of

DUPLICATE_LENGTH = 80
"""Paragraphs of at least this many characters stand in the corpus once."""

_EXCLUDED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data", "_bundled"}

_BLANK_LINES = re.compile(r"\n(?:[ \t\r\f\v]*\n)+")


class PythonDocs(Corpus):
    """The topics of ``pydoc_data`` and the docstrings of the standard library, about 2 MB.

    Read from the running interpreter's own source files with ``ast``; no module is imported. A document is one topic,
    or all docstrings of one module in source order, a blank line between them. Documents go to splits by a hash of
    their name. A paragraph (white space collapsed) of 80 characters or more is kept where it stands first, in the order
    of names, and left out elsewhere, so that none of validation or test stands in another split. The text differs
    between Python versions: compare runs by the text's hash.

    Args:
        library: the folder of the standard library; the running interpreter's by default.
    """

    name = "python-docs"

    def __init__(self, library: str | Path | None = None) -> None:
        self.library = Path(library if library is not None else sysconfig.get_path("stdlib"))

    def documents(self, split: str) -> Iterator[str]:
        yield from (text for key, text in self._deduplicated.items() if split_of(key) == split)

    def stamp(self, split: str) -> dict[str, object]:
        """Every source file's size and time, and the Python that reads them."""
        files = [(name, file.stat().st_size, file.stat().st_mtime_ns) for name, file in self._files]
        # Which files parse depends on the interpreter that parses them.
        return {"library": str(self.library), "python": platform.python_version(), "files": files, "split": split}

    @cached_property
    def _files(self) -> list[tuple[str, Path]]:
        found = []
        for file in self.library.rglob("*.py"):
            relative = file.relative_to(self.library)
            if not _EXCLUDED.intersection(relative.parts[:-1]) or relative.as_posix() == "pydoc_data/topics.py":
                found.append((relative.as_posix(), file))
        return sorted(found)

    def _raw_documents(self) -> dict[str, list[str]]:
        """Document name -> its passages, in the order of names."""
        documents: dict[str, list[str]] = {}
        for name, file in self._files:
            tree = _parse(file)
            if tree is None:
                continue
            if name == "pydoc_data/topics.py":
                documents.update({f"topic:{topic}": [text] for topic, text in _topics(tree).items()})
            elif passages := list(_docstrings(tree)):
                documents[f"module:{name}"] = passages
        if not documents:
            raise CorpusError(
                f"python-docs: no docstring found in {self.library}; this Python comes without its library's source."
                " Use another interpreter, or source: wikitext-2 or a text file"
            )
        return dict(sorted(documents.items()))

    @cached_property
    def _deduplicated(self) -> dict[str, str]:
        seen: set[str] = set()
        kept: dict[str, list[str]] = {}
        for key, passages in self._raw_documents().items():
            paragraphs = []
            for paragraph in _BLANK_LINES.split("\n\n".join(passages)):
                collapsed = _collapse(paragraph)
                if len(collapsed) >= DUPLICATE_LENGTH:
                    if collapsed in seen:
                        continue
                    seen.add(collapsed)
                paragraphs.append(paragraph)
            kept[key] = paragraphs
        _remove_contained(kept)
        joined = {key: "\n\n".join(paragraphs).strip("\n") for key, paragraphs in kept.items()}
        return {key: _valid_unicode(text) + "\n" for key, text in joined.items() if text.strip()}


def _remove_contained(kept: dict[str, list[str]]) -> None:
    """Leave out of validation and test, in place, the paragraphs that stand inside longer ones of another split."""
    collapsed = dict.fromkeys(("train", "validation", "test"), "")
    for split in collapsed:
        collapsed[split] = "\n".join(_collapse("\n".join(kept[key])) for key in kept if split_of(key) == split)
    for key, paragraphs in kept.items():
        own = split_of(key)
        if own == "train":
            continue
        others = [text for split, text in collapsed.items() if split != own]
        kept[key] = [
            paragraph
            for paragraph, text in ((p, _collapse(p)) for p in paragraphs)
            if len(text) < DUPLICATE_LENGTH or not any(text in other for other in others)
        ]


def _collapse(text: str) -> str:
    return " ".join(text.split())


def _valid_unicode(text: str) -> str:
    """Lone surrogates, which some docstrings show by way of example, written as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parse(file: Path) -> ast.Module | None:
    """The module's tree; None for a file that is no valid source, of which the library holds some by intent."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the library are not the reader's business
            return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return None


def _topics(tree: ast.Module) -> dict[str, str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics = ast.literal_eval(node.value)
            return {str(name): inspect.cleandoc(str(text)) for name, text in topics.items()}
    return {}


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Docstrings of a tree in source order."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node, clean=True)
        if text and text.strip():
            yield text
    for child in ast.iter_child_nodes(node):
        yield from _docstrings(child)
