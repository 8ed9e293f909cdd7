"""The keys of a comparison file that hold settings: match, tuning, effect, lengths, analyze, numbers_probe, probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from ...errors import ArgumentError, ConfigError, nearest
from ..config import Places
from ..figures.statistics.family import EFFECT
from ..runs.trials import KEY, Tuning


def read_tuning(
    given: object, variants: Mapping[str, Any], seeds: Sequence[int], settings: Mapping[str, Any], places: Places
) -> Tuning | None:
    """The tuning that a comparison file asks for; None if the key is not there or ``false``.

    Args:
        given: the value in the file.
        variants: name -> overrides as the file has them; none may set the learning rate itself.
        seeds: of the final runs.
        settings: overrides of the command line, which may not set it either.
        places: where each key stands.

    Raises:
        ConfigError: naming the key, what was expected and the nearest valid names.
    """
    tuning = read_settings(Tuning, given, "tuning", places)
    if tuning is None:
        return None
    refuse_given(KEY, "tuning chooses it", variants, settings, places)
    if tuning.seed in seeds:
        message = f"expected a seed that no final run has, got {tuning.seed}"
        raise ConfigError(message, key="tuning.seed", place=places.find("tuning.seed"))
    return tuning


Settings = TypeVar("Settings")


def read_lengths(given: object, places: Places) -> tuple[int, ...]:
    """The windows to evaluate at, in rising order; none if the key is not there."""
    if given is None:
        return ()
    good = isinstance(given, list) and given and all(type(length) is int and length >= 1 for length in given)
    if not isinstance(given, list) or not good or len(set(given)) < len(given):
        message = f"expected a list of different whole numbers, 1 or more, got {given!r}"
        raise ConfigError(message, key="lengths", place=places.find("lengths"))
    return tuple(sorted(given))


def read_effect(given: object, places: Places) -> float:
    """The relative difference of perplexity that the comparison wants to see; 1 % if the key is not there."""
    if given is None:
        return EFFECT
    if type(given) not in (int, float) or not 0 < given < 1:  # type: ignore[operator]
        message = f"expected a relative difference of perplexity between 0 and 1, such as 0.01, got {given!r}"
        raise ConfigError(message, key="effect", place=places.find("effect"))
    return float(given)  # type: ignore[arg-type]


def read_settings(cls: type[Settings], given: object, key: str, places: Places) -> Settings | None:
    """Of ``true`` the default settings, of a mapping those it names, of ``false`` or nothing None.

    Args:
        cls: a dataclass whose constructor checks its arguments.
        given: the value in the file.
        key: its key, for messages.
        places: where each key stands.

    Raises:
        ConfigError: naming the key, what was expected and the nearest valid names.
    """
    if given is None or given is False:
        return None
    if given is True:
        given = {}
    if not isinstance(given, Mapping):
        message = f"expected true, false or a mapping of settings, got {given!r}"
        raise ConfigError(message, key=key, place=places.find(key))
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    settings: dict[str, Any] = dict(given)
    for name in settings:
        if name not in known:
            close = ", ".join(nearest(str(name), known))
            where = f"{key}.{name}"
            raise ConfigError(f"unknown key; nearest valid keys: {close}", key=where, place=places.find(where))
    try:
        return cls(**settings)
    except ArgumentError as error:
        where = f"{key}.{error.argument}"
        message = f"expected {error.expected}, got {error.given!r}"
        raise ConfigError(message, key=where, place=places.find(where)) from None
    except TypeError as error:  # such as a word where a number is compared
        raise ConfigError(str(error), key=key, place=places.find(key)) from None


def refuse_given(key: str, why: str, variants: Mapping[str, Any], settings: Mapping[str, Any], places: Places) -> None:
    """Raise :class:`ConfigError` where a variant or the command line sets a key that is found out for every variant.

    Args:
        key: of a run's configuration, with dots.
        why: what finds it out.
        variants: name -> overrides as the file has them.
        settings: those of the command line.
        places: where each key stands.
    """
    for name, overrides in variants.items():
        if _at(overrides, key) is not None:
            where = f"variants.{name}.{key}"
            raise ConfigError(f"{why}, so that a variant cannot set it too", key=where, place=places.find(where))
    if _at(settings, key) is not None:
        raise ConfigError(f"{why}, so that --set cannot set it too", key=key, place="command line")


def _at(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
