"""What parts of all slots have in common: the hooks that a model and its training call where a part defines them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar, TypeGuard

import torch
from torch import nn

from .corpus_statistics import CorpusStatistics


class Part(nn.Module):
    """The base of attention layers, positions, heads and losses. A part overrides those hooks that it has a use for.

    A module without this base, such as a feed-forward layer, may define the same hooks: whoever calls one asks
    :func:`defines` first.
    """

    no_weight_decay: ClassVar[Collection[str]] = ()
    """Names of own parameters that AdamW does not decay, beside vectors and embeddings, which never decay."""

    def use_corpus(self, statistics: CorpusStatistics) -> None:
        """Learn from the training data; called once, before training starts. By default a part learns nothing.

        What is learned is kept in persistent buffers whose shapes follow from the constructor's arguments, so that a
        saved model needs no corpus. Training that resumes calls the hook of the loss alone, and training that starts
        from a model does not call that of a head whose weights were loaded. Where no part defines the hook, the data is
        not counted.
        """

    def set_step(self, step: int) -> None:
        """Change with the ``step`` optimizer steps taken; called before each training step, of all parts but the loss.

        By default nothing changes.
        """

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Draw the part's direct parameters; called when a decoder has been built.

        Modules inside are initialised by themselves. By default the decoder draws the direct parameters of linear
        layers, embeddings and an untied head, and leaves all others as their constructor made them; see
        :class:`lmzoo.models.Decoder`.

        Args:
            std: standard deviation that the model's matrices start with.
            generator: of the part's own stream, on the CPU, so that parts do not shift each other's numbers.
        """

    def derive_tables(self) -> None:
        """Compute the buffers that follow from saved ones and are not saved; ``from_pretrained`` calls it at its end.

        It builds models without memory and leaves unfilled what the files lack. By default there are no such buffers.
        """


def defines(part: object, hook: Callable[..., Any]) -> TypeGuard[Part]:
    """Whether a part has a method of its own for a hook, given as ``Part.set_step``; it need not inherit the base."""
    method = getattr(part, hook.__name__, None)
    return callable(method) and getattr(method, "__func__", None) is not hook


def keeps(part: nn.Module, argument: str) -> bool:
    """Whether a part keeps a constructor argument as an attribute of its own, not as a default of its slot's base."""
    if argument in vars(part):
        return True
    owner = next((cls for cls in type(part).__mro__ if argument in vars(cls)), None)
    if owner is not None:
        of_lmzoo = owner.__module__.partition(".")[0] == __name__.partition(".")[0]
        return owner is not Part and not (of_lmzoo and Part in owner.__bases__)
    return hasattr(part, argument)
