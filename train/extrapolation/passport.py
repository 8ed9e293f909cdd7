"""What stands beside an extrapolation figure."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ...models import Decoder, LMZooForCausalLM, count_built
from ...tokenization import tokenizer_sha256
from ..environment import commit, versions
from .limits import train_length_of
from .stream import TextStream


def text_passport(stream: TextStream, *, corpus: str, more: dict[str, Any]) -> dict[str, Any]:
    """Of the text; ``more`` is what the caller knows of the corpus beyond what can be seen."""
    return {
        "corpus": corpus,
        "text_sha256": stream.text_sha256,
        "documents": stream.documents,
        "word_rule": stream.word_rule,
        **more,
    }


def model_passport(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, train_length: int | None, seed: int | None
) -> dict[str, Any]:
    """Of tokenizer, model and code; the training length is what the model says where it is not given."""
    return {
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "weights_sha256": weights_sha256(model),
        "train_length": train_length if train_length is not None else train_length_of(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "seed": seed,
        **_parameters(model),
        "versions": versions(),
        "commit": commit(),
    }


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all weights, in the order of names."""
    found = hashlib.sha256()
    decoder = model.decoder if isinstance(model, LMZooForCausalLM) else model
    for name, tensor in sorted(decoder.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        found.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return found.hexdigest()


def _parameters(model: nn.Module) -> dict[str, int]:
    """Each parameter counted once: what a head shares with the embedding is tied and none of its own."""
    if isinstance(model, Decoder | LMZooForCausalLM):
        counts = count_built(model.decoder if isinstance(model, LMZooForCausalLM) else model)
        return {
            "parameters": counts.total,
            "embedding_parameters": counts.embedding,
            "head_parameters": counts.head,
            "tied_parameters": counts.tied,
            "head_table_bytes": counts.head_table_bytes,
        }
    words = getattr(model, "get_input_embeddings", lambda: None)()
    output = getattr(model, "get_output_embeddings", lambda: None)()
    inside = set() if words is None else {id(p) for p in words.parameters()}
    embedding = 0 if words is None else sum(p.numel() for p in words.parameters())
    of_head = [] if output is None else [*output.parameters()]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "embedding_parameters": embedding,
        "head_parameters": sum(p.numel() for p in of_head if id(p) not in inside),
        "tied_parameters": sum(p.numel() for p in of_head if id(p) in inside),
        "head_table_bytes": 0,
    }
