"""What mkdocs is told beyond mkdocs.yml: where the package lies, and equations as MathML."""

from __future__ import annotations

import html
import re
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parent.parent

_EQUATION = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)

_copies: list[tempfile.TemporaryDirectory[str]] = []


@event_priority(100)  # before mkdocstrings looks at its settings
def on_config(config: Any) -> Any:
    """Let mkdocstrings read this checkout's own sources.

    The repository root is the package, whatever its folder is called, and beside the package lie environments and
    tests. So the folders that pyproject.toml names are copied, sources alone, to where they are called lmzoo.
    """
    _copies.append(tempfile.TemporaryDirectory(prefix="lmzoo-docs-"))
    place = Path(_copies[-1].name)
    with (ROOT / "pyproject.toml").open("rb") as stream:
        packages: list[str] = tomllib.load(stream)["tool"]["setuptools"]["packages"]
    for package in packages:
        target = place.joinpath(*package.split("."))
        target.mkdir(parents=True)
        for source in ROOT.joinpath(*package.split(".")[1:]).glob("*.py"):
            shutil.copy(source, target)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(place)]
    return config


def on_page_content(content: str, **_: Any) -> str:
    """Turn LaTeX into MathML, which every browser draws by itself: no script, no fonts, no network."""
    return _EQUATION.sub(_mathml, content)


def on_post_build(**_: Any) -> None:
    """Remove the copies."""
    while _copies:
        _copies.pop().cleanup()


def _mathml(equation: re.Match[str]) -> str:
    latex = html.unescape(equation["latex"]).strip()
    if equation["tag"] == "span":
        return str(convert(latex))
    return f'<div class="equation">{convert(latex, display="block")}</div>'
