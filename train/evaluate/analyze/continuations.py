"""Continuations of held-out text: where prompts are cut, what the model writes, and how varied it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ....errors import ConfigError
from ....models import LMZooForCausalLM
from ...data.encode import PreparedSplit
from ...storage import Record

Continuation = Sequence[Hashable]
"""One continuation as units of any kind: token ids or words."""

DISTINCT = (1, 2, 3)
REPETITION = 4


def ngrams(units: Continuation, n: int) -> Iterator[tuple[Hashable, ...]]:
    """The n-grams of one continuation in order: max(0, length - n + 1) of them."""
    return zip(*(units[i:] for i in range(n)))


def distinct(continuations: Sequence[Continuation], n: int) -> float:
    """distinct-n (Li et al. 2016): different n-grams of all continuations together / n-grams of all of them.

    No n-gram reaches from one continuation into the next. The more text, the lower the figure, so that only sets of
    equally many and equally long continuations compare. NaN where no continuation has n units.
    """
    found = [gram for units in continuations for gram in ngrams(units, n)]
    return len(set(found)) / len(found) if found else math.nan


def sequence_repetition(continuations: Sequence[Continuation], n: int = REPETITION) -> tuple[float, int]:
    """seq-rep-n (Welleck et al. 2020): mean over continuations of 1 - different n-grams / n-grams of the continuation.

    Returns:
        The mean and the number of continuations it is over: those of at least n units, since a shorter one has no
        n-gram that could come again. NaN and 0 where there are none.
    """
    counts = [(len(set(grams)), len(grams)) for units in continuations if (grams := list(ngrams(units, n)))]
    if not counts:
        return math.nan, 0
    return math.fsum(1 - different / total for different, total in counts) / len(counts), len(counts)


def share_outside(continuations: Sequence[Continuation], frequent: Collection[Hashable]) -> float:
    """Share of all units that are not among the ``frequent`` ones; NaN where there is no unit."""
    known = set(frequent)
    total = sum(len(units) for units in continuations)
    return sum(unit not in known for units in continuations for unit in units) / total if total else math.nan


def variety(continuations: Sequence[Continuation]) -> dict[str, Any]:
    """Number of units, distinct-1, -2 and -3, and seq-rep-4 with the number of continuations it is over."""
    repetition, over = sequence_repetition(continuations)
    return {
        "units": sum(len(units) for units in continuations),
        **{f"distinct_{n}": distinct(continuations, n) for n in DISTINCT},
        f"seq_rep_{REPETITION}": repetition,
        f"seq_rep_{REPETITION}_over": over,
    }


FREQUENT_TYPES = 100
# Of a generation: enough to fill the cores with a small model. Part of what a seed's draws follow from.
BATCH_SIZE = 32

DECODINGS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
}
HUMAN = "human"

RULE = (
    "The split is cut, document by document, into pieces of prompt and continuation that hold no separator but one at "
    "their beginning; as many as asked for are drawn by the seed, and the continuation that each has in the text is "
    "the human one. Models continue the same prompts by equally many tokens; the separator, which would end the "
    "document, is left out of what they choose from, as the human continuations have none."
)


@dataclass(frozen=True)
class Pieces:
    """Prompts with the text that follows them.

    Attributes:
        starts: the first token of each in the split, ascending.
        prompts: (N, prompt_tokens) int64.
        human: (N, new_tokens) int64.
    """

    starts: list[int]
    prompts: Tensor
    human: Tensor


def take_pieces(prepared: PreparedSplit, count: int, prompt_tokens: int, new_tokens: int, seed: int) -> Pieces:
    """``count`` different pieces of a split, as :data:`RULE` says: a pure function of text and arguments.

    Raises:
        ConfigError: the split's documents hold fewer pieces.
    """
    size = prompt_tokens + new_tokens
    begins = np.asarray(prepared.separators)
    ends = np.append(begins[1:], prepared.length)
    candidates = np.concatenate([np.arange(b, e - size + 1, size) for b, e in zip(begins, ends, strict=True)])
    if count > len(candidates):
        raise ConfigError(
            f"expected at most {len(candidates)}, the pieces of {prompt_tokens} + {new_tokens} tokens in documents of "
            f"the {prepared.split} split, got {count}; take fewer prompts, fewer prompt_tokens or fewer new_tokens",
            key="prompts",
        )
    starts = np.sort(np.random.default_rng(seed).choice(candidates, size=count, replace=False))
    tokens = torch.from_numpy(prepared.tokens[starts[:, None] + np.arange(size)].astype(np.int64))
    return Pieces(starts.tolist(), tokens[:, :prompt_tokens], tokens[:, prompt_tokens:])


@torch.no_grad()
def continue_prompts(
    model: LMZooForCausalLM,
    prompts: Tensor,
    new_tokens: int,
    *,
    decoding: str,
    separator: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """(N, P) -> (N, new_tokens) on the CPU: written with the key cache in batches, sampled under ``seed``.

    ``advance`` is told how many prompts were done. The process's random state is left as it was.
    """
    device = next(model.parameters()).device
    written = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for batch in prompts.split(BATCH_SIZE):
            given = batch.to(device)
            output = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=new_tokens,
                suppress_tokens=[separator],
                **DECODINGS[decoding],
            )
            written.append(output[:, given.size(1) :].cpu())
            advance(len(batch))
    return torch.cat(written)


def continuation_record(
    source: str, continuations: Tensor, texts: Sequence[str], frequent: npt.NDArray[np.int64]
) -> Record:
    """The statistics of one source's continuations, by token and by word (between white space) of their ``texts``.

    A continuation's first and last word may be parts of words: cuts fall between tokens.
    """
    tokens = continuations.tolist()
    words = [text.split() for text in texts]
    of_words = {f"word_{key}": value for key, value in variety(words).items()}
    of_tokens = variety(tokens)
    return {
        "kind": "continuations",
        "source": source,
        "tokens": of_tokens.pop("units"),
        **of_tokens,
        "rare_share": share_outside(tokens, frequent.tolist()),
        "words": of_words.pop("word_units"),
        **of_words,
    }


def frequent_types(token_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The ids of the 100 most frequent training labels, of equal counts the lower; fewer where fewer were seen."""
    order = np.argsort(-token_counts, kind="stable")[:FREQUENT_TYPES]
    return order[token_counts[order] > 0]


def decoded(tokenizer: PreTrainedTokenizerBase, continuations: Tensor) -> list[str]:
    """Each continuation as text."""
    return [
        str(tokenizer.decode(row, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        for row in continuations.tolist()
    ]
