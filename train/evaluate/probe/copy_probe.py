"""Whether a model continues a random segment that it has read before, by how far back that was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ...data.encode import separator_id
from ...figures.statistics.spread import mean_interval, share_interval
from ...storage import Record
from ..frame import Advance
from .probe import Probe, ProbeModel, stream, with_interval


class CopyProbe(Probe):
    """Random tokens in which one segment comes twice, ``distance`` tokens apart, the second time at the end.

    A sequence of T tokens is the document separator and T - 1 tokens drawn evenly from the vocabulary, special tokens
    left out; then its last S tokens are those that stand ``distance`` before them. The first C of the repeat are the
    cue, the other S - C are scored: the share of them that is the greedy choice after the true ones, and their mean
    loss. Nothing but copying can beat chance, 1 / V' and ln V' with V' tokens to draw from, except that a model that
    copies may take another place where the cue's last tokens occur for the right one. ``first_loss`` is the loss of
    the same tokens at their first occurrence, where they cannot be known: what copying is worth is the difference.

    Distances are S, 2S, 4S, ... and the largest that T holds, T - 1 - S. Sequences, not tokens, are what varies
    independently, so intervals are over sequences (accuracy: see :func:`share_interval`).

    Args:
        samples: sequences of each length and distance.
        segment: S, tokens.
        cue: C, tokens.

    Raises:
        ArgumentError: a number is out of range.
    """

    name: ClassVar[str] = "copy"

    def __init__(self, samples: int = 32, *, segment: int = 16, cue: int = 4) -> None:
        require(samples >= 1, "samples", "1 or more", samples)
        require(cue >= 1, "cue", "1 or more", cue)
        require(segment > cue, "segment", f"more tokens than the cue, {cue}", segment)
        self.samples = samples
        self.segment = segment
        self.cue = cue

    def prepare(self, tokenizer: PreTrainedTokenizerBase, lengths: list[int]) -> None:
        self.check_lengths(lengths)
        special = set(tokenizer.all_special_ids)
        self.separator = separator_id(tokenizer)
        self.drawn = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
        require(len(self.drawn) >= 2, "tokenizer", "one with two ordinary tokens", len(self.drawn))

    def check_lengths(self, lengths: Sequence[int]) -> None:
        """Raise :class:`ArgumentError` where a length does not hold the segment twice."""
        least = 2 * self.segment + 1
        require(min(lengths) >= least, "lengths", f"at least {least} tokens for the copy probe", min(lengths))

    def distances(self, length: int) -> list[int]:
        """The distances of a length, in tokens from one occurrence to the other."""
        largest = length - 1 - self.segment
        powers = [self.segment << k for k in range(length.bit_length()) if self.segment << k < largest]
        return [*powers, largest]

    def tokens(self, length: int) -> int:
        return len(self.distances(length)) * self.samples * length

    def sequences(self, length: int, distance: int, seed: int) -> Tensor:
        """The sequences (samples, length) of a distance."""
        generator = stream(seed, self.name, length, distance)
        ids = self.drawn[torch.randint(len(self.drawn), (self.samples, length), generator=generator)]
        ids[:, 0] = self.separator
        first = length - self.segment - distance
        ids[:, length - self.segment :] = ids[:, first : first + self.segment]
        return ids

    def measure(self, model: ProbeModel, length: int, seed: int, advance: Advance) -> list[Record]:
        return [self._record(model, length, distance, seed, advance) for distance in self.distances(length)]

    def _record(self, model: ProbeModel, length: int, distance: int, seed: int, advance: Advance) -> Record:
        again = torch.arange(length - self.segment + self.cue, length)
        positions = torch.cat([again - distance, again])
        n = len(again)
        accuracies: list[float] = []
        losses: list[float] = []
        first_losses: list[float] = []
        for batch in self.sequences(length, distance, seed).split(model.rows(length)):
            scores = model.score(batch, positions)
            accuracies += scores.hit[:, n:].double().mean(dim=1).tolist()
            losses += scores.nll[:, n:].mean(dim=1).tolist()
            first_losses += scores.nll[:, :n].mean(dim=1).tolist()
            advance(batch.numel())
        accuracy = math.fsum(accuracies) / len(accuracies)
        return {
            "probe": self.name,
            "length": length,
            "distance": distance,
            "samples": self.samples,
            "segment_tokens": self.segment,
            "cue_tokens": self.cue,
            "scored_tokens": self.samples * n,
            **with_interval("accuracy", accuracy, *share_interval(accuracy, self.samples)),
            "chance_accuracy": 1.0 / len(self.drawn),
            **with_interval("loss", *mean_interval(losses)),
            "first_loss": math.fsum(first_losses) / len(first_losses),
            "chance_loss": math.log(len(self.drawn)),
            "seed": seed,
        }
