"""Changes of a trained model that last as long as an evaluation, as the command line names them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from jsonargparse import ArgumentParser
from torch import nn

from ....errors import ArgumentError, nearest, require
from ....layers.attention.visibility import KeySelection
from .attention_limits import AttentionWindow, ElectedKeys
from .position_changes import PowerChange, RotaryRule

OPTIONS: dict[str, str] = {
    "rotary_extension": "rule and factor that stretch rotary positions, such as linear:4, ntk:4, yarn:4, truncated:4; "
    "yarn and truncated take the training length from the model, or as a third number: yarn:4:512",
    "power": "power of softplus attention, such as 7; none stops before the re-weighting (LSSA)",
    "window": "keys that each row of attention sees, its own included: a sliding window",
    "select_keys": "keys that the heads of each row vote for in softmax attention, beside recent ones and sinks",
    "select_recent": "with select_keys: the newest keys, which always take part; a quarter of select_keys if not given",
    "select_sinks": "with select_keys: the first keys, which always take part; a sixteenth if not given",
}
"""What :func:`parse_interventions` takes, and what :func:`add_intervention_arguments` says about it."""


class Intervention(Protocol):
    """A change: it describes itself, and called on a model gives the context in which the model is changed."""

    def describe(self) -> str:
        """The change as options spell it, the same words for the same change; records carry them."""
        ...

    def __call__(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Raises ArgumentError where the model has nothing that could be changed so, before it is changed."""
        ...


class Interventions:
    """Changes that are made together: ``with interventions(model): ...``.

    On exit the model is as it was, bit for bit, whatever happened inside. Keys that were cached outside stay as they
    were made, so a cache belongs to one side. Not supported: models compiled before; two interventions nested in each
    other.

    Args:
        steps: the changes, made in this order and undone in the opposite one.
    """

    def __init__(self, steps: Sequence[Intervention]) -> None:
        self.steps = tuple(steps)

    def describe(self) -> str:
        """One canonical line for records, such as ``rotary_extension=yarn:4, window=256``; ``none`` for no change."""
        return ", ".join(step.describe() for step in self.steps) or "none"

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[None]:
        """Change ``model`` inside the context.

        Raises:
            ArgumentError: a change does not fit the model; it is as it was then.
        """
        with ExitStack() as stack:
            for step in self.steps:
                stack.enter_context(step(model))
            yield


def parse_interventions(mapping: Mapping[str, Any]) -> Interventions:
    """Interventions from options by name, see :data:`OPTIONS`; None and missing ones are not asked for.

    ``select_recent`` and ``select_sinks`` are by default in TokenSelect's proportion to ``select_keys``, 512 and 128
    to 2048, and ``select_recent`` is at least 1.

    Raises:
        ArgumentError: an option is unknown, cannot be read, is out of range, or does not go with another one.
    """
    for name in mapping:
        known = f"one of {', '.join(nearest(name, OPTIONS))}"
        require(name in OPTIONS, "intervention", known, name)
    given = {name: value for name, value in mapping.items() if value is not None}
    steps: list[Intervention] = []
    if "rotary_extension" in given:
        steps.append(RotaryRule.parse(given["rotary_extension"]))
    if "power" in given:
        steps.append(PowerChange(_power(given["power"])))
    if "window" in given:
        apart = "None beside window: elected keys have a window of their own, select_recent"
        require("select_keys" not in given, "select_keys", apart, given.get("select_keys"))
        steps.append(AttentionWindow(_whole("window", given["window"])))
    if "select_keys" in given:
        keys = _whole("select_keys", given["select_keys"])
        recent = _whole("select_recent", given.get("select_recent", max(1, keys // 4)))
        sinks = _whole("select_sinks", given.get("select_sinks", keys // 16), least=0)
        steps.append(ElectedKeys(KeySelection(keys, recent=recent, sinks=sinks)))
    else:
        for name in ("select_recent", "select_sinks"):
            require(name not in given, name, "None without select_keys", given.get(name))
    return Interventions(steps)


def add_intervention_arguments(parser: ArgumentParser) -> None:
    """Give a command the options of :data:`OPTIONS`."""
    group = parser.add_argument_group("changes of the model while it is evaluated")
    for name, text in OPTIONS.items():
        kind = str if name in ("rotary_extension", "power") else int
        group.add_argument(f"--{name}", type=kind | None, default=None, help=text)


def intervention_from(namespace: argparse.Namespace | Any) -> Interventions | None:
    """The interventions that a command line asks for, or None where it asks for none."""
    made = parse_interventions({name: getattr(namespace, name) for name in OPTIONS})
    return made if made.steps else None


def slug(intervention: Intervention | None) -> str:
    """What tells the files of a changed model from others: ``-rotary-extension-yarn-4``; empty for no change."""
    return "" if intervention is None else "-" + re.sub(r"[^A-Za-z0-9.]+", "-", intervention.describe())


def _power(value: Any) -> float | None:
    if isinstance(value, str) and value.lower() in ("none", "null"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ArgumentError("power", "a number above 0, or none", value) from None


def _whole(name: str, value: Any, *, least: int = 1) -> int:
    try:
        number = int(value)
        fits = number == float(value) and number >= least
    except (TypeError, ValueError, OverflowError):
        fits, number = False, 0
    require(fits, name, f"a whole number of at least {least}", value)
    return number
