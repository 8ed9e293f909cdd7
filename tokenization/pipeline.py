"""A number scheme as parts of a ``tokenizers`` pipeline, which any ``AutoTokenizer`` loads.

Markers are put in by the normalizer: a few rules, each a regular expression that matches an empty place and writes one
marker there, so that every digit stays where it is and offsets stay true. The pre-tokenizer then cuts at the groups,
and the decoder takes markers out again.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, decoders, normalizers, pre_tokenizers

from .magnitudes import Magnitudes
from .schemes import NumberScheme

# Where a number begins and ends: segment.Chain.is_number as look-arounds. START also holds right after a marker.
_START = r"(?<![0-9A-Za-z_.])"
_END = r"(?!\.?[0-9])"


def byte_characters() -> dict[int, str]:
    """Byte -> the character that stands for it in a byte-level vocabulary."""
    shown = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    return {byte: shown(chr(byte))[0][0] for byte in range(128)}


def normalizer_for(magnitudes: Magnitudes, pad_fraction: bool) -> normalizers.Normalizer:
    """Rules that write a marker after every group that has one, and with ``pad_fraction`` zeros before it."""
    group, character = magnitudes.group, magnitudes.characters
    rules: list[tuple[str, str]] = []
    largest = _literal(character[magnitudes.integer[-1]])
    # From the largest magnitude down: what stands right of the place has no markers yet, so digits can be counted.
    # Digits before the largest marker are beyond what markers reach.
    for i in range(len(magnitudes.integer), 0, -1):
        right = rf"[0-9]{{{group * i}}}(?:\.[0-9]++)?{_END}(?!{largest})"
        rules.append((rf"{_START}[0-9]+\K(?={right})", character[magnitudes.integer[i - 1]]))
    left = rf"{_START}[0-9]++\.(?=[0-9]++{_END})"
    for name in magnitudes.fraction:
        rules.append((rf"{left}(?>[0-9]{{1,{group}}})\K", character[name]))
        left = _literal(character[name])
    if pad_fraction:
        fraction = _class(character[name] for name in magnitudes.fraction)
        for missing in range(1, group):
            place = rf"(?<=[.{fraction}])[0-9]{{{group - missing}}}\K(?=[{fraction}])"
            rules.append((place, "0" * missing))
    return normalizers.Sequence([normalizers.Replace(Regex(place), written) for place, written in rules])


def pre_tokenizer_for(scheme: NumberScheme, group: int, magnitudes: Magnitudes | None) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer of a scheme; whatever it splits, it keeps every character."""
    if scheme.cut == "none":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=True)
    if scheme.cut == "digits":
        return _split_words("[0-9]")
    digits, marker, last = rf"[0-9]{{1,{group}}}", "", ""
    if magnitudes is not None:
        marker = _class(magnitudes.characters.values())
        last = _class([magnitudes.characters[magnitudes.fraction[-1]]])
    groups = {"none": digits, "fused": rf"{digits}[{marker}]?", "suffix": rf"{digits}|[{marker}]"}[scheme.marker]
    if scheme.cut == "place" and group > 1:
        # Where the short group at the head of a run is cut off, full groups from the left are those from the right.
        # After a point, or after the last marker of a fraction, groups are counted from the left anyway. A head is
        # looked for at the beginning of a run alone, so that a very long run takes linear time.
        head = rf"(?<![0-9.{last}])[0-9]{{1,{group - 1}}}(?=(?:[0-9]{{{group}}})++(?![0-9]))"
        groups = f"{head}|{groups}"
    return _split_words(groups)


def text_pre_tokenizer(magnitudes: Magnitudes | None) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer that merges for text are learned with: no merge holds a digit or a marker's byte."""
    return _split_words("[0-9]" if magnitudes is None else f"[0-9{_class(magnitudes.characters.values())}]")


def decoder_for(magnitudes: Magnitudes | None) -> decoders.Decoder:
    """Bytes back to text, markers left out wherever they stand."""
    if magnitudes is None:
        return decoders.ByteLevel()
    shown = byte_characters()
    markers = "".join(shown[ord(character)] for character in magnitudes.characters.values())
    return decoders.Sequence([decoders.Replace(Regex(f"[{markers}]"), ""), decoders.ByteLevel()])


def _split_words(numbers: str) -> pre_tokenizers.PreTokenizer:
    """GPT-2's split into words, in which ASCII digits and markers match ``numbers`` and no other rule."""
    words = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+|{numbers}| ?[\p{{N}}&&[^0-9]]+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), behavior="isolated"), byte_level])


def _literal(character: str) -> str:
    return rf"\x{ord(character):02x}"


def _class(characters: Iterable[str]) -> str:
    return "".join(_literal(character) for character in characters)
