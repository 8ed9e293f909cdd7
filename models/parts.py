"""Parts as data: how a class, a partial, a name or a mapping becomes a part, and a part becomes JSON again.

The description of a part is ``{"class_path": "lmzoo.layers.Rotary", "init_args": {"base": 10000.0}}``, the same form as
in a YAML configuration. It works because every part keeps its constructor arguments as attributes of the same names.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from .. import layers
from ..errors import ArgumentError, nearest, require
from ..layers.common.part import keeps

Described = dict[str, Any]

_HOME = layers.__name__


def build(part: Any, *arguments: Any, allow_foreign: bool = False, **more: Any) -> Any:
    """Construct a part: ``part(*arguments, **init_args, **more)``; an instance is returned as it is.

    Args:
        part: a class, a ``functools.partial`` of one, the name of a class in ``lmzoo.layers``, a dotted path, a mapping
            with ``class_path`` and ``init_args`` (which may hold parts again), or an instance.
        arguments: positional arguments, such as ``d_model``.
        allow_foreign: import classes from outside lmzoo when a path names them. Importing runs code, so it is off.
        more: keyword arguments besides those of the part.

    Raises:
        ArgumentError: the name is unknown, the path is foreign and not allowed, or an argument does not exist.
    """
    if isinstance(part, nn.Module):
        return part
    cls, init_args = split(part, allow_foreign=allow_foreign)
    init_args = {k: _built(v, allow_foreign) for k, v in init_args.items()} | more
    known = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for name in init_args:
            expected = f"an argument of {cls.__name__}, such as {', '.join(nearest(name, known))}"
            require(name in known, name, expected, init_args[name])
    return cls(*arguments, **init_args)


def describe(part: Any) -> Described:
    """The JSON-ready description of a part in any of the forms that :func:`build` takes.

    Raises:
        ArgumentError: an argument of the part has no JSON form, or a part does not keep an argument as an attribute.
    """
    if isinstance(part, nn.Module):
        cls, init_args = type(part), _own_arguments(part)
    elif isinstance(part, Mapping) or (isinstance(part, str) and "." in part):
        # A path is not imported merely to be written down again.
        class_path, init_args = _path_and_arguments(part)
        return {"class_path": class_path, "init_args": {k: _described(k, v) for k, v in init_args.items()}}
    else:
        cls, init_args = split(part)
    return {"class_path": class_path_of(cls), "init_args": {k: _described(k, v) for k, v in init_args.items()}}


def split(part: Any, *, allow_foreign: bool = False) -> tuple[type, dict[str, Any]]:
    """The class of a part that is not built yet, and its keyword arguments."""
    if isinstance(part, type):
        return part, {}
    if isinstance(part, functools.partial):
        # Configuration libraries wrap the class: their partial calls a helper with the class among its arguments.
        candidates = [part.func, *part.args]
        cls = next((c for c in candidates if isinstance(c, type)), None)
        if cls is not None:
            return cls, dict(part.keywords)
        for candidate in candidates:
            if isinstance(candidate, functools.partial):
                inner, init_args = split(candidate, allow_foreign=allow_foreign)
                return inner, init_args | part.keywords
    if isinstance(part, str | Mapping):
        class_path, init_args = _path_and_arguments(part)
        return find_class(class_path, allow_foreign=allow_foreign), init_args
    raise ArgumentError("part", "a class, a partial of a class, a name, or a mapping with class_path", part)


def find_class(class_path: str, *, allow_foreign: bool = False) -> type:
    """The class of a short name or of a dotted path."""
    home, _, name = class_path.rpartition(".")
    if home in ("", _HOME):
        expected = f"a part of {_HOME}, such as {', '.join(nearest(name, layers.__all__))}"
        require(name in layers.__all__, "class_path", expected, class_path)
        found = getattr(layers, name)
    else:
        expected = f"a part of {_HOME} (other code is imported only when allowed: trust_remote_code or allow_foreign)"
        require(allow_foreign, "class_path", expected, class_path)
        try:
            found = getattr(importlib.import_module(home), name)
        except (ImportError, AttributeError) as error:
            raise ArgumentError("class_path", f"an importable class ({error})", class_path) from error
    require(isinstance(found, type) and issubclass(found, nn.Module), "class_path", "a class of modules", class_path)
    return found  # type: ignore[no-any-return]


def class_path_of(cls: type) -> str:
    """``lmzoo.layers.Name`` for our parts, the full dotted path for others."""
    own = getattr(layers, cls.__name__, None) is cls and cls.__name__ in layers.__all__
    return f"{_HOME}.{cls.__name__}" if own else f"{cls.__module__}.{cls.__qualname__}"


def _path_and_arguments(part: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(part, str):
        path, init_args = part, {}
    else:
        unknown = sorted(set(part) - {"class_path", "init_args"})
        require("class_path" in part and not unknown, "part", "a mapping of class_path and init_args", dict(part))
        path, init_args = part["class_path"], dict(part.get("init_args") or {})
    return (path if "." in path else f"{_HOME}.{path}"), init_args


def _built(value: Any, allow_foreign: bool) -> Any:
    is_part = isinstance(value, Mapping) and "class_path" in value
    return build(value, allow_foreign=allow_foreign) if is_part else value


def _own_arguments(part: nn.Module) -> dict[str, Any]:
    values = {}
    for name, parameter in inspect.signature(type(part)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        require(keeps(part, name), name, f"an attribute of {type(part).__name__} that keeps the argument", "none")
        values[name] = getattr(part, name)
    return values


def _described(name: str, value: Any) -> Any:
    is_described = isinstance(value, Mapping) and "class_path" in value
    if is_described or isinstance(value, type | functools.partial | nn.Module):
        return describe(value)
    try:
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise ArgumentError(name, "a value that JSON can hold", type(value).__name__) from error
