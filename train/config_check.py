"""Checking a configuration against the constructors it will be given to, before anything is read or built.

The parser of jsonargparse knows every key and type; this file puts its answers in words a person can act on:
which file and line, which key, what was expected, and the nearest valid names.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from torch import nn

from .. import layers
from ..errors import ConfigError, nearest
from .config import Config, Places

TRUSTED = ("lmzoo", "lightning", "torch.nn", "torch.optim")
# where a bare string may name a class of anybody's
CLASS_KEYS = tuple(f"trainer.{k}" for k in ("accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"))
_INIT_KEYS = ("class_path", "init_args")


def check_config(config: Config, parser: ArgumentParser, places: Places, *, allow_classes: bool = False) -> Config:
    """Refuse unknown keys, misspelt classes and foreign code; return the configuration with full class paths."""
    check_trust(config, places, allow_classes=allow_classes)
    types_of = {a.dest: a._typehint for a in parser._actions if hasattr(a, "_typehint")}
    keys = {a.dest for a in parser._actions} - {"help", "config", "print_config", "print_shtab"}
    keys -= {key for key in keys if key.endswith(".help")}
    return _Checker(types_of, keys, places, allow_classes).mapping(config, "")


def check_trust(value: Any, places: Places, key: str = "", *, allow_classes: bool = False) -> None:
    """Refuse every class outside the trusted packages unless foreign classes are allowed.

    A class is named by a ``class_path``, or by a bare string where the trainer takes an object.
    """
    if isinstance(value, str) and not allow_classes and key.startswith(CLASS_KEYS):
        if value.endswith((".yaml", ".yml", ".json")):
            raise ConfigError("expected the object itself, not another file", key=key, place=places.find(key))
        refuse_foreign(value, key, places)
    elif isinstance(value, Mapping):
        path = value.get("class_path")
        if isinstance(path, str) and not allow_classes:
            refuse_foreign(path, key, places)
        for name, inner in value.items():
            check_trust(inner, places, f"{key}.{name}" if key else str(name), allow_classes=allow_classes)
    elif isinstance(value, list):
        for inner in value:
            check_trust(inner, places, key, allow_classes=allow_classes)


def refuse_foreign(path: str, key: str, places: Places) -> None:
    """Raise unless a class path is a bare name or leads into a trusted package."""
    if "." not in path or any(path == p or path.startswith(p + ".") for p in TRUSTED):
        return
    raise ConfigError(
        f"{path} is outside lmzoo, and loading it would run its code; "
        "add --allow_classes to the command line if you trust it",
        key=key,
        place=places.find(key),
    )


@dataclass
class _Checker:
    types_of: Mapping[str, Any]
    keys: set[str]
    places: Places
    allow_classes: bool

    def mapping(self, config: Mapping[str, Any], prefix: str) -> Config:
        """Check the keys below ``prefix`` and, where a key takes a part, the part."""
        checked: Config = {}
        siblings = {k[len(prefix) :].split(".")[0] for k in self.keys if k.startswith(prefix)}
        for name, value in config.items():
            key = f"{prefix}{name}"
            if name not in siblings:
                raise _unknown(key, name, siblings, self.places)
            if key in self.types_of:
                checked[name] = self.value(value, self.types_of[key], key)
            elif any(k.startswith(key + ".") for k in self.keys):
                if not isinstance(value, Mapping):
                    message = f"expected a mapping of keys, got {value!r}"
                    raise ConfigError(message, key=key, place=self.places.find(key))
                checked[name] = self.mapping(value, key + ".")
            else:
                checked[name] = value
        return checked

    def value(self, value: Any, annotation: Any, key: str) -> Any:
        """Check a part's class and the names of its arguments; plain values are left to jsonargparse."""
        base = part_base(annotation)
        if base is None or value is None or not isinstance(value, str | Mapping):
            return value
        if isinstance(value, Mapping) and "class_path" not in value:
            if set(value) <= {"init_args"}:
                return value  # arguments for the default class
            raise _unknown(f"{key}.{next(iter(value))}", next(iter(value)), _INIT_KEYS, self.places)
        given = value if isinstance(value, str) else value["class_path"]
        cls = find_class(given, base, key, self.places, allow_classes=self.allow_classes)
        checked: Config = {"class_path": public_path(cls)}
        if isinstance(value, str):
            return checked
        for name in value:
            if name not in _INIT_KEYS:
                raise _unknown(f"{key}.{name}", name, _INIT_KEYS, self.places)
        arguments = value.get("init_args") or {}
        if not isinstance(arguments, Mapping):
            message = f"expected a mapping of arguments, got {arguments!r}"
            raise ConfigError(message, key=f"{key}.init_args", place=self.places.find(key))
        inner = self.arguments(arguments, init_parameters(cls, skip=provided(annotation)), f"{key}.init_args")
        return {**checked, "init_args": inner} if inner else checked

    def arguments(self, given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter], key: str) -> Config:
        """Check the names of a part's arguments, and the parts among them."""
        checked: Config = {}
        for name, argument in given.items():
            if name in parameters:
                checked[name] = self.value(argument, parameters[name].annotation, f"{key}.{name}")
            elif any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                checked[name] = argument
            else:
                raise _unknown(f"{key}.{name}", name, parameters, self.places)
        return checked


