"""Which groups of digits get a token of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from .magnitudes import Magnitudes, magnitudes_of
from .pipeline import byte_characters
from .schemes import NumberScheme
from .segment import Chain, Piece, chains, segment_chain


class GroupCounter:
    """Counts the groups of digits in texts as they pass by.

    Args:
        scheme: how numbers are cut.
        group: digits in a group.
        pad_fraction: see :func:`segment_number`.
    """

    def __init__(self, scheme: NumberScheme, group: int, pad_fraction: bool) -> None:
        self.scheme = scheme
        self.group = group
        self.pad_fraction = pad_fraction
        self._chains: Counter[Chain] = Counter()

    def watch(self, texts: Iterable[str]) -> Iterator[str]:
        """The same texts, counted on the way."""
        for text in texts:
            self._chains.update(chains(text))
            yield text

    def counts(self) -> Counter[Piece]:
        """How often each group came by."""
        counts: Counter[Piece] = Counter()
        for chain, count in self._chains.items():
            for piece in segment_chain(chain, self.scheme, self.group, self.pad_fraction):
                counts[piece] += count
        return counts

    def bare(self) -> list[str]:
        """Every group without marker that is more than one digit, which is a byte anyway; the ones to take first first.

        All pairs of digits come before any three, which are merged out of them; then counts decide, whatever the
        marker.
        """
        if not self.scheme.takes_group:
            return []
        seen: Counter[str] = Counter()
        for (digits, _), count in self.counts().items():
            seen[digits] += count
        groups = [digits for digits in _all_digits(self.group) if len(digits) > 1]
        return sorted(groups, key=lambda digits: (len(digits), -seen[digits], digits))

    def marked(self, bare: Iterable[str]) -> list[Piece]:
        """Every group with a marker whose digits are a token, the most frequent first, those never met last."""
        magnitudes = magnitudes_of(self.scheme, self.group)
        if magnitudes is None or self.scheme.marker != "fused":
            return []
        known = [*"0123456789", *bare]
        padded = [digits for digits in known if len(digits) == self.group]
        pieces = list(product(known, magnitudes.integer))
        pieces += product(padded if self.pad_fraction else known, magnitudes.fraction)
        counts = self.counts()
        return sorted(pieces, key=lambda piece: -counts[piece])


class Shares(NamedTuple):
    """How many entries of a vocabulary go to merges of text, to bare groups and to marked groups."""

    text: int
    bare: int
    marked: int


def share_out(free: int, text: int, bare: int, marked: int, met: int) -> Shares:
    """Share out the vocabulary between text and groups of digits.

    Bare groups take at most half of what is free, then marked groups that occur at most half of what is left, and text
    has the rest. What the text cannot use goes to the groups after all: bare ones, then marked ones, met or not.

    Args:
        free: entries to share out.
        text: merges that the text allows.
        bare: bare groups there are.
        marked: marked groups there are.
        met: marked groups that occur in the text.

    Returns:
        The shares; their sum is below ``free`` where there is not enough of anything.
    """
    bare_share = min(bare, free // 2)
    marked_share = min(met, (free - bare_share) // 2)
    text_share = min(text, free - bare_share - marked_share)
    bare_share = min(bare, free - text_share - marked_share)
    marked_share = min(marked, free - text_share - bare_share)
    return Shares(text_share, bare_share, marked_share)


def group_merges(bare: list[str], marked: list[Piece], magnitudes: Magnitudes | None) -> list[tuple[str, str]]:
    """BPE merges, to be appended to those of the text, that make each of these groups one token.

    Digits merge before markers, so a group whose marked form is not in the vocabulary is its bare token and its
    marker's. Three digits merge from either side, since which pair of them is merged first depends on the digits.
    """
    merges = [(digits[0], digits[1]) for digits in bare if len(digits) == 2]
    for digits in bare:
        if len(digits) == 3:
            merges += [(digits[:2], digits[2]), (digits[0], digits[1:])]
    if magnitudes is not None:
        shown = byte_characters()
        tokens = {name: shown[ord(character)] for name, character in magnitudes.characters.items()}
        merges += [(digits, tokens[marker]) for digits, marker in marked]
    return merges


def _all_digits(group: int) -> list[str]:
    """All strings of one to ``group`` digits, shorter ones first."""
    return ["".join(digits) for length in range(1, group + 1) for digits in product("0123456789", repeat=length)]
