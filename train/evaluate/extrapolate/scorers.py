"""Negative log-likelihoods of windows, without logits of a whole batch where the model allows it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....layers.functional import linear_nll
from ....models import Decoder, LMZooForCausalLM
from .protocols import Windows
from .stream import Ints, TextStream
from .sums import Scores

# Logits of a model that must make its own exist for one window; they are turned into nll so many rows at a time.
_ROWS = 512


class Scorer(ABC):
    """nll of the last S tokens of windows.

    Attributes:
        one_window: whether only one window may be scored at a time, for its memory.
        method: how, in a word, for the record.
    """

    one_window = False
    method: str

    @abstractmethod
    def nll(self, input_ids: Tensor, target: Tensor) -> Tensor:
        """-log p of ``target`` (B, S) at the last S of the positions of ``input_ids`` (B, T), in nats: (B, S)."""


class DecoderScorer(Scorer):
    """Our own models: the head's nll of just those positions that are scored."""

    method = "head.nll"

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def nll(self, input_ids: Tensor, target: Tensor) -> Tensor:
        hidden = self.decoder.hidden(input_ids)[:, -target.size(1) :]
        return self.decoder.head.nll(hidden.flatten(0, 1), target.flatten()).view_as(target)


class LinearScorer(Scorer):
    """A model of Hugging Face whose logits are exactly a matrix product of its trunk's hidden states."""

    method = "linear_nll"

    def __init__(self, trunk: nn.Module, output: nn.Linear) -> None:
        self.trunk = trunk
        self.output = output

    def nll(self, input_ids: Tensor, target: Tensor) -> Tensor:
        hidden: Tensor = self.trunk(input_ids=input_ids, use_cache=False)[0][:, -target.size(1) :]
        rows = linear_nll(hidden.flatten(0, 1), self.output.weight, target.flatten(), bias=self.output.bias)
        return rows.view_as(target)


class LogitsScorer(Scorer):
    """Any other causal model: its own logits, (1, T, V) at a time, of the scored positions alone where it can."""

    one_window = True
    method = "logits"

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def nll(self, input_ids: Tensor, target: Tensor) -> Tensor:
        more = {"logits_to_keep": target.size(1)} if self.keeps else {}
        logits: Tensor = self.model(input_ids=input_ids, **more).logits[:, -target.size(1) :]
        parts = [logits_nll(a, b) for a, b in zip(logits.flatten(0, 1).split(_ROWS), target.flatten().split(_ROWS))]
        return torch.cat(parts).view_as(target)


def scorer_for(model: nn.Module, probe: Tensor) -> Scorer:
    """The leanest scorer that is exact for this model.

    A model of Hugging Face is asked for the logits of ``probe`` (1, T). Where these are, bit for bit, what its linear
    output layer made of what its trunk returns, with nothing before or after it (no cap, no scale), both are used by
    themselves; else the model makes its logits.
    """
    if isinstance(model, LMZooForCausalLM):
        return DecoderScorer(model.decoder)
    if isinstance(model, Decoder):
        return DecoderScorer(model)
    output: Any = getattr(model, "get_output_embeddings", lambda: None)()
    trunk: Any = getattr(model, "base_model", None)
    # a subclass of Linear may compute something else
    plain = isinstance(output, nn.Linear) and type(output) is nn.Linear
    parted = isinstance(trunk, nn.Module) and trunk is not model
    if plain and parted and _is_product(model, trunk, output, probe):
        return LinearScorer(trunk, output)
    return LogitsScorer(model)


@torch.no_grad()
def _is_product(model: nn.Module, trunk: Any, output: nn.Linear, probe: Tensor) -> bool:
    seen: list[tuple[Tensor, Tensor]] = []
    handle = output.register_forward_hook(lambda _, inputs, made: seen.append((inputs[0], made)))
    try:
        logits = model(input_ids=probe).logits
        hidden = trunk(input_ids=probe, use_cache=False)[0]
    except TypeError:  # a trunk that is not called like the model
        return False
    finally:
        handle.remove()
    if len(seen) != 1:
        return False
    read, made = seen[0]
    return read.shape == hidden.shape and torch.equal(read, hidden) and torch.equal(made.to(logits.dtype), logits)


def logits_nll(logits: Tensor, target: Tensor) -> Tensor:
    """-log p of ``target`` (N) by ``logits`` (N, V), in nats: (N), in float32 at least."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return nn.functional.cross_entropy(logits, target, reduction="none")


@torch.no_grad()
def score(
    scorer: Scorer,
    stream: TextStream,
    windows: Windows,
    *,
    device: torch.device,
    batch_tokens: int,
    advance: Callable[[int], None],
) -> Scores:
    """The nll of every target of the windows but those that the stream does not score.

    Windows of one shape are read together, as many as ``batch_tokens`` tokens hold and at least one; none is padded.

    Args:
        scorer: of the model.
        stream: the text.
        windows: on that text.
        device: where the model is.
        batch_tokens: tokens to read at once.
        advance: told the tokens read after each batch.
    """
    targets, contexts, values = [], [], []
    for begin, length, scored in _batches(windows, 1 if scorer.one_window else batch_tokens):
        ids = stream.tokens[begin[:, None] + np.arange(length + 1)]
        block = torch.from_numpy(ids).to(device)
        nll = scorer.nll(block[:, :-1], block[:, length + 1 - scored :])
        places = begin[:, None] + np.arange(length + 1 - scored, length + 1)
        wanted = stream.scored[places]
        targets.append(places[wanted])
        contexts.append((places - begin[:, None])[wanted])
        values.append(nll.double().cpu().numpy()[wanted])
        advance(ids.shape[0] * length)
    return Scores(np.concatenate(targets), np.concatenate(contexts), np.concatenate(values))


def _batches(windows: Windows, batch_tokens: int) -> Iterator[tuple[Ints, int, int]]:
    """First tokens of windows of one shape, their length and how many of their targets are scored."""
    shapes = np.stack([windows.end - windows.begin, windows.end + 1 - windows.first], axis=1)
    changes = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
    for run in np.split(np.arange(len(shapes)), changes):
        length, scored = (int(n) for n in shapes[run[0]])
        size = max(1, batch_tokens // length)
        for i in range(0, len(run), size):
            yield windows.begin[run[i : i + size]], length, scored
