"""``lmzoo new``: a starting file for a part of one's own."""

from __future__ import annotations

import importlib.util
import keyword
from functools import partial
from pathlib import Path

from jsonargparse import ArgumentParser

from ... import layers
from ...errors import ConfigError, nearest
from ..arguments import ExampleFormatter, console
from ..storage import write_atomically

# kind -> the class in its template, and where a configuration names it
_KINDS = {"attention": "MyAttention", "position": "MyPosition", "head": "MyHead", "loss": "MyLoss"}
_TEMPLATES = Path(layers.__file__).resolve().parent / "templates"


def main(arguments: list[str]) -> int:
    """Write the file and say how to go on."""
    parser = ArgumentParser(
        prog="lmzoo new",
        description="Write a small, commented part that works, to be changed into one of your own.\n"
        "Example:\n  lmzoo new attention my_attention.py",
        formatter_class=ExampleFormatter,
    )
    parser.add_argument("kind", type=str, help=f"what to write: {', '.join(_KINDS)}")
    parser.add_argument("file", type=str, help="where to; the class gets its name: my_attention.py has MyAttention")
    a = parser.parse_args(arguments)
    if a.kind not in _KINDS:
        raise ConfigError(f"expected {', '.join(_KINDS)}, got {a.kind!r}; nearest: {nearest(a.kind, _KINDS, 1)[0]}")
    file = Path(a.file)
    name = _class_name(file)
    text = (_TEMPLATES / f"{a.kind}.py").read_text(encoding="utf-8").replace(_KINDS[a.kind], name)
    write_atomically(file, text)
    # not say() itself, which asks Lightning which process this is: loading it takes seconds
    say = partial(console.print, soft_wrap=True, markup=False)
    say(f"{file} written, with the class {name}. Next:")
    say(f"  lmzoo check {file}:{name}")
    say(f"  lmzoo fit --config configs/python-docs/tiny.yaml --model.{a.kind} {file.stem}.{name} --allow_classes")
    say(
        f"or in a YAML file, under model: {a.kind}: {{class_path: {file.stem}.{name}}}. A configuration finds it where "
        f"the command is given in the folder of {file.name} (or anywhere, once it is installed), and only with "
        "--allow_classes."
    )
    return 0


def _class_name(file: Path) -> str:
    """``my_attention.py`` has ``MyAttention``.

    Raises:
        ConfigError: the file cannot be written or imported under this name, or exists already.
    """
    if file.suffix != ".py" or not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise ConfigError(f"expected the name of a Python module, such as my_part.py, got {file.name!r}", key="file")
    if file.exists():
        raise ConfigError(f"{file} exists already, and is left as it is", key="file")
    if not file.parent.is_dir():
        raise ConfigError(f"the folder {file.parent} does not exist", key="file")
    if importlib.util.find_spec(file.stem) is not None:
        raise ConfigError(f"Python knows a module called {file.stem} already; choose another name", key="file")
    name = "".join(word[:1].upper() + word[1:] for word in file.stem.split("_"))
    taken = name in layers.__all__ or not name.isidentifier()
    if taken:
        raise ConfigError(f"the class in it would be called {name!r}; choose another name", key="file")
    return name
