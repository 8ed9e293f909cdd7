"""A tokenizer of bytes and a few merges, and models that do one thing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lmzoo.models import Decoder
from lmzoo.tokenization import train_tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

TEXT = "The code of the safe is a number. It is a quiet day by the river, and the old mill stands in the yard. " * 20


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer([TEXT], 300)


class Copier(nn.Module):
    """Continues the latest place where its last four tokens stood before; where there is none, every token alike.

    Called like a Hugging Face model; the tokens themselves are its cache.
    """

    def __init__(self, vocab_size: int, reach: int | None = None) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            vocab_size=vocab_size, get_text_config=lambda: SimpleNamespace(vocab_size=vocab_size)
        )
        self.reach = reach
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(
        self, input_ids: Tensor, past_key_values: Tensor | None = None, use_cache: bool = False
    ) -> SimpleNamespace:
        seen = input_ids if past_key_values is None else torch.cat([past_key_values, input_ids], dim=1)
        logits = torch.zeros(*seen.shape, self.config.vocab_size)
        for b, row in enumerate(seen.tolist()):
            places: dict[tuple[int, ...], int] = {}
            for t in range(3, len(row)):
                before = places.get(tuple(row[t - 3 : t + 1]))
                if before is not None and (self.reach is None or t - before <= self.reach):
                    logits[b, t, row[before + 1]] = 40.0
                places[tuple(row[t - 3 : t + 1])] = t
        return SimpleNamespace(logits=logits[:, seen.size(1) - input_ids.size(1) :], past_key_values=seen)


@pytest.fixture
def copier(tokenizer: PreTrainedTokenizerBase) -> Any:
    """``copier(reach=None)``: a model that copies perfectly, from at most ``reach`` tokens back."""
    return lambda reach=None: Copier(len(tokenizer), reach)


@pytest.fixture
def uniform(tokenizer: PreTrainedTokenizerBase) -> Decoder:
    """A decoder to which all tokens are alike."""
    decoder = Decoder(len(tokenizer), 16, 1, 2)
    with torch.no_grad():
        decoder.embedding.weight.zero_()
    return decoder


@pytest.fixture
def drawn(tokenizer: PreTrainedTokenizerBase) -> Decoder:
    """A decoder with wide random weights."""
    torch.manual_seed(0)
    return Decoder(len(tokenizer), 32, 2, 4, init_std=0.3)
