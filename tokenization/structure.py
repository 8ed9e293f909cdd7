"""Which tokens are groups of digits, read off a tokenizer."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from ..errors import ArgumentError
from .magnitudes import Magnitudes
from .pipeline import byte_characters
from .schemes import GROUPS


class TriadStructure(NamedTuple):
    """The tokens that are a group of digits, with or without a magnitude; three arrays of one length, int64.

    Equal ``triad_index`` means equal digits: 0 ... n - 1 over the different strings, shorter ones first. Equal
    ``magnitude_index`` means equal markers: 0 is no marker, then those of :class:`Magnitudes` in their order.
    """

    token_ids: npt.NDArray[np.int64]
    triad_index: npt.NDArray[np.int64]
    magnitude_index: npt.NDArray[np.int64]


def magnitudes_in(tokenizer: PreTrainedTokenizerBase) -> Magnitudes | None:
    """The magnitude markers that a tokenizer of ours uses, saved and loaded or not; None if it has none.

    Raises:
        ArgumentError: the tokenizer has no ``tokenizers`` pipeline.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ArgumentError("tokenizer", "a fast tokenizer (one with a backend_tokenizer)", type(tokenizer).__name__)
    added = {token.content for token in backend.get_added_tokens_decoder().values() if not token.special}
    for group in GROUPS:  # one size's characters are among those of the smaller sizes, which come first
        if backend.normalizer is not None and added >= set(Magnitudes(group).characters.values()):
            return Magnitudes(group)
    return None


def marker_names(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Character in a token -> the name of the marker that it stands for; empty for a tokenizer without markers."""
    magnitudes = magnitudes_in(tokenizer)
    if magnitudes is None:
        return {}
    shown = byte_characters()
    return {shown[ord(character)]: name for name, character in magnitudes.characters.items()}


def triad_structure(tokenizer: PreTrainedTokenizerBase) -> TriadStructure:
    """Every token that is one to three digits, with the magnitude that it carries.

    For embeddings that start as a digits part plus a magnitude part. A marker that is a token of its own
    (``triadic_suffix``) has no digits and is not among them.

    Args:
        tokenizer: one from :func:`train_tokenizer`, or any byte-level one, whose digits then have no magnitude.

    Raises:
        ArgumentError: the tokenizer has no ``tokenizers`` pipeline.
    """
    markers = {character: i for i, character in enumerate(marker_names(tokenizer), start=1)}
    found = []
    for token, token_id in tokenizer.get_vocab().items():
        match = re.fullmatch(r"([0-9]{1,3})(.?)", token)
        if match and (not match[2] or match[2] in markers):
            found.append((token_id, match[1], markers.get(match[2], 0)))
    found.sort()
    digits = sorted({text for _, text, _ in found}, key=lambda text: (len(text), text))
    place = {text: i for i, text in enumerate(digits)}
    return TriadStructure(
        np.array([token_id for token_id, _, _ in found], dtype=np.int64),
        np.array([place[text] for _, text, _ in found], dtype=np.int64),
        np.array([magnitude for _, _, magnitude in found], dtype=np.int64),
    )
