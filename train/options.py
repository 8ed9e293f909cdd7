"""The words of a command line: which are files, which are options, and whether they may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from ..errors import nearest
from .config import ConfigError, Places
from .schema import CLASS_KEYS, check_trust, find_class, part_base, public_path, refuse_foreign

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def split_config_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--config FILE`` (or ``-c``, or with ``=``) out of the words of a command line."""
    files: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in ("--config", "-c"):
            rest.append(word)
            continue
        file = value if equals else next(words, None)
        if not file:
            raise ConfigError("expected a YAML file after it", key=name, place="command line")
        files.append(file)
    return files, rest


def options(arguments: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """A command line's options as (key, value), values read as YAML: ``--a.b=c``, ``--a.b c``, ``--a.b+=c``."""
    for i, word in enumerate(arguments):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            following = arguments[i + 1] if i + 1 < len(arguments) else ""
            yield name.removesuffix("+"), _yaml_value(value if equals else following)


def _yaml_value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def part_keys(parser: ArgumentParser) -> dict[str, type]:
    """The keys that take a part, with the class it has to be of."""
    return {a.dest: base for a in parser._actions if (base := part_base(getattr(a, "_typehint", None)))}


def refuse_foreign_options(arguments: Sequence[str], parser: ArgumentParser) -> None:
    """Refuse options that would import code from outside the trusted packages, at any depth of a part."""
    below_parts = tuple(f"{key}." for key in part_keys(parser))
    for key, value in options(arguments):
        places = Places({key: "command line"})
        check_trust(value, places, key)
        if key.startswith(below_parts) and isinstance(value, str) and _DOTTED.fullmatch(value):
            refuse_foreign(value, key, places)


def refuse_unknown_options(arguments: Sequence[str], parser: ArgumentParser) -> None:
    """Name the nearest options for a misspelt one; options below a part are jsonargparse's to judge."""
    known = {o for a in parser._actions for o in a.option_strings}
    known -= {"--model", "--data", "--data.arithmetic", "--trainer"}  # whole files past our checks; --config is the way
    deeper = tuple(f"--{key}" for key in (*(f"{k}." for k in part_keys(parser)), *CLASS_KEYS))
    for word in arguments:
        name = word.partition("=")[0]
        if not name.startswith("--") or name in known or name.startswith(deeper):
            continue
        close = ", ".join(nearest(name, known))
        raise ConfigError(f"unknown option; nearest valid options: {close}", key=name, place="command line")


def full_class_paths(arguments: Sequence[str], parser: ArgumentParser, *, allow_classes: bool) -> list[str]:
    """Write ``--model.feed_forward SwiGLU`` out as its full class path, with the same checks as in a file."""
    bases = part_keys(parser)
    words = list(arguments)
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        key = name.removeprefix("--").removesuffix(".class_path")
        if not name.startswith("--") or key not in bases:
            continue
        value = value if equals else (words[i + 1] if i + 1 < len(words) else "")
        if not value or value[0] in "{[-" or value == "null":
            continue
        place = Places({key: "command line"})
        full = public_path(find_class(value, bases[key], key, place, allow_classes=allow_classes))
        if equals:
            words[i] = f"{name}={full}"
        else:
            words[i + 1] = full
    return words


def config_of_run(arguments: Sequence[str]) -> Path:
    """The stored configuration of the run that ``validate`` and ``test`` were pointed at."""
    for key, value in options(arguments):
        if key == "run_dir":
            file = Path(str(value or "")) / "config.yaml"
            if not file.is_file():
                raise ConfigError(
                    f"expected the folder of a run, with a config.yaml in it, got {file.parent}", key="--run_dir"
                )
            return file
    raise ConfigError("give the run to evaluate: --run_dir FOLDER", place="command line")
