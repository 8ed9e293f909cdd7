"""Taking out of a record what names the machine or the user that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

# Of environment.json: what a figure depends on. The command and the kernel's name say where, not how.
_ENVIRONMENT = ("versions", "commit", "processor", "cores", "torch_threads", "budget", "gpus")
# An absolute path within a text; one part alone, such as "/", is none.
_PATH = re.compile(
    r"(?<![\w./:~\\-])(?:~|file://|[A-Za-z]:)?(?:[/\\][\w.@+~-](?:[\w.@+~ -]*[\w.@+~-])?)+[/\\]?(?=$|[^\w/\\])"
)


def portable_environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, commit, kind of processor, cores, threads and GPUs."""
    return {key: environment[key] for key in _ENVIRONMENT if key in environment}


class Portable:
    """Makes absolute paths relative, wherever they stand in a record.

    A path below one of the roots becomes relative to it; of any other the last part remains, after ``.../``.

    Args:
        roots: folders that a reader has too, such as that in which the commands were typed.
    """

    def __init__(self, *roots: Path) -> None:
        self.roots = sorted({str(root.resolve()) for root in roots}, key=len, reverse=True)

    def __call__(self, value: Any) -> Any:
        """The value with every text in it made portable, keys included."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(key) if isinstance(key, str) else key: self(inner) for key, inner in value.items()}
        return [self(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str) -> str:
        return _PATH.sub(lambda match: self._path(match[0]), text) if "/" in text or "\\" in text else text

    def _path(self, path: str) -> str:
        for root in self.roots:
            if path == root or path.startswith(f"{root}/"):
                return path[len(root) + 1 :] or "."
        last = PureWindowsPath(path).name  # takes both kinds of slashes
        return f".../{last}" if last else path
