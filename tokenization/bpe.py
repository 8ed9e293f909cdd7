"""Training of a byte-level BPE tokenizer with a number scheme."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ..errors import ArgumentError, require
from .groups import GroupCounter, Shares, group_merges, share_out
from .magnitudes import Magnitudes, magnitudes_of
from .pipeline import decoder_for, normalizer_for, pre_tokenizer_for, text_pre_tokenizer
from .schemes import DEFAULT_GROUP, number_scheme

END_OF_TEXT = "<|endoftext|>"
"""The one special token: stands before every document and serves as bos, eos and pad; its id is 0."""

MIN_VOCAB_SIZE = 257
"""The 256 bytes, without which the tokenizer would not be lossless, and the special token."""


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    numbers: str = "bpe",
    group: int = DEFAULT_GROUP,
    pad_fraction: bool = False,
    all_groups: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a lossless byte-level BPE tokenizer.

    ``decode(encode(s)) == s`` for every string ``s`` that UTF-8 can carry: all 256 bytes are in the vocabulary, no
    space is added in front, nothing is cleaned up. The characters of the special token in a text are text: they encode
    to ordinary tokens (``split_special_tokens`` is on), so the separator's id comes from nowhere but its explicit use.
    Offsets cover every character, white space included. The same texts in the same order give the same tokenizer.

    Numbers are cut by a scheme (:func:`segment_number` says where), before BPE sees them; merges hold no digits but
    those of a group. The magnitude markers of ``triadic`` and ``triadic_suffix`` are characters that no text produces:
    a control character in a text has a token of its own, outside the marker's. A marker token that a model puts in an
    impossible place decodes to nothing, and the digits around it stay.

    ``vocab_size`` counts everything. Of what is left after the bytes, the separator and typed control characters,
    groups of two and three digits take at most half (all pairs, then the most frequent triples), for ``triadic``
    groups with their marker that occur in the texts at most half of the remainder (the most frequent), and merges of
    text the rest; what the text cannot use goes to the groups after all. With groups of three, every bare group has
    its entry from about 2,500 entries on. A marked group without one is its bare group's token and its marker's; a
    bare group without one is two tokens, and a marker then goes with the second. Nothing becomes unknown.

    Papers: Sennrich et al. 2016 (BPE), arXiv:1508.07909; Radford et al. 2019 (bytes, and the split into words);
    triadic suffix tokenization, arXiv:2604.11582, 2026, of which ``triadic`` is variant B and ``triadic_suffix``
    variant A; groups from the right: Singh and Strouse 2024, arXiv:2402.14903.

    Args:
        texts: the documents to learn merges from; read once.
        vocab_size: entries in the vocabulary, special token included; at least 257, and for the schemes with
            magnitudes one more for each marker.
        numbers: number scheme, one of ``NUMBER_SCHEMES``.
        group: digits in a group, for schemes that group: 1, 2 or 3.
        pad_fraction: for the schemes with magnitudes, fill the last marked group of a fraction up with zeros, as the
            paper does. **Not lossless**: 0.1, 0.10 and 0.100 all decode to 0.100.
        all_groups: give every group an entry, 1,100 bare ones and for ``triadic`` 11,100 with a marker where ``group``
            is 3, before text has any; by default groups and text share as above.

    Returns:
        A tokenizer of ``transformers``; ``save_pretrained`` writes files that any ``AutoTokenizer`` loads.

    Raises:
        ArgumentError: an argument is out of range; the texts have too few distinct words to fill ``vocab_size`` (the
            error names the size that works); a text holds a lone surrogate, which UTF-8 has no bytes for.
    """
    require(not isinstance(texts, str), "texts", "an iterable of strings, one a document", type(texts).__name__)
    check_vocab_size(vocab_size, numbers, group, pad_fraction=pad_fraction, all_groups=all_groups)
    scheme = number_scheme(numbers, group, pad_fraction=pad_fraction)
    magnitudes = magnitudes_of(scheme, group)
    controls = [] if magnitudes is None else list(magnitudes.characters.values())

    if scheme.cut == "none":
        model = _train_model(texts, vocab_size, pre_tokenizer_for(scheme, group, None))
        reached = len(model.vocab)
    else:
        counter = GroupCounter(scheme, group, pad_fraction)
        room = vocab_size - len(controls)
        learned = _train_model(counter.watch(texts), room, text_pre_tokenizer(magnitudes))
        model = _with_groups(learned, room, counter, magnitudes, all_groups=all_groups)
        reached = len(model.vocab) + len(controls)
    require(reached == vocab_size, "vocab_size", f"at most {reached} for this text", vocab_size)

    backend = Tokenizer(models.BPE(vocab=model.vocab, merges=model.merges))
    if magnitudes is not None:
        backend.normalizer = normalizer_for(magnitudes, pad_fraction)
    backend.pre_tokenizer = pre_tokenizer_for(scheme, group, magnitudes)
    backend.decoder = decoder_for(magnitudes)
    # The library trims white space off offsets unless told not to; word and byte counts need every character.
    backend.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    backend.add_special_tokens([END_OF_TEXT])
    backend.add_tokens([AddedToken(control, normalized=False, special=False) for control in controls])
    return wrap_tokenizer(backend)


