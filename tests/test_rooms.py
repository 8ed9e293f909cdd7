"""Imports go downwards between rooms and never in a circle; a command loads what it needs."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Rooms of train/ that may not be imported from a room of the table: the door, and the commands about single parts.
DOORS = {"train/cli.py", "train/__main__.py", "train/__init__.py"}


@cache
def files() -> dict[str, Path]:
    """Path in the repository -> file, of all source files."""
    folders = ("layers", "models", "tokenization", "train")
    return {path.relative_to(ROOT).as_posix(): path for name in folders for path in sorted((ROOT / name).rglob("*.py"))}


def dotted(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def imported(file: str) -> frozenset[str]:
    """The files that a file imports, wherever the statement stands: at its top, in a function, for types alone."""
    home = dotted(file).split(".")
    package = home if file.endswith("__init__.py") else home[:-1]
    there = {dotted(name): name for name in files()}
    found = set()
    for node in ast.walk(ast.parse(files()[file].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                found.add(there.get(f"{module}.{alias.name}") or there.get(module, ""))
    return frozenset(found - {"", file})


def reached(start: str) -> set[str]:
    """The files of train/ that are loaded with a file, itself among them."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += [name for name in imported(file) if name.startswith("train/")]
    return seen


def room(file: str) -> str:
    """The room of a file of train/; ``flat files`` for one that stands in none."""
    parts = file.split("/")
    return parts[1] if len(parts) > 2 else "flat files"


def rooms(page: str = "CONTRIBUTING.md") -> list[str]:
    """The rooms in their order, as the page writes it down."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = re.split(r"^##+ The rooms of .*$", text, flags=re.MULTILINE)[1].partition("\n## ")[0]
    return [name.strip("`/") for name in re.findall(r"^\| (`\w+/`|flat files) \|", table, re.MULTILINE)]


def test_the_map_names_every_room():
    there = {room(file) for file in files() if file.startswith("train/")}
    assert there == {*rooms(), "parts"}
    assert rooms()[0] == "flat files"
    assert rooms("docs/architecture.md") == rooms()


def test_a_room_imports_only_the_rooms_above_it_in_the_map():
    order = rooms()
    upwards = []
    for file in files():
        if not file.startswith("train/") or file in DOORS:
            continue
        home = room(file)
        # parts/ stands beside report/ and compare/: it imports neither, and no room imports it
        below = order[: order.index("report")] if home == "parts" else order[: order.index(home)]
        allowed = {home, *below}
        upwards += [
            f"{file} -> {name}" for name in imported(file) if name[:6] == "train/" and room(name) not in allowed
        ]
    assert upwards == []


def test_no_file_imports_in_a_circle():
    """Depth first; a file that is met again while what it imports is still being followed closes a circle."""
    done: set[str] = set()
    path: list[str] = []
    circles = []

    def follow(file: str) -> None:
        if file in path:
            circles.append(" -> ".join([*path[path.index(file) :], file]))
        elif file not in done:
            path.append(file)
            for name in sorted(imported(file)):
                follow(name)
            path.pop()
            done.add(file)

    for file in files():
        follow(file)
    assert circles == []


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ("train/evaluate/generate.py", 25),
        ("train/evaluate/split.py", 35),
        ("train/evaluate/extrapolate/command.py", 60),
        ("train/compare/command.py", 110),
    ],
)
def test_a_command_loads_what_it_needs(command, most):
    files_reached = reached(command)
    assert len(files_reached) > 5  # it does import something: a renamed file would reach only itself
    assert len(files_reached) <= most, sorted(files_reached)


def test_the_files_to_read_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d\. `([\w/]+\.py)`", text, re.MULTILINE)
    assert len(listed) == 6
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Read the code")[2].partition("\n## ")[0]
    assert re.findall(r"\[([\w/]+\.py)\]\(\1\)", readme) == listed
    text += (ROOT / "README.md").read_text(encoding="utf-8")
    text += (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b((?:layers|models|tokenization|train|tests)/[\w/]+\.py)\b", text))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
