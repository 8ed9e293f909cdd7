"""Other rotary frequencies and another power of re-weighting, for as long as an evaluation lasts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ....errors import ArgumentError, nearest, require
from ....layers import Rotary, SoftplusAttention
from ....layers.attention.softplus.softplus_attention import set_power
from ....layers.position.rotary_extension import EXTENSIONS, Extension, rotary_frequencies
from ..extrapolate.passport import train_length_of


@dataclass(frozen=True)
class RotaryRule:
    """A rule for longer contexts on every rotary position; :func:`rotary_frequencies` has the equations.

    It takes the place of a rule that the model has already. Hugging Face models take it where their rotary module
    keeps its frequencies in ``inv_freq`` and was built without a rule (``rope_type: default``).

    Attributes:
        extension: ``linear``, ``ntk``, ``yarn``, ``truncated``, or None for the plain frequencies.
        factor: how many times the training length is wanted.
        train_length: tokens of a training context; None asks the model.
    """

    extension: Extension | None
    factor: float = 1.0
    train_length: int | None = None

    def __post_init__(self) -> None:
        require(self.train_length is None or self.train_length >= 1, "train_length", "1 or more", self.train_length)
        # one token stands for a length that only the model knows
        rotary_frequencies(2, 10000.0, self.extension, factor=self.factor, train_length=self.train_length or 1)

    @classmethod
    def parse(cls, text: Any) -> Self:
        """``RULE:FACTOR``, ``RULE:FACTOR:TRAIN_LENGTH`` or ``none``."""
        expected = f"RULE:FACTOR or RULE:FACTOR:TRAIN_LENGTH, such as yarn:4, RULE one of {', '.join(EXTENSIONS)}"
        name, *numbers = str(text).split(":")
        if name == "none" and not numbers:
            return cls(None)
        if name not in EXTENSIONS:
            raise ArgumentError("rotary_extension", f"{expected} (nearest: {nearest(name, EXTENSIONS)[0]})", text)
        try:
            factor, *length = float(numbers[0]), *map(int, numbers[1:])
        except (IndexError, ValueError):
            raise ArgumentError("rotary_extension", expected, text) from None
        fits = len(length) <= 1 and 1.0 <= factor < math.inf
        require(fits, "rotary_extension", f"{expected}, FACTOR at least 1", text)
        return cls(name, factor, length[0] if length else None)  # type: ignore[arg-type]

    def describe(self) -> str:
        """``rotary_extension=RULE:FACTOR``, with the training length where it was given."""
        length = "" if self.train_length is None else f":{self.train_length}"
        return "rotary_extension=" + (f"{self.extension}:{self.factor:g}{length}" if self.extension else "none")

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[None]:
        ours = [module for module in model.modules() if isinstance(module, Rotary)]
        theirs = [] if ours else [module for module in model.modules() if isinstance(_inv_freq(module), Tensor)]
        expected = "a model with Rotary positions, or a Hugging Face model with one table inv_freq"
        require(bool(ours or theirs), "rotary_extension", expected, type(model).__name__)
        length = self.train_length or train_length_of(model)
        if self.extension in ("yarn", "truncated") and length is None:
            expected = f"the training length, which this model does not tell: {self.extension}:{self.factor:g}:LENGTH"
            raise ArgumentError("rotary_extension", expected, f"{self.extension}:{self.factor:g}")
        with _ours(ours, self, length) if ours else _theirs(theirs, self, length):
            yield


@contextmanager
def _ours(positions: list[Rotary], rule: RotaryRule, train_length: int | None) -> Iterator[None]:
    before = [(p, p.extension, p.factor, p.train_length) for p in positions]
    try:
        for position in positions:
            position.extend(rule.extension, factor=rule.factor, train_length=train_length)
        yield
    finally:
        for position, extension, factor, length in before:
            position.extend(extension, factor=factor, train_length=length)


@contextmanager
def _theirs(modules: list[Any], rule: RotaryRule, train_length: int | None) -> Iterator[None]:
    made: list[tuple[Any, Tensor, float]] = []
    for module in modules:
        parameters = module.config.rope_parameters
        kind = parameters.get("rope_type")
        plain = kind == "default" and "rope_theta" in parameters
        require(plain, "rotary_extension", "a model built without a rule of its own (rope_type: default)", kind)
        inv_freq = _inv_freq(module)
        assert inv_freq is not None
        frequency, factor = rotary_frequencies(
            2 * len(inv_freq),
            parameters["rope_theta"],
            rule.extension,
            factor=rule.factor,
            train_length=train_length,
        )
        made.append((module, frequency.to(inv_freq), factor))
    before = [(module, module.inv_freq, module.attention_scaling) for module, _, _ in made]
    try:
        for module, frequency, factor in made:
            module.inv_freq, module.attention_scaling = frequency, factor
        yield
    finally:
        for module, inv_freq, scaling in before:
            module.inv_freq, module.attention_scaling = inv_freq, scaling


def _inv_freq(module: nn.Module) -> Tensor | None:
    """The frequencies of a Hugging Face rotary module, None of any other."""
    known = isinstance(getattr(getattr(module, "config", None), "rope_parameters", None), dict)
    own = getattr(module, "inv_freq", None) if known and hasattr(module, "attention_scaling") else None
    return own if isinstance(own, Tensor) else None


@dataclass(frozen=True)
class PowerChange:
    """Another power of re-weighting in every :class:`SoftplusAttention`, in place of a learned one too.

    Attributes:
        power: p, or None for LSSA.
    """

    power: float | None

    def __post_init__(self) -> None:
        require(self.power is None or 0 < self.power < math.inf, "power", "None or a number above 0", self.power)

    def describe(self) -> str:
        return "power=none" if self.power is None else f"power={self.power:g}"

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[None]:
        layers = [module for module in model.modules() if isinstance(module, SoftplusAttention)]
        # a learned power is a parameter of its own, which setting the power overwrites
        before = [
            (layer, layer.power, None if layer.log_power is None else layer.log_power.detach().clone())
            for layer in layers
        ]
        try:
            set_power(model, self.power)
            yield
        finally:
            for layer, power, learned in before:
                layer.power = power
                if layer.log_power is not None and learned is not None:
                    with torch.no_grad():
                        layer.log_power.copy_(learned)