class _Model(NamedTuple):
    """What a BPE model is made of."""

    vocab: dict[str, int]
    merges: list[tuple[str, str]]


def _train_model(texts: Iterable[str], vocab_size: int, pre_tokenizer: pre_tokenizers.PreTokenizer) -> _Model:
    """Learn merges; the vocabulary is smaller than asked for where the text has no more of them."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizer
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
    learned = json.loads(backend.to_str())["model"]
    return _Model(learned["vocab"], [(left, right) for left, right in learned["merges"]])


def _with_groups(
    learned: _Model, room: int, counter: GroupCounter, magnitudes: Magnitudes | None, *, all_groups: bool
) -> _Model:
    """The first merges of the text and, after them, the groups of digits that get an entry."""
    free, text = room - MIN_VOCAB_SIZE, len(learned.vocab) - MIN_VOCAB_SIZE
    bare = counter.bare()
    marked = counter.marked(bare if all_groups else bare[: free // 2])
    if all_groups:
        shares = Shares(min(text, free - len(bare) - len(marked)), len(bare), len(marked))
    else:
        counts = counter.counts()
        met = sum(counts[piece] > 0 for piece in marked)
        shares = share_out(free, text, len(bare), len(marked), met)
    n_text = MIN_VOCAB_SIZE + shares.text
    vocab = {token: i for token, i in learned.vocab.items() if i < n_text}
    # A vocabulary cut short is that of a shorter training: merges are learned in the order of their entries.
    merges = list(itertools.takewhile(lambda merge: learned.vocab["".join(merge)] < n_text, learned.merges))
    for left, right in group_merges(bare[: shares.bare], marked[: shares.marked], magnitudes):
        vocab.setdefault(left + right, len(vocab))
        merges.append((left, right))
    return _Model(vocab, merges)


def check_vocab_size(
    vocab_size: int,
    numbers: str = "bpe",
    group: int = DEFAULT_GROUP,
    *,
    pad_fraction: bool = False,
    all_groups: bool = False,
) -> None:
    """Raise :class:`ArgumentError` unless ``vocab_size`` is an integer that holds what the scheme cannot do without."""
    scheme = number_scheme(numbers, group, pad_fraction=pad_fraction)
    if all_groups:
        expected = f"false, since numbers={numbers!r} has no groups with entries of their own"
        require(scheme.takes_group, "all_groups", expected, all_groups)
    least, parts = MIN_VOCAB_SIZE, ["256 bytes", "a separator"]
    magnitudes = magnitudes_of(scheme, group)
    if magnitudes is not None:
        least += len(magnitudes.characters)
        parts.append(f"{len(magnitudes.characters)} control characters")
    if all_groups:
        counter = GroupCounter(scheme, group, pad_fraction)
        groups = len(counter.bare()) + len(counter.marked(counter.bare()))
        least += groups
        parts.append(f"{groups:,} groups of digits")
    valid = isinstance(vocab_size, int) and not isinstance(vocab_size, bool) and vocab_size >= least
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
    require(valid, "vocab_size", f"an integer of at least {least} ({listed})", vocab_size)


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
