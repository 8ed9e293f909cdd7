"""Checking a configuration against the constructors it will be given to, before anything is read or built.

Files and command line become one mapping, and one pass over it finds unknown keys, misspelt parts and code from outside
the trusted packages. Types of values are left to jsonargparse; where it refuses one, :meth:`ConfigCheck.explain` finds
which. Every error is in words a person can act on: which file and line, which key, what was expected, and the nearest
valid names.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from torch import nn

from .. import layers
from ..errors import ArgumentError, ConfigError, nearest
from .config import Config, Places, flatten, merge

TRUSTED = ("lmzoo", "lightning", "torch.nn", "torch.optim")
# where a bare string may name a class of anybody's
CLASS_KEYS = tuple(f"trainer.{k}" for k in ("accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"))
COMMAND_LINE = "command line"
_PART_KEYS = ("class_path", "init_args")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

Keys = dict[str, Any]
"""Parameters by key; a mapping of them where the configuration has a mapping."""


class ConfigCheck:
    """Reads command lines and checks configurations whose keys are known.

    Args:
        keys: all keys, such as :func:`keys_of` gives them.
        places: where each key was written; options of a command line are added.
        allow_classes: accept class paths outside the trusted packages; a command line may say so too.
        flags: keys that stand on a command line without a value.
        computed: keys that follow from others; they are no options of a command line.
    """

    def __init__(
        self,
        keys: Keys,
        places: Places,
        *,
        allow_classes: bool = False,
        flags: Collection[str] = (),
        computed: Collection[str] = (),
    ) -> None:
        self.keys = keys
        self.places = places
        self.flags = flags
        self.parameters: dict[str, inspect.Parameter] = flatten(keys)
        self.options = [key for key in self.parameters if key not in computed]
        self.allow_classes = allow_classes
        self._checked: list[tuple[str, Any, Any]] = []  # key, value and annotation; arguments before their part

    # -- the command line ---------------------------------------------------------------------------------------

    def read(self, words: Iterable[str]) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        """Sort the words of a command line: ``--a.b=c``, ``--a.b c``, ``--a.b+=c``, ``--config FILE``, ``--flag``.

        Returns:
            The configuration files; keys and texts of the options in their order, empty where a value is missing; the
            words that ask for help or for the configuration to be printed.
        """
        files: list[str] = []
        options: list[tuple[str, str]] = []
        shown: list[str] = []
        remaining = list(words)
        self.allow_classes |= "--allow_classes" in remaining
        while remaining:
            word = remaining.pop(0)
            name, equals, value = word.partition("=")
            key = name.removeprefix("--")
            part = key.removesuffix(".help")
            if word in ("-h", "--help") or name == "--print_config":
                shown.append(word)
                continue
            if key in self.flags:
                if equals:
                    raise self.error(f"expected no value, got {value!r}", name)
                options.append((key, "true"))
                continue
            if not equals and remaining and not remaining[0].startswith("--"):
                value = remaining.pop(0)
            if name in ("--config", "-c"):
                if not value:
                    raise self.error("expected a YAML file after it", name)
                files.append(value)
            elif not name.startswith("--"):
                raise ConfigError(f"unknown option {word}", place=COMMAND_LINE)
            elif part != key and self._takes_class(part):
                self.places.of_key[key] = COMMAND_LINE
                if value and part in CLASS_KEYS:
                    self._refuse_foreign(value, key)
                elif value:
                    value = public_path(self._find_class(value, part_base(self._type_of(part)), key))
                shown += [name, value] if value else [name]
            else:
                options.append((key, value))
        return files, options, shown

    def with_options(self, config: Config, options: Iterable[tuple[str, str]]) -> Config:
        """A configuration with the options of a command line written into it, later ones over earlier ones."""
        config = merge(config, None)
        for name, text in options:
            key = name.removesuffix("+")
            slot = next((k for k in self.options if key == k or key.startswith(f"{k}.")), None)
            if not key:
                raise ConfigError(f"unknown option --{name}", place=COMMAND_LINE)
            if slot is None or (key != slot and not self._takes_class(slot)):
                known = [f"--{k}" for k in ("config", "print_config", *self.options)]
                close = ", ".join(nearest(f"--{name}", known))
                raise self.error(f"unknown option; nearest valid options: {close}", f"--{name}")
            if not text:
                raise self.error("expected a value after it", f"--{name}")
            *groups, last = slot.split(".")
            mapping = config
            for depth, group in enumerate(groups, start=1):
                mapping = self._mapping_at(".".join(groups[:depth]), mapping.setdefault(group, {}))
            old = mapping.get(last)
            if name != key:  # --trainer.callbacks+=EarlyStopping
                mapping[last] = [*_listed(old), *_listed(_typed(text, str))]
                self.places.of_key[slot] = COMMAND_LINE
            elif self._takes_class(slot):
                path = key.removeprefix(slot).split(".")[1:]
                new = self._overlaid(old, _spec(path, _typed(text, str)), slot, below=bool(path))
                takes_list = any(typing.get_origin(kind) is list for kind in _alternatives(self._type_of(slot)))
                mapping[last] = [new] if takes_list and new is not None and not isinstance(new, list) else new
            else:
                mapping[last] = _typed(text, self._type_of(slot))
                self.places.of_key[slot] = COMMAND_LINE
        return config

    def _overlaid(self, old: Any, spec: Any, slot: str, *, below: bool) -> Any:
        """What a key that takes an object holds after an option for it, or for something ``below`` it."""
        base = part_base(self._type_of(slot))
        if base is not None and isinstance(spec, str):
            spec = {"class_path": spec}
        elif base is not None and isinstance(spec, Mapping) and spec and not spec.keys() & {*_PART_KEYS}:
            spec = {"init_args": spec}  # of the part that is there
        if base is not None and isinstance(spec, Mapping) and "class_path" in spec and isinstance(old, Mapping):
            # told while its place is still that of the file
            was = self._part(old, base, self.parameters[slot], slot)
            self.places.of_key[slot] = COMMAND_LINE
            cls = self._find_class(spec["class_path"], base, slot)
            if public_path(cls) != was["class_path"]:
                # a part of another class keeps the arguments that its class takes as well
                kept = {n: v for n, v in (old.get("init_args") or {}).items() if n in init_parameters(cls)}
                old = {"class_path": spec["class_path"], "init_args": kept}
        self.places.of_key[slot] = COMMAND_LINE
        if not isinstance(spec, Mapping):
            return spec
        self.places.of_key.update(dict.fromkeys((f"{slot}.{key}" for key in flatten(spec)), COMMAND_LINE))
        if base is None and not below:
            return spec
        if isinstance(old, list) and old:  # options below a list are about its last object
            return [*old[:-1], merge({slot: old[-1]}, {slot: spec})[slot]]
        return merge({slot: old}, {slot: spec})[slot]

    def _type_of(self, key: str) -> Any:
        return self.parameters[key].annotation

    def _takes_class(self, key: str) -> bool:
        return key in CLASS_KEYS or (key in self.parameters and part_base(self._type_of(key)) is not None)

    # -- the one pass -------------------------------------------------------------------------------------------

    def check(self, config: Config) -> Config:
        """Refuse unknown keys, misspelt classes and foreign code; return the configuration with full class paths."""
        self._checked.clear()
        return self._mapping(config, self.keys, "")

    def _mapping(self, config: Mapping[str, Any], keys: Keys, prefix: str) -> Config:
        checked: Config = {}
        for name, value in config.items():
            key = f"{prefix}{name}"
            if name not in keys:
                raise self._unknown(key, name, keys)
            if isinstance(keys[name], Mapping):
                checked[name] = self._mapping(self._mapping_at(key, value), keys[name], f"{key}.")
            else:
                checked[name] = self._value(value, keys[name], key)
        return checked

    def _mapping_at(self, key: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise self.error(f"expected a mapping of keys, got {value!r}", key)
        return value

    def _value(self, value: Any, parameter: inspect.Parameter, key: str) -> Any:
        base = part_base(parameter.annotation)
        if base is not None and (value is not None or types.NoneType not in _alternatives(parameter.annotation)):
            value = self._part(value, base, parameter, key)
        else:
            self._trust(value, key)
            if value is None and parameter.annotation in (int, float):  # jsonargparse would take it
                raise self.error(f"expected {kind(parameter.annotation)}, got None", key)
        self._checked.append((key, value, parameter.annotation))
        return value

    def _part(self, value: Any, base: type, parameter: inspect.Parameter, key: str) -> Config:
        """A part with its full class path, its class, its arguments' names and the parts among them checked."""
        spec = {"class_path": value} if isinstance(value, str) else value
        if not isinstance(spec, Mapping):
            raise self.error(f"expected the name of a part, or a mapping with class_path, got {value!r}", key)
        if other := [name for name in spec if name not in _PART_KEYS]:
            raise self._unknown(f"{key}.{other[0]}", other[0], _PART_KEYS)
        arguments = spec.get("init_args") or {}
        if not isinstance(arguments, Mapping):
            raise self.error(f"expected a mapping of arguments, got {arguments!r}", f"{key}.init_args")
        if "class_path" in spec:
            cls = self._find_class(spec["class_path"], base, key)
        elif isinstance(parameter.default, type):
            cls = parameter.default
        else:
            at = ".".join([key, *(["init_args", next(iter(arguments))] if arguments else [])])
            raise self.error("there is no part here to take it; name one with class_path beside init_args", at)
        parameters = init_parameters(cls, skip=provided(parameter.annotation))
        inner = {
            n: self._argument(argument, n, parameters, f"{key}.init_args.{n}") for n, argument in arguments.items()
        }
        return {"class_path": public_path(cls), "init_args": inner} if inner else {"class_path": public_path(cls)}

    def _argument(self, value: Any, name: str, parameters: Mapping[str, inspect.Parameter], key: str) -> Any:
        if name in parameters:
            parameter = parameters[name]
            names_object = isinstance(value, str) and _DOTTED.fullmatch(value)
            if names_object and _alternatives(parameter.annotation)[0] is not str:  # jsonargparse would import it
                self._refuse_foreign(value, key)
            return self._value(value, parameter, key)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            raise self._unknown(key, name, parameters)
        self._trust(value, key)
        return value

    def _trust(self, value: Any, key: str) -> None:
        """Refuse every class outside the trusted packages: a ``class_path``, or a bare string that may name one."""
        if isinstance(value, str) and not self.allow_classes and key.startswith(CLASS_KEYS):
            if value.endswith((".yaml", ".yml", ".json")):
                raise self.error("expected the object itself, not another file", key)
            self._refuse_foreign(value, key)
        elif isinstance(value, Mapping):
            if isinstance(value.get("class_path"), str):
                self._refuse_foreign(value["class_path"], key)
            for name, inner in value.items():
                self._trust(inner, f"{key}.{name}")
        elif isinstance(value, list):
            for inner in value:
                self._trust(inner, key)

    def _refuse_foreign(self, path: str, key: str) -> None:
        """Raise unless a class path is a bare name or leads into a trusted package."""
        if self.allow_classes or "." not in path or any(path == p or path.startswith(f"{p}.") for p in TRUSTED):
            return
        message = f"{path} is outside lmzoo, and loading it would run its code"
        raise self.error(f"{message}; add --allow_classes to the command line if you trust it", key)

    def _find_class(self, name: Any, base: type | None, key: str) -> type:
        """The class a ``class_path`` names; raises with the nearest parts that fit the slot.

        A class outside the trusted packages is not even imported unless ``allow_classes``.
        """
        assert base is not None
        fitting = parts_of(base)
        if isinstance(name, str) and name in fitting:
            return fitting[name]
        module_name, dot, class_name = str(name).rpartition(".")
        choices = ", ".join(nearest(class_name, fitting))
        if not isinstance(name, str):
            message = f"expected the name of a class, got {name!r}"
        elif not dot and name in layers.__all__:
            message = f"{name} does not fit here; what fits: {', '.join(sorted(fitting))}"
        elif not dot:
            message = f"no part is called {name}; nearest valid names: {choices}"
        else:
            self._refuse_foreign(name, key)
            try:
                cls = getattr(importlib.import_module(module_name), class_name)
            except (ImportError, AttributeError) as error:
                hint = "a file of your own is found in the folder in which the command is given"
                message = f"cannot import {name} ({error}); {hint}; nearest parts of lmzoo: {choices}"
            else:
                if isinstance(cls, type) and issubclass(cls, base):
                    return cls
                message = f"expected a subclass of {base.__name__}, got {name}"
        raise ConfigError(message, key=key, place=self.places.find(f"{key}.class_path"))

    # -- errors -------------------------------------------------------------------------------------------------

    def explain(self, error: argparse.ArgumentError | ArgumentError) -> ConfigError:
        """An error of jsonargparse or a constructor about a checked configuration, with key and place of the value."""
        if isinstance(error, ArgumentError):
            return self.error(f"expected {error.expected}, got {error.given!r}", self.key_of(error.argument))
        for key, value, annotation in self._checked:
            refused = _refusal(key, value, annotation)
            if refused is not None:
                # about an object that is spelt out, jsonargparse says which of its arguments is wrong
                spelt_out = key in CLASS_KEYS and any(isinstance(item, Mapping) for item in _listed(value))
                in_own_words = part_base(annotation) is None and not spelt_out
                return self.error(f"expected {kind(annotation)}, got {value}" if in_own_words else refused, key)
        return ConfigError(" ".join(str(error).split()))

    def key_of(self, argument: str) -> str:
        """The full key of a constructor's argument: one that was written down if there is one."""
        for keys in (self.places.of_key, self.parameters):
            for key in keys:
                if key == argument or key.endswith(f".{argument}"):
                    return key
        return argument

    def error(self, message: str, key: str) -> ConfigError:
        """An error about a key, or about an option as it was written."""
        return ConfigError(message, key=key, place=COMMAND_LINE if key.startswith("-") else self.places.find(key))

    def _unknown(self, key: str, name: Any, known: Iterable[str]) -> ConfigError:
        return self.error(f"unknown key; nearest valid keys: {', '.join(nearest(str(name), known)) or 'none'}", key)


