"""How long a window a model was trained on, and how long a one it can read at all."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ...errors import require
from ...layers import LearnedPosition
from ...models import Decoder, LMZooForCausalLM

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