def _unknown(key: str, name: Any, known: Iterable[str], places: Places) -> ConfigError:
    names = ", ".join(nearest(str(name), known))
    return ConfigError(f"unknown key; nearest valid keys: {names}", key=key, place=places.find(key))


def part_base(annotation: Any) -> type | None:
    """The class a slot takes: of ``Attention``, ``Callable[[int, int], Attention]`` or either with ``| None``."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        found = [b for a in typing.get_args(annotation) if (b := part_base(a)) is not None]
        return found[0] if found else None
    if origin is type or origin is None:
        is_part = isinstance(annotation, type) and issubclass(annotation, nn.Module)
        return annotation if is_part else None
    if origin is Callable or origin is typing.get_origin(Callable[[], None]):
        return part_base(typing.get_args(annotation)[-1])
    return None


def provided(annotation: Any) -> int:
    """How many leading constructor arguments the slot's owner gives: 2 for ``Callable[[int, int], Attention]``."""
    for inner in (annotation, *typing.get_args(annotation)):
        if typing.get_origin(inner) is typing.get_origin(Callable[[], None]):
            return len(typing.get_args(inner)[0])
    return 0


def parts_of(base: type) -> dict[str, type]:
    """The public parts of ``lmzoo.layers`` that fit a slot, by name; a slot for any module takes the feed-forwards."""
    names = {n: getattr(layers, n) for n in layers.__all__}
    classes = {n: c for n, c in names.items() if isinstance(c, type) and not inspect.isabstract(c)}
    if base is nn.Module:
        slots = (layers.Attention, layers.Position, layers.Head, layers.Loss)
        return {n: c for n, c in classes.items() if issubclass(c, nn.Module) and not issubclass(c, slots)}
    return {n: c for n, c in classes.items() if issubclass(c, base) and c is not base}


def find_class(name: Any, base: type, key: str, places: Places, *, allow_classes: bool = False) -> type:
    """The class a ``class_path`` names; raises with the nearest parts that fit the slot.

    A class outside the trusted packages is not even imported unless ``allow_classes``.
    """
    fitting = parts_of(base)
    place = places.find(f"{key}.class_path")
    if not isinstance(name, str):
        raise ConfigError(f"expected the name of a class, got {name!r}", key=key, place=place)
    if name in fitting:
        return fitting[name]
    choices = ", ".join(nearest(name.rpartition(".")[2], fitting))
    if "." not in name:
        if name in layers.__all__:
            message = f"{name} does not fit here; what fits: {', '.join(sorted(fitting))}"
        else:
            message = f"no part is called {name}; nearest valid names: {choices}"
        raise ConfigError(message, key=key, place=place)
    if not allow_classes:
        refuse_foreign(name, key, places)
    module_name, _, class_name = name.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        hint = "a file of your own is found in the folder in which the command is given"
        message = f"cannot import {name} ({error}); {hint}; nearest parts of lmzoo: {choices}"
        raise ConfigError(message, key=key, place=place) from None
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigError(f"expected a subclass of {base.__name__}, got {name}", key=key, place=place)
    return cls


def public_path(cls: type) -> str:
    """``lmzoo.layers.SwiGLU`` rather than the file it happens to stand in."""
    public = getattr(layers, cls.__name__, None) is cls
    return f"lmzoo.layers.{cls.__name__}" if public else f"{cls.__module__}.{cls.__qualname__}"


def init_parameters(cls: type, *, skip: int = 0) -> dict[str, inspect.Parameter]:
    """The constructor's parameters with evaluated annotations, without ``self`` and the first ``skip``."""
    parameters = list(inspect.signature(cls, eval_str=True).parameters.values())[skip:]
    return {p.name: p for p in parameters}


def readable(error: str, places: Places) -> ConfigError:
    """The message of jsonargparse as ours: the innermost key, what it expected, what it got."""
    text = error.strip()
    if match := re.search(r"[Uu]nrecognized arguments: (.+)", text):
        return ConfigError(f"unknown option {match[1]}", place="command line")
    keys = re.findall(r'(?:Parser key|Problem with given class_path|Key) "?([\w.]+)"?', text)
    key = ".".join(dict.fromkeys(keys)) if keys else None
    expected = [
        e.rstrip(".")
        for e in re.findall(r"(?:Expected (?:a |an |to be )?|expects )([^\n]+?)(?:\. Got value|\n|$)", text)
    ]
    got = re.findall(r"(?:Got value|Given value): ([^\n]+)", text)
    if expected:
        kinds = [re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", e).replace("NoneType", "null") for e in expected]
        message = f"expected {' or '.join(dict.fromkeys(kinds))}" + (f", got {got[-1]}" if got else "")
    else:
        message = " ".join(text.split())
    place = places.find(key) if key else None
    if key and (deeper := [k for k in places.of_key if k.startswith(f"{key}.") and places.of_key[k] == "command line"]):
        key, place = deeper[-1], "command line"  # jsonargparse names the part, not the option below it
    return ConfigError(message, key=key, place=place)


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
