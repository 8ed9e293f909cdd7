"""The frame that every probe fills in, and what it asks of a model."""

from __future__ import annotations

import copy
import inspect
import zlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ....errors import ArgumentError
from ....layers import KeyCache
from ....models import Decoder, LMZooForCausalLM
from ...storage import Record
from ..extrapolate.scorers import logits_nll
from ..frame import Advance

# Rows of logits that exist at once.
_LOGITS = 1 << 26


class Scores(NamedTuple):
    """Of given tokens, (B, n) each.

    Attributes:
        nll: -log p in nats, float64.
        hit: bool, true where the token is the model's greedy choice.
    """

    nll: Tensor
    hit: Tensor


class ProbeModel:
    """One face of :class:`Decoder`, :class:`LMZooForCausalLM` and any Hugging Face causal model.

    Logits exist for the asked positions alone, some rows at a time, where the model can do so.

    Args:
        model: the model, on any device, in evaluation mode.
        batch_tokens: tokens of a batch.
    """

    def __init__(self, model: nn.Module, batch_tokens: int = 1 << 14) -> None:
        self.model = model
        self.batch_tokens = batch_tokens
        self.decoder = model.decoder if isinstance(model, LMZooForCausalLM) else model
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def rows(self, length: int) -> int:
        return max(1, self.batch_tokens // length)

    @torch.no_grad()
    def score(self, input_ids: Tensor, positions: Tensor, *, choices: bool = True) -> Scores:
        """Scores of the tokens at ``positions`` (n,), each at least 1, given all before them; ``input_ids`` (B, T).

        Without ``choices`` no greedy choice is looked for and ``hit`` is false.
        """
        input_ids, positions = input_ids.to(self.device), positions.to(self.device)
        target = input_ids[:, positions]
        if isinstance(self.decoder, Decoder):
            hidden = self.decoder.hidden(input_ids[:, :-1])[:, positions - 1]
            return self._from_hidden(self.decoder, hidden, target, choices)
        # (B, T, V) logits for a batch would be the largest tensor by far
        step = max(1, _LOGITS // (self._vocabulary() * (len(positions) if self._keeps else input_ids.size(1))))
        parts = [self._from_logits(ids, positions) for ids in input_ids.split(step)]
        return Scores(torch.cat([p.nll for p in parts]), torch.cat([p.hit for p in parts]))

    @torch.no_grad()
    def continuations(self, prefix: Tensor, candidates: Tensor) -> Scores:
        """Scores (C, B, n) of C candidates (C, B, n) after one prefix (B, T), which is read once, on the key cache.

        Raises:
            ArgumentError: the model has no key cache.
        """
        prefix, candidates = prefix.to(self.device), candidates.to(self.device)
        cache, first = self._read(prefix)
        parts = [self._continue(cache, first, candidate) for candidate in candidates]
        return Scores(torch.stack([p.nll for p in parts]), torch.stack([p.hit for p in parts]))

    def _read(self, prefix: Tensor) -> tuple[Any, Tensor]:
        """The cache of the prefix, and hidden states (ours) or logits (others) of its last token, (B, 1, ...)."""
        if isinstance(self.decoder, Decoder):
            cache = KeyCache()
            return cache, self.decoder.hidden(prefix, cache=cache)[:, -1:]
        output = self.model(input_ids=prefix, use_cache=True, **({"logits_to_keep": 1} if self._keeps else {}))
        past = getattr(output, "past_key_values", None)
        if past is None:
            raise ArgumentError("model", "a model with a key cache", type(self.model).__name__)
        return past, output.logits[:, -1:]

    def _continue(self, cache: Any, first: Tensor, candidate: Tensor) -> Scores:
        rest = candidate[:, :-1]
        rows = first
        if rest.size(1):
            own = copy.deepcopy(cache)  # reading a candidate extends the cache
            if isinstance(self.decoder, Decoder):
                more = self.decoder.hidden(rest, cache=own)
            else:
                more = self.model(input_ids=rest, past_key_values=own, use_cache=True).logits
            rows = torch.cat([first, more], dim=1)
        if isinstance(self.decoder, Decoder):
            return self._from_hidden(self.decoder, rows, candidate)
        return _of_logits(rows, candidate)

    def _from_hidden(self, decoder: Decoder, hidden: Tensor, target: Tensor, choices: bool = True) -> Scores:
        flat, wanted = hidden.flatten(0, 1), target.flatten()
        nll = decoder.head.nll(flat, wanted).double().view_as(target).cpu()
        if not choices:
            return Scores(nll, torch.zeros(target.shape, dtype=torch.bool))
        rows = max(1, _LOGITS // decoder.vocab_size)
        chosen = torch.cat([decoder.head(part).argmax(dim=-1) for part in flat.split(rows)])
        return Scores(nll, (chosen == wanted).view_as(target).cpu())

    def _from_logits(self, input_ids: Tensor, positions: Tensor) -> Scores:
        if self._keeps:
            logits = self.model(input_ids=input_ids[:, :-1], logits_to_keep=positions - 1).logits
        else:
            logits = self.model(input_ids=input_ids[:, :-1]).logits[:, positions - 1]
        return _of_logits(logits, input_ids[:, positions])

    def _vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)  # type: ignore[union-attr, operator]


def _of_logits(logits: Tensor, target: Tensor) -> Scores:
    nll = logits_nll(logits.flatten(0, 1), target.flatten()).double()
    return Scores(nll.view_as(target).cpu(), (logits.argmax(dim=-1) == target).cpu())


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


def with_interval(name: str, figure: float, low: float | None, high: float | None) -> Record:
    """A figure and the ends of its interval, as records have them."""
    return {name: figure, f"{name}_low": low, f"{name}_high": high}
