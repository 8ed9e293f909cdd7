"""``lmzoo check``: whether a part keeps what a part of its slot promises."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# torch's profiler, which measures memory, would write a line to the terminal whenever it starts and stops
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
import yaml
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from torch import nn

from ..errors import ArgumentError, nearest
from ..layers.testing import SLOTS, Candidate, Outcome, Promise, Slot, slot_of, try_promise
from ..layers.testing.attention_promises import COMPILATION
from ..models import build
from ..models.contract import model_promises
from .check_report import show, write_json
from .check_yaml import yaml_promise
from .config import ConfigError
from .help_format import ExampleFormatter
from .own_code import importable, load_class
from .progress import quiet_libraries
from .schema import init_parameters, part_base

_DESCRIPTION = """Try everything that a part of a model promises, one thing at a time; say of what is broken what was
seen, what it means and what helps. Exit code 0: all kept; 1: something broken; 2: the part cannot be found or built.
This imports the file or module that you name, which runs its code.
Examples:
  lmzoo check SoftplusAttention
  lmzoo check my_attention.py:MyAttention --init sharpness=2 d_model=64
  lmzoo check package.module:MyHead --init vocab_size=1000 --json check.json"""


def main(arguments: Sequence[str]) -> int:
    """Parse, find the part, try its promises, show them."""
    parser = ArgumentParser(prog="lmzoo check", description=_DESCRIPTION, formatter_class=ExampleFormatter)
    parser.add_argument(
        "part", type=str, help="file.py:Class, package.module:Class, or the name of a part of lmzoo; its code is run"
    )
    parser.add_argument(
        "--init",
        type=str,
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="arguments of its constructor, read as YAML; sizes that are not given are small ones",
    )
    parser.add_argument(
        "--slot",
        type=str | None,
        default=None,
        help=f"{', '.join(SLOTS)}; by its base class if not given",
    )
    parser.add_argument(
        "--only", type=str | None, default=None, metavar="a,b", help="try these promises only, by their short names"
    )
    parser.add_argument(
        "--compile", action="store_true", help="attention: also under torch.compile, which takes many seconds"
    )
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="write the outcomes for machines")
    a = parser.parse_args(list(arguments))
    quiet_libraries()
    with importable(Path.cwd()):
        slot, candidate = find(a.part, a.init, a.slot)
        promises = _chosen(_promises(slot, a.compile), a.only)
        outcomes = try_all(promises, candidate)
    console = Console(highlight=False)
    show(console, slot.name, candidate, outcomes)
    if a.json is not None:
        write_json(Path(a.json), slot.name, candidate, outcomes)
        console.print(f"written to {a.json}", markup=False, soft_wrap=True)
    return 1 if any(outcome.status == "broken" for outcome in outcomes) else 0


def find(name: str, words: Sequence[str], slot_name: str | None) -> tuple[Slot, Candidate]:
    """The part that a command line names, with its slot and all its arguments.

    Raises:
        ConfigError, ArgumentError: there is no such class, it fits no slot, or it cannot be built.
    """
    part = load_class(name)
    if not issubclass(part, nn.Module):
        raise ConfigError(f"expected a torch.nn.Module, such as one that inherits lmzoo.layers.Attention, got {name}")
    slot = slot_of(part, slot_name)
    candidate = slot.candidate(part, {})
    known = init_parameters(part)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"expected NAME=VALUE, such as d_model=64, got {word!r}", key="--init")
        if key not in known and not open_ended:
            close = ", ".join(nearest(key, known)) or "it takes none"
            raise ConfigError(f"{part.__name__} has no argument {key!r}; nearest: {close}", key="--init")
        given[key] = _value(text, known.get(key))
    candidate = slot.candidate(part, given)
    _check_builds(candidate, known)
    return slot, candidate


def try_all(promises: Sequence[Promise], candidate: Candidate) -> list[Outcome]:
    """Try one promise after the other, and say which one."""
    outcomes = []
    columns = SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn()
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=len(promises))
        for promise in promises:
            progress.update(task, description=promise.text)
            outcomes.append(try_promise(promise, candidate))
            progress.advance(task)
    return outcomes


def _promises(slot: Slot, compiled: bool) -> dict[str, Promise]:
    yaml_one = yaml_promise(slot.name)
    found = {**slot.promises, **model_promises(slot.name), yaml_one.name: yaml_one}
    if compiled:
        if slot.name != "attention":
            raise ArgumentError("compile", "an attention layer", slot.name)
        found[COMPILATION.name] = COMPILATION
    return found


def _chosen(promises: dict[str, Promise], only: str | None) -> list[Promise]:
    if only is None:
        return list(promises.values())
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in promises:
            raise ConfigError(
                f"no promise is called {name!r}; nearest: {', '.join(nearest(name, promises))}", key="--only"
            )
    return [promises[name] for name in names]


def _value(text: str, parameter: inspect.Parameter | None) -> Any:
    """A value read as YAML; where the constructor takes a part, the part."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {text!r}", key="--init") from error
    takes_part = parameter is not None and part_base(parameter.annotation) is not None
    if takes_part and isinstance(value, str | dict):
        return build(value, allow_foreign=True)
    return value


def _check_builds(candidate: Candidate, known: dict[str, inspect.Parameter]) -> None:
    """Build it once: a part that cannot be built would break every promise in the same way."""
    name = candidate.part.__name__
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [key for key, p in known.items() if p.default is p.empty and p.kind not in open_ended]
    missing = [key for key in needed if key not in candidate.arguments]
    if missing:
        words = " ".join(f"{key}=..." for key in missing)
        raise ConfigError(f"{name} needs {' and '.join(missing)}; give --init {words}")
    try:
        with torch.random.fork_rng(devices=[]):
            candidate()
    except ArgumentError:
        raise
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in candidate.arguments.items())
        text = " ".join(str(error).split())
        raise ConfigError(f"{name}({given}) cannot be built: {type(error).__name__}: {text}") from error
