"""A small text, its tokenizer, small models in float64, and the slow way to score them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lmzoo.models import Decoder
from lmzoo.tokenization import train_tokenizer
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

WORDS = "the model of a small text that we make here – naïve – is read by rows and words come again".split()


def _document(n: int, seed: int) -> str:
    draw = random.Random(seed)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) + "." for _ in range(n)]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """Four documents of very different length."""
    return [_document(n, seed) for seed, n in enumerate((7, 1, 12, 4))]


@pytest.fixture(scope="session")
def tokenizer(documents: list[str]) -> Any:
    return train_tokenizer([*documents, _document(60, 9)], 290)


@pytest.fixture
def make_decoder(tokenizer: Any) -> Callable[..., Decoder]:
    """A decoder in float64 whose weights are wide, so that context and order matter."""

    def make(**arguments: Any) -> Decoder:
        torch.manual_seed(0)
        sizes = {"vocab_size": len(tokenizer), "d_model": 16, "n_layers": 2, "n_heads": 2, "init_std": 0.3}
        return Decoder(**(sizes | arguments)).double()

    return make


def _wide(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model.double().eval()


@pytest.fixture
def gpt2(tokenizer: Any) -> Any:
    """Learned positions for 64 tokens, a tied head."""
    sizes = {"vocab_size": len(tokenizer), "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return _wide(GPT2LMHeadModel(GPT2Config(**sizes)))


@pytest.fixture
def llama(tokenizer: Any) -> Any:
    """Rotary positions, a head of its own, said to be made for 16 tokens."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "tie_word_embeddings": False}
    return _wide(LlamaForCausalLM(LlamaConfig(**sizes, **more)))


@pytest.fixture
def brute() -> Callable[..., dict[int, float]]:
    """``brute(model, ids, contexts)``: {j: -log p(ids[j] | the c tokens before it)} over {j: c}, one by one."""

    @torch.no_grad()
    def score(model: nn.Module, ids: list[int], contexts: dict[int, int]) -> dict[int, float]:
        model.eval()
        found = {}
        for j, context in contexts.items():
            output = model(torch.tensor([ids[j - context : j]]))
            logits = getattr(output, "logits", output)
            found[j] = -float(torch.log_softmax(logits[0, -1].double(), dim=0)[ids[j]])
        return found

    return score


@pytest.fixture
def row(tokenizer: Any, documents: list[str]) -> tuple[list[int], list[int]]:
    """The ids of all documents with a separator before each, and the separators' places."""
    ids: list[int] = []
    places = []
    for document in documents:
        places.append(len(ids))
        ids += [tokenizer.eos_token_id, *tokenizer(document, add_special_tokens=False)["input_ids"]]
    return ids, places
