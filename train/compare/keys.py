"""Reading the keys of a YAML file into checked values; every message names the file, the line and the key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ...errors import ArgumentError, ConfigError, nearest
from ..config import Config, Places, flatten

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Keys:
    """What a file says, and where it says it. Every method raises :class:`ConfigError` for what cannot be used.

    Attributes:
        raw: the file's mapping.
        places: where each key stands.
    """

    raw: Config
    places: Places

    def error(self, message: str, key: str) -> ConfigError:
        """An error about a key, to be raised."""
        return ConfigError(message, key=key, place=self.places.find(key))

    def refuse_unknown(self, given: Iterable[object], known: Iterable[str], prefix: str = "") -> None:
        """Refuse names that are not known, with the nearest that are."""
        names = list(known)
        for name in given:
            if name not in names:
                close = ", ".join(nearest(str(name), names))
                raise self.error(f"unknown key; nearest valid keys: {close}", f"{prefix}{name}")

    def mapping(self, value: object, key: str) -> Config:
        """A mapping of keys to values."""
        if not isinstance(value, Mapping):
            raise self.error(f"expected a mapping of keys to values, got {value!r}", key)
        return dict(value)

    def numbers(self, value: object, key: str, least: int) -> list[int]:
        """A list of different whole numbers."""
        good = isinstance(value, list) and value and all(type(n) is int and n >= least for n in value)
        if not isinstance(value, list) or not good or len(set(value)) < len(value):
            raise self.error(f"expected a list of different whole numbers, {least} or more, got {value!r}", key)
        return value

    def settings(self, cls: type[Settings], key: str) -> Settings | None:
        """A dataclass whose constructor checks its arguments.

        Of ``true`` it has the default settings, of a mapping those it names; of ``false`` or nothing there is none.
        """
        given = self.raw.get(key)
        if given is None or given is False:
            return None
        if given is True:
            given = {}
        if not isinstance(given, Mapping):
            raise self.error(f"expected true, false or a mapping of settings, got {given!r}", key)
        self.refuse_unknown(given, [field.name for field in fields(cls)], f"{key}.")  # type: ignore[arg-type]
        try:
            with self.placed(f"{key}."):
                return cls(**given)
        except TypeError as error:  # such as a word where a number is compared
            raise self.error(str(error), key) from None

    @contextlib.contextmanager
    def placed(self, prefix: str = "") -> Iterator[None]:
        """Give an :class:`ArgumentError` of what is made inside the place of its argument in the file."""
        try:
            yield
        except ArgumentError as error:
            message = f"expected {error.expected}, got {error.given!r}"
            raise self.error(message, f"{prefix}{error.argument}") from None

    def refuse_set(self, key: str, why: str, variants: Iterable[str], command_line: Mapping[str, Any]) -> None:
        """Refuse a key of a run's configuration that is found out for every variant, and so cannot be set as well.

        Args:
            key: with dots.
            why: what finds it out.
            variants: which may not set it.
            command_line: overrides that may not set it either.
        """
        for name in variants:
            if flatten(self.raw["variants"][name] or {}).get(key) is not None:
                raise self.error(f"{why}, so that a variant cannot set it too", f"variants.{name}.{key}")
        if flatten(command_line).get(key) is not None:
            raise ConfigError(f"{why}, so that --set cannot set it too", key=key, place="command line")
