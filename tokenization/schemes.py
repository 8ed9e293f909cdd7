"""Number schemes: how a run of digits is cut before byte-level BPE sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tokenizers import pre_tokenizers

from ..errors import nearest, require

DEFAULT_GROUP = 3


def _bpe(group: int) -> pre_tokenizers.PreTokenizer:
    """Digits are left to BPE: GPT-2's split, in which a run of digits is one piece."""
    require(group == DEFAULT_GROUP, "group", f"{DEFAULT_GROUP}, since numbers='bpe' does not group digits", group)
    return pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=True)


# A scheme is one function from the group size to a pre-tokenizer. Whatever it splits, it must keep every
# character, so that decode(encode(s)) == s holds for each scheme.
_PRE_TOKENIZERS: Mapping[str, Callable[[int], pre_tokenizers.PreTokenizer]] = MappingProxyType({"bpe": _bpe})

NUMBER_SCHEMES: tuple[str, ...] = tuple(_PRE_TOKENIZERS)


def check_scheme(numbers: str, group: int) -> None:
    """Raise :class:`ArgumentError` unless the scheme exists and takes this group size."""
    pre_tokenizer_for(numbers, group)


def pre_tokenizer_for(numbers: str, group: int = DEFAULT_GROUP) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer of a number scheme.

    Args:
        numbers: one of ``NUMBER_SCHEMES``.
        group: digits in a group, for schemes that group.

    Raises:
        ArgumentError: ``numbers`` is not a scheme, or ``group`` is none that the scheme can use.
    """
    known = isinstance(numbers, str) and numbers in _PRE_TOKENIZERS
    require(known, "numbers", "one of " + ", ".join(nearest(str(numbers), NUMBER_SCHEMES)), numbers)
    return _PRE_TOKENIZERS[numbers](group)
