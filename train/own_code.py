"""Code of the user's own: how it is found, and when."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from .. import layers
from ..errors import ConfigError, nearest


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported for a while.

    They come after everything that is installed, so that a file which happens to be called like a library's module
    does not take its place.
    """
    word = str(folder.resolve())
    added = word not in sys.path
    if added:
        sys.path.append(word)
    try:
        yield
    finally:
        if added and word in sys.path:
            sys.path.remove(word)


def load_class(name: str) -> type:
    """The class that ``Name``, ``package.module.Name``, ``package.module:Name`` or ``file.py:Name`` stands for.

    Importing a module runs it. A bare name is one of ``lmzoo.layers``.

    Raises:
        ConfigError: there is no such file, module or class, or it cannot be imported.
    """
    home, colon, class_name = name.rpartition(":")
    if not colon and name.endswith(".py"):
        raise ConfigError(f"expected a class in the file, such as {name}:MyAttention, got {name}")
    if not colon:
        home, _, class_name = name.rpartition(".")
    if not home:
        if class_name not in layers.__all__:
            close = ", ".join(nearest(class_name, layers.__all__))
            raise ConfigError(
                f"lmzoo has no part called {class_name!r}; nearest: {close}. A part of your own is named with its "
                f"file or module: my_attention.py:{class_name}"
            )
        found = getattr(layers, class_name)
    else:
        is_file = home.endswith(".py") or "/" in home
        module = _module_of_file(Path(home)) if is_file else _module(home, Path.cwd())
        classes = [n for n, value in vars(module).items() if isinstance(value, type)]
        if not hasattr(module, class_name):
            close = ", ".join(nearest(class_name, classes)) or "none"
            raise ConfigError(f"{home} has no class {class_name!r}; the nearest in it: {close}")
        found = getattr(module, class_name)
    if not isinstance(found, type):
        raise ConfigError(f"expected a class, and {name} is {type(found).__name__}")
    return found


def _module_of_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"no such file: {file}")
    names, folder = [file.stem], file.resolve().parent
    while (folder / "__init__.py").is_file():  # a module of a package goes by its full name
        names.insert(0, folder.name)
        folder = folder.parent
    name = ".".join(names)
    if not all(part.isidentifier() for part in names):
        raise ConfigError(f"{file}: Python cannot import {name!r}; file and folder have to be named like variables")
    module = _module(name, folder)
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != file.resolve():
        raise ConfigError(
            f"{file}: Python knows another module called {name} ({origin or 'built in'}), which a configuration would "
            "find in its place; rename the file"
        )
    return module


def _module(name: str, folder: Path) -> ModuleType:
    try:
        with importable(folder):
            return importlib.import_module(name)
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"cannot import {name}: {type(error).__name__}: {text}") from error
