"""The structured start of number embeddings, from what the tokenizer knows of its tokens."""

from __future__ import annotations

import zlib

import torch
from transformers import PreTrainedTokenizerBase

from .. import tokenization
from ..errors import require
from ..models import Decoder, structured_start

# Schemes whose vocabulary holds tokens for a triad together with its magnitude.
_WITH_TRIADS = ("triadic",)


def check_number_embedding(number_embedding: str, numbers: str, tokenizer: str | None) -> None:
    """Raise :class:`ArgumentError` where a tokenizer that is still to be trained will have no triads to start from."""
    if number_embedding == "structured" and tokenizer is None:
        expected = f"independent, or data.numbers: {' or '.join(_WITH_TRIADS)}; numbers={numbers} has no triad tokens"
        require(numbers in _WITH_TRIADS, "number_embedding", expected, number_embedding)


def start_from_structure(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """Let the embeddings of triads start from shared parts; see :func:`structured_start`. A function of the seed alone.

    Raises:
        ArgumentError: the tokenizer has no token for a triad with a magnitude.
    """
    token_ids, triads, magnitudes = (torch.as_tensor(x) for x in tokenization.triad_structure(tokenizer))
    marked = bool((magnitudes > 0).any())  # bare groups of digits, which any tokenizer may have, share nothing
    require(marked, "number_embedding", "independent for a tokenizer without marked triads", "structured")
    # a stream of its own, as each parameter of the decoder has
    generator = torch.Generator().manual_seed((seed + zlib.crc32(b"number_embedding")) % (1 << 63))
    structured_start(decoder.embedding.weight, token_ids, triads, magnitudes, std=decoder.init_std, generator=generator)