def _listed(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty one, anything else as its only member."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _typed(text: str, annotation: Any) -> Any:
    """The value of an option: text where that is wanted, else read as YAML."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    first = next((m for m in _alternatives(annotation) if m in (str, int, float, bool)), None)  # jsonargparse's choice
    return text if first is str and value is not None and not isinstance(value, Mapping | list) else value


def _spec(path: Sequence[str], value: Any) -> Any:
    """What stands at the end of a path below a part, as a file would write it: ``init_args`` may be left out of it."""
    if not path:
        return value
    if path[0] == "class_path":
        return {"class_path": value}
    group, *names = path if path[0] in ("init_args", "dict_kwargs") else ("init_args", *path)
    return {group: {names[0]: _spec(names[1:], value)} if names else value}


def _refusal(key: str, value: Any, annotation: Any) -> str | None:
    """What jsonargparse has against a value for a key of this type; None where it takes it."""
    name = key.rpartition(".")[2]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{name}", type=annotation)
    try:
        parser.parse_object({name: value})
    except argparse.ArgumentError as error:
        return " ".join(str(error).split())
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union; a type alone is the only one."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def kind(annotation: Any) -> str:
    """A type in the words of a message: ``int or null`` for ``int | None``."""
    alternatives = _alternatives(annotation)
    if len(alternatives) > 1:
        return " or ".join(dict.fromkeys(kind(alternative) for alternative in alternatives))
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(map(str, arguments))
    name = "null" if annotation is types.NoneType else getattr(annotation, "__name__", str(annotation))
    return f"{name}[{', '.join(map(kind, arguments))}]" if arguments else name


def keys_of(cls: type) -> Keys:
    """The parameters of a constructor by key; those of a dataclass among them stand one level deeper."""
    return {
        name: keys_of(p.annotation) if isinstance(p.annotation, type) and is_dataclass(p.annotation) else p
        for name, p in init_parameters(cls).items()
    }


def part_base(annotation: Any) -> type | None:
    """The class a slot takes: of ``Attention``, ``Callable[[int, int], Attention]`` or either with ``| None``."""
    alternatives = _alternatives(annotation)
    if len(alternatives) > 1:
        return next((base for a in alternatives if (base := part_base(a)) is not None), None)
    if typing.get_origin(annotation) is typing.get_origin(Callable[[], None]):
        return part_base(typing.get_args(annotation)[-1])
    return annotation if isinstance(annotation, type) and issubclass(annotation, nn.Module) else None


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


def public_path(cls: type) -> str:
    """``lmzoo.layers.SwiGLU`` rather than the file it happens to stand in."""
    public = getattr(layers, cls.__name__, None) is cls
    return f"lmzoo.layers.{cls.__name__}" if public else f"{cls.__module__}.{cls.__qualname__}"


def init_parameters(cls: type, *, skip: int = 0) -> dict[str, inspect.Parameter]:
    """The constructor's parameters with evaluated annotations, without ``self`` and the first ``skip``."""
    if inspect.getattr_static(cls, "__init__") is nn.Module.__init__:  # its ``*args`` and ``**kwargs`` take nothing
        return {}
    parameters = list(inspect.signature(cls, eval_str=True).parameters.values())[skip:]
    return {p.name: p for p in parameters}
