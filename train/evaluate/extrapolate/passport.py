"""What stands beside the figures of any causal model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ....layers import LearnedPosition
from ....models import Decoder, LMZooForCausalLM, count_built
from ....tokenization import tokenizer_sha256
from ...runs.environment import commit, counted, versions
from ...runs.evaluation_files import Origin
from .stream import Text, TextStream

# Rows that some models keep before position 0 in their tables (OPT has two).
_SPARE_ROWS = 2


def train_length_of(model: nn.Module) -> int | None:
    """Tokens of a training context: what our exports record, else the length that a model of Hugging Face is said to be
    made for (``max_position_embeddings``); None where neither is known.
    """
    config = getattr(model, "config", None)
    for name in ("train_length", "max_position_embeddings"):
        length = getattr(config, name, None)
        if isinstance(length, int):
            return length
    return None


def length_limit(model: nn.Module) -> int | None:
    """The longest window that the model's tables of positions allow; None where there is no such table.

    Ours say so (:class:`LearnedPosition`). Of a model of Hugging Face, ``max_position_embeddings`` is a limit where
    an embedding or a buffer has so many rows, as in GPT-2 (learned positions) or GPT-J (a table of rotations); it is
    none where positions are computed, as in Llama.
    """
    if isinstance(model, Decoder | LMZooForCausalLM):
        ours = [m for m in model.modules() if isinstance(m, LearnedPosition)]
        return min((position.max_length for position in ours), default=None)
    limit = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if not isinstance(limit, int):
        return None
    rows = range(limit, limit + _SPARE_ROWS + 1)
    words = getattr(model, "get_input_embeddings", lambda: None)()
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding) and m is not words]
    in_tables = any(table.num_embeddings in rows for table in tables)
    in_buffers = any(b.dim() >= 2 and b.size(-2) in rows for b in model.buffers())
    return limit if in_tables or in_buffers else None


def check_lengths(model: nn.Module, lengths: Sequence[int]) -> None:
    """Raise :class:`ArgumentError` unless ``lengths`` are usable numbers that the model's positions allow."""
    usable = len(lengths) > 0 and all(isinstance(n, int) and n >= 1 for n in lengths)
    require(usable, "lengths", "at least one whole number, 1 or more", list(lengths))
    require(len(set(lengths)) == len(lengths), "lengths", "different numbers", list(lengths))
    limit = length_limit(model)
    expected = f"at most {limit}: this model's table of positions ends there"
    require(limit is None or max(lengths) <= limit, "lengths", expected, max(lengths))


def text_passport(stream: TextStream, text: Text) -> dict[str, Any]:
    """Of the text, with what is known of it beyond what can be seen."""
    return {
        "corpus": text.corpus,
        "text_sha256": stream.text_sha256,
        "documents": stream.documents,
        "word_rule": stream.word_rule,
        **text.more,
    }


def origin_of(weights: str | None, version: int, text: Text | None = None, stream: TextStream | None = None) -> Origin:
    """What decides figures of a model on this text, if any; ``weights`` is the hash of the file it was loaded from."""
    texts = {} if text is None or stream is None else {str(text.more.get("split", "text")): stream.text_sha256}
    return Origin(version=version, weights_sha256=weights, text_sha256=texts)


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
        **_sizes(model),
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


def _sizes(model: nn.Module) -> dict[str, int]:
    """Each parameter counted once: what a head shares with the embedding is tied and none of its own."""
    if isinstance(model, Decoder | LMZooForCausalLM):
        return counted(count_built(model.decoder if isinstance(model, LMZooForCausalLM) else model))
    words = getattr(model, "get_input_embeddings", lambda: None)()
    output = getattr(model, "get_output_embeddings", lambda: None)()
    inside = {} if words is None else {id(p): p.numel() for p in words.parameters()}
    of_head = {} if output is None else {id(p): p.numel() for p in output.parameters()}
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "embedding_parameters": sum(inside.values()),
        "head_parameters": sum(n for key, n in of_head.items() if key not in inside),
        "tied_parameters": sum(n for key, n in of_head.items() if key in inside),
        "head_table_bytes": 0,
    }
