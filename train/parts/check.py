"""``lmzoo check``: whether a part keeps what a part of its slot promises."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import SkipTest

# torch's profiler, which measures memory, would write a line to the terminal whenever it starts and stops
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
import yaml
from jsonargparse import ArgumentParser
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from torch import nn

from ...errors import ArgumentError, ConfigError, nearest, require
from ...layers.testing import SLOTS, Candidate, Outcome, Promise, Slot, slot_of, try_promise
from ...layers.testing.attention_checks import COMPILATION
from ...models import build
from ...models.contract import described, model_promises, sizes_of
from ..arguments import ExampleFormatter, quiet_libraries
from ..config import write_yaml
from ..config_check import init_parameters, part_base
from ..fit.lightning_cli import TrainingCLI
from ..own_code import importable, load_class
from ..runs.environment import environment
from ..storage import finite, write_atomically

# byte-level vocabularies have at least the bytes
_FEWEST_TOKENS = 300

_WORDS = {
    "kept": Text("kept", style="green"),
    "broken": Text("BROKEN", style="bold red"),
    "skipped": Text("-", style="dim"),
}

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
        outcomes = try_all(promises_of(slot, a.compile, a.only), candidate)
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


def promises_of(slot: Slot, compiled: bool, only: str | None) -> list[Promise]:
    """The promises of a slot, or those of them that a command line names.

    Raises:
        ConfigError, ArgumentError: a name is unknown, or ``--compile`` does not concern the slot.
    """
    require(not compiled or slot.name == "attention", "compile", "an attention layer", slot.name)
    known = {**slot.promises, **model_promises(slot.name), "yaml": yaml_promise(slot.name)}
    if compiled:
        known[COMPILATION.name] = COMPILATION
    names = list(known) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in known:
            close = ", ".join(nearest(name, known))
            raise ConfigError(f"no promise is called {name!r}; nearest: {close}", key="--only")
    return [known[name] for name in names]


def check_yaml(slot: str, candidate: Candidate) -> None:
    """A YAML file that names the class builds it with its arguments, and what the run would store is the same again."""
    if slot == "norm":
        raise SkipTest("a configuration has no key for the norm")
    part = described(candidate)
    d_model, n_heads = sizes_of(candidate)
    vocab_size = max(_FEWEST_TOKENS, int(candidate.arguments.get("vocab_size", 0)))
    config = {
        "model": {"d_model": d_model, "n_heads": n_heads, "n_layers": 1, slot: part},
        "data": {"source": "python-docs", "vocab_size": vocab_size, "context_length": 16, "batch_size": 2},
        "trainer": {"accelerator": "cpu", "max_steps": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.yaml"
        write_yaml(file, config)
        cli = TrainingCLI("fit", ["--config", str(file), "--allow_classes"])
    cli.model.configure_model()
    modules = [cli.model.loss] if slot == "loss" else list(cli.model.network.modules())
    assert any(type(module) is candidate.part for module in modules), "the model that was built does not hold the part"
    resolved = cli.resolved()
    stored = resolved["model"][slot]
    assert stored["class_path"] == part["class_path"], f"{part['class_path']} was stored as {stored['class_path']}"
    for name, value in part["init_args"].items():
        kept = stored.get("init_args", {}).get(name, "nothing")
        same = kept == value or isinstance(value, dict)  # a part in a part is stored with its defaults
        assert same, f"the argument {name} was {value!r} in the file and {kept!r} in what the run stores"
    again = TrainingCLI("fit", ["--allow_classes"], config=resolved).resolved()
    assert again == resolved, "what the run stores gives another configuration when it is read"


def yaml_promise(slot: str) -> Promise:
    """The promise about configurations of a part of this slot."""
    return Promise(
        "yaml",
        "A YAML file with its class_path and init_args builds it",
        "Neither lmzoo fit nor lmzoo compare can use the part.",
        "Give every constructor argument a type hint (int, float, bool, str, a list of these, or a part) and a default "
        "that has this type; what needs data or a device belongs into a method that is called later, since a model is "
        "first built on torch's meta device, to count its parameters.",
        partial(check_yaml, slot),
    )


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


def show(console: Console, slot: str, candidate: Candidate, outcomes: Sequence[Outcome]) -> None:
    """A table of all promises, what to do about the broken ones, and the count."""
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in candidate.arguments.items())
    console.print(Text(f"{candidate.part.__name__}({arguments}), slot {slot}", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True, style="dim")
    table.add_column("promise")
    table.add_column("s", justify="right", no_wrap=True)
    for outcome in outcomes:
        text = Text(outcome.promise.text)
        if outcome.status == "skipped":
            text.append(f" (not tried: {outcome.seen})", style="dim")
        table.add_row(_WORDS[outcome.status], outcome.promise.name, text, f"{outcome.seconds:.1f}")
    console.print(table)
    broken = [outcome for outcome in outcomes if outcome.status == "broken"]
    for outcome in broken:
        console.print(Text.assemble((outcome.promise.name, "bold red"), ": ", outcome.promise.text))
        details = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        place = f" (at {outcome.where})" if outcome.where else ""
        sentences = {"seen": outcome.seen + place, "means": outcome.promise.means, "do": outcome.promise.advice}
        for what, sentence in sentences.items():
            details.add_row(Text(what, style="dim"), Text(sentence))
        console.print(Padding(details, (0, 0, 1, 2)))
    tried = sum(outcome.status != "skipped" for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    kept = f"{tried - len(broken)} of {tried} promises kept, in {seconds:.1f} s"
    console.print(Text(kept, style="bold red" if broken else "bold green"))


def write_json(file: Path, slot: str, candidate: Candidate, outcomes: Sequence[Outcome]) -> None:
    """The same as one JSON object, with the versions that it was found with."""
    try:
        part: Any = described(candidate)
    except ArgumentError:  # an argument is not kept, or has no JSON form; the table says so
        part = {"class_path": f"{candidate.part.__module__}.{candidate.part.__qualname__}"}
    content = {
        "part": part,
        "slot": slot,
        "arguments": {name: _plain(value) for name, value in candidate.arguments.items()},
        "kept": all(outcome.status != "broken" for outcome in outcomes),
        "promises": [
            {
                "name": outcome.promise.name,
                "promise": outcome.promise.text,
                "status": outcome.status,
                "seconds": outcome.seconds,
                "seen": outcome.seen or None,
                "where": outcome.where,
                "means": outcome.promise.means,
                "advice": outcome.promise.advice,
            }
            for outcome in outcomes
        ],
        "environment": environment(),
    }
    write_atomically(file, json.dumps(finite(content), indent=2) + "\n")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else repr(value)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
