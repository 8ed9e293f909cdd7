"""Which split a document belongs to, where the corpus does not say."""

from __future__ import annotations

import hashlib

TRAIN_SHARE = 0.90
VALIDATION_SHARE = 0.05


def split_of(key: str) -> str:
    """``train`` (about 90 %), ``validation`` or ``test`` (about 5 % each), by a hash of ``key`` alone.

    A document keeps its split whatever else is in the corpus and in whatever order files are listed.
    """
    fraction = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") / 2**64
    if fraction < TRAIN_SHARE:
        return "train"
    return "validation" if fraction < TRAIN_SHARE + VALIDATION_SHARE else "test"
