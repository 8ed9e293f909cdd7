"""A fingerprint of a tokenizer."""

from __future__ import annotations

import hashlib
import json

from transformers import PreTrainedTokenizerBase

from ..errors import ArgumentError


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of everything that decides which ids a text gets and what ids decode to.

    Taken over the canonical JSON of the ``tokenizers`` pipeline (normalizer, pre-tokenizer, vocabulary, merges, added
    tokens, decoder), the special tokens' roles and whether special tokens are recognised in text. Truncation and
    padding, which a call may leave switched on, are not part of it. Equal before and after saving, and in every
    process.

    Args:
        tokenizer: a fast tokenizer of ``transformers``.

    Raises:
        ArgumentError: the tokenizer has no ``tokenizers`` backend.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ArgumentError("tokenizer", "a fast tokenizer (one with a backend_tokenizer)", type(tokenizer).__name__)
    pipeline = json.loads(backend.to_str())
    pipeline.pop("truncation", None)
    pipeline.pop("padding", None)
    identity = {
        "pipeline": pipeline,
        "roles": {role: str(token) for role, token in tokenizer.special_tokens_map.items()},
        "split_special_tokens": bool(tokenizer.split_special_tokens),
    }
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
