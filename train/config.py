"""Reading, merging and writing YAML configurations, with the place of every key remembered for error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, nearest
from .storage import write_atomically

Config = dict[str, Any]


@dataclass
class Places:
    """Where each key of a merged configuration was written: ``model.d_model -> tiny.yaml:7``."""

    of_key: dict[str, str] = field(default_factory=dict)

    def find(self, key: str) -> str | None:
        """The place of ``key``, or of its nearest enclosing key that was written down."""
        while key:
            if key in self.of_key:
                return self.of_key[key]
            key = key.rpartition(".")[0]
        return None


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-3`` as a number (YAML 1.1 wants ``1.0e-3``) and refuses repeated keys."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _keys(node: yaml.Node, file: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key below ``node`` with ``file:line``; a key written twice is an error, since one would be lost."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            place = f"{file}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("expected a plain word as key", place=place)
            key = f"{prefix}{key_node.value}"
            if key_node.value in seen:
                raise ConfigError("this key is written twice in the same mapping", key=key, place=place)
            seen.add(key_node.value)
            yield key, place
            yield from _keys(value_node, file, key + ".")


def load_yaml_with_places(path: str | os.PathLike[str]) -> tuple[Config, Places]:
    """Read one YAML mapping. Raises :class:`ConfigError` naming the file and line for anything that cannot be read."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(_missing_file(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", place=str(file)) from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"not valid YAML: {problem}", place=f"{file}{line}") from None
    if data is None:
        return {}, Places()
    if not isinstance(data, dict) or node is None:
        raise ConfigError(f"expected a mapping of keys to values, got {type(data).__name__}", place=str(file))
    return data, Places(dict(_keys(node, str(file))))


def _missing_file(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f"no such file: {file} (the folder {folder} does not exist)"
    there = sorted(p.name for p in folder.glob("*.yaml"))
    hint = f"; nearest there: {', '.join(nearest(file.name, there))}" if there else ""
    return f"no such file: {file}{hint}"


def find_config(path: str | os.PathLike[str]) -> Path:
    """The file itself, or else the one of that name shipped with lmzoo: ``configs/python-docs/tiny.yaml`` anywhere."""
    file = Path(path)
    return file if file.exists() else _shipped(file) or file


def find_base(base: str, file: Path) -> Path:
    """What ``base:`` in ``file`` names: beside the file, or else shipped with lmzoo."""
    beside = file.parent / base
    return beside if beside.exists() else _shipped(Path(base)) or beside


def _shipped(file: Path) -> Path | None:
    if file.is_absolute():
        return None
    shipped = Path(__file__).resolve().parent.parent / "configs" / file.as_posix().removeprefix("configs/")
    return shipped if shipped.is_file() else None


def load_yaml(path: str | os.PathLike[str]) -> Config:
    """Read one YAML mapping; see :func:`load_yaml_with_places`."""
    return load_yaml_with_places(path)[0]


def load_run_config(path: str | os.PathLike[str], _open: tuple[Path, ...] = ()) -> tuple[Config, Places]:
    """Read a run's YAML and resolve its ``base: other.yaml``, see :func:`find_base`, so that overlays stay small."""
    path = find_config(path)
    file = path.resolve()
    if file in _open:
        raise ConfigError(f"bases go round in a circle: {' -> '.join(map(str, [*_open, file]))}")
    config, places = load_yaml_with_places(path)
    base = config.pop("base", None)
    if base is None:
        return config, places
    if not isinstance(base, str):
        raise ConfigError(f"expected a path to a YAML file, got {base!r}", key="base", place=places.find("base"))
    base_config, base_places = load_run_config(find_base(base, path), (*_open, file))
    return merge(base_config, config), Places({**base_places.of_key, **places.of_key})


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> Config:
    """Overlay ``overrides`` on ``base``, mapping by mapping.

    A part (something with a ``class_path``) that changes its class drops the old class's ``init_args``, which
    would not fit; a part given as a bare name counts as its ``class_path``.
    """
    merged: Config = {k: _copy(v) for k, v in base.items()}
    for key, new in (overrides or {}).items():
        old = merged.get(key)
        if not (isinstance(old, Mapping | str) and isinstance(new, Mapping)):
            merged[key] = _copy(new)
        elif isinstance(old, str):
            only_args = set(new) == {"init_args"}
            merged[key] = {"class_path": old, **_copy(new)} if only_args else _copy(new)
        elif "class_path" in new and _short(new["class_path"]) != _short(old.get("class_path")):
            merged[key] = _copy(new)
        else:
            merged[key] = merge(old, new)
    return merged


def _short(name: Any) -> Any:
    return name.rpartition(".")[2] if isinstance(name, str) else name


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}} -> {"a.b": 1}``; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any], ignore: Iterable[str] = ()) -> list[str]:
    """Keys whose values differ between two configurations; a prefix in ``ignore`` leaves out all below it.

    The empty ``init_args`` of a part with its defaults are as good as none.
    """
    a, b = (
        {k: v for k, v in flatten(config).items() if v != {} or not k.endswith("init_args")} for config in (one, other)
    )
    missing = object()
    skip = tuple(ignore)
    return sorted(
        k
        for k in a.keys() | b.keys()
        if a.get(k, missing) != b.get(k, missing) and not any(k == s or k.startswith(s + ".") for s in skip)
    )


def first_of(keys: Sequence[str], most: int = 8) -> str:
    """The first keys of a list, and how many more there are, as a message shows them."""
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def write_yaml(path: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Write YAML under a temporary name and rename it, so that a reader never sees half a file."""
    write_atomically(path, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=120))
