"""Training of a byte-level BPE tokenizer."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ..errors import ArgumentError, require
from .schemes import DEFAULT_GROUP, pre_tokenizer_for

END_OF_TEXT = "<|endoftext|>"
"""The one special token: stands before every document and serves as bos, eos and pad; its id is 0."""

MIN_VOCAB_SIZE = 257
"""The 256 bytes, without which the tokenizer would not be lossless, and the special token."""


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, *, numbers: str = "bpe", group: int = DEFAULT_GROUP
) -> PreTrainedTokenizerFast:
    """Train a lossless byte-level BPE tokenizer.

    ``decode(encode(s)) == s`` for every string ``s`` that UTF-8 can carry: all 256 bytes are in the vocabulary, no
    space is added in front, nothing is cleaned up. The characters of the special token in a text are text: they encode
    to ordinary tokens (``split_special_tokens`` is on), so the separator's id comes from nowhere but its explicit use.
    Offsets cover every character, white space included. The same texts in the same order give the same tokenizer.

    Papers: Sennrich et al. 2016 (BPE), arXiv:1508.07909; Radford et al. 2019 (bytes, and the split into words).

    Args:
        texts: the documents to learn merges from; read once.
        vocab_size: entries in the vocabulary, special token included; at least 257.
        numbers: number scheme, one of ``NUMBER_SCHEMES``.
        group: digits in a group, for schemes that group.

    Returns:
        A tokenizer of ``transformers``; ``save_pretrained`` writes files that any ``AutoTokenizer`` loads.

    Raises:
        ArgumentError: an argument is out of range; the texts have too few distinct words to fill ``vocab_size`` (the
            error names the size that works); a text holds a lone surrogate, which UTF-8 has no bytes for.
    """
    require(not isinstance(texts, str), "texts", "an iterable of strings, one a document", type(texts).__name__)
    check_vocab_size(vocab_size)
    pre_tokenizer = pre_tokenizer_for(numbers, group)

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    # The library trims white space off offsets unless told not to; word and byte counts need every character.
    backend.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END_OF_TEXT],
        show_progress=sys.stderr.isatty(),
    )
    try:
        backend.train_from_iterator(texts, trainer)
    except UnicodeEncodeError as error:
        found = f"{error.object[error.start : error.end]!a} at character {error.start} of a text"
        raise ArgumentError("texts", "text without lone surrogates, which UTF-8 cannot carry", found) from error
    reached = backend.get_vocab_size()
    require(reached == vocab_size, "vocab_size", f"at most {reached} for this text", vocab_size)
    return wrap_tokenizer(backend)


def check_vocab_size(vocab_size: int) -> None:
    """Raise :class:`ArgumentError` unless ``vocab_size`` is an integer that holds all bytes and the special token."""
    valid = isinstance(vocab_size, int) and not isinstance(vocab_size, bool) and vocab_size >= MIN_VOCAB_SIZE
    require(valid, "vocab_size", f"an integer of at least {MIN_VOCAB_SIZE} (256 bytes and a separator)", vocab_size)


def wrap_tokenizer(backend: Tokenizer) -> PreTrainedTokenizerFast:
    """A backend as a ``transformers`` tokenizer with the settings that keep every string whole."""
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )
