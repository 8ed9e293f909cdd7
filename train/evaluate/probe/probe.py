"""The frame that every probe fills in."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from transformers import PreTrainedTokenizerBase

from ...storage import Record
from .probe_model import ProbeModel

Advance = Callable[[int], None]


class Probe(ABC):
    """A measurement of what a model does with its context, at one evaluation length at a time.

    :meth:`prepare` binds it to a tokenizer and checks the lengths before any work; :meth:`measure` gives flat
    JSON-ready records, which carry every setting they depend on. What is drawn at random depends on the seed and the
    record's own place (length, distance, depth) alone: other lengths in the same call change nothing.
    """

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, tokenizer: PreTrainedTokenizerBase, lengths: list[int]) -> None:
        """Make what the probe needs of the tokenizer. Raises ArgumentError where a length is too short."""

    @abstractmethod
    def tokens(self, length: int) -> int:
        """How many tokens the model will read for a length, for the progress bar."""

    @abstractmethod
    def measure(self, model: ProbeModel, length: int, seed: int, advance: Advance) -> list[Record]:
        """The records of one length; ``advance(n)`` is called after n tokens of :meth:`tokens`."""


def stream(seed: int, *place: object) -> torch.Generator:
    """A stream of random numbers of its own for each place."""
    # 32 bits, because torch's generator on a CPU reads no more of its seed
    return torch.Generator().manual_seed(zlib.crc32(repr((seed, *place)).encode()))
