"""Whether a part can be described by its constructor's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..common.part import keeps
from .promise import Candidate, Promise


def check_kept(make: Callable[[], nn.Module]) -> None:
    """A part keeps each constructor argument as an attribute of the same name, so that it can be described."""
    layer = make()
    for name, parameter in inspect.signature(type(layer)).parameters.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            assert keeps(layer, name), f"{type(layer).__name__} does not keep its argument {name!r} as an attribute"


def check_arguments(make: Candidate) -> None:
    """Each constructor argument is an attribute of the same name, and from these attributes the same part is built.

    An argument may be kept as what it stands for, as where None is a default that follows from another argument.
    """
    check_kept(make)
    first = make()
    kept = _kept(first)
    second = make.part(**kept)
    for name, value in _kept(second).items():
        assert _same(kept[name], value), (
            f"the attribute {name!r} is {kept[name]!r}; built again with that, the part has {value!r}"
        )
    shapes = [{name: tuple(t.shape) for name, t in part.state_dict().items()} for part in (first, second)]
    assert shapes[0] == shapes[1], "built again from its attributes, the part has other parameters"


def _kept(part: nn.Module) -> dict[str, Any]:
    parameters = inspect.signature(type(part)).parameters.values()
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: getattr(part, p.name) for p in parameters if p.kind not in open_ended}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, nn.Module):
        return type(one) is type(other)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    return bool(one == other)


ARGUMENTS = Promise(
    "arguments",
    "Keeps each constructor argument as an attribute of the same name",
    "A model could not describe itself: it could be neither saved, nor written into a run's config.yaml.",
    "Add self.<name> = <name> to __init__, the value as it came or one that builds the same part.",
    check_arguments,
)
"""The promise that parts of all slots have in common."""
