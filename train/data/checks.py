"""Checks of arguments that need no data."""

from __future__ import annotations

from pathlib import Path

from ...errors import ArgumentError, require
from ...tokenization.bpe import check_vocab_size
from ...tokenization.schemes import number_scheme


def at_least(argument: str, value: int, least: int) -> int:
    """``value``, if it is an integer of at least ``least``; else :class:`ArgumentError`."""
    valid = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(valid, argument, f"an integer of at least {least}", value)
    return value


def given_or(value: int | None, default: int) -> int:
    """``value`` unless it is None; 0 is a value, if a wrong one."""
    return default if value is None else value


def check_tokenizer_choice(
    tokenizer: str | None, vocab_size: int | None, numbers: str, group: int, *, pad_fraction: bool, all_groups: bool
) -> None:
    """Raise :class:`ArgumentError` unless there is a tokenizer to train or, as far as the name tells, one to load."""
    number_scheme(numbers, group, pad_fraction=pad_fraction)
    if tokenizer is None:
        if vocab_size is None:
            raise ArgumentError("vocab_size", "an integer, unless tokenizer names a saved one", None)
        check_vocab_size(vocab_size, numbers, group, pad_fraction=pad_fraction, all_groups=all_groups)
        return
    require(numbers == "bpe", "numbers", "bpe (its default) beside tokenizer, which brings its own scheme", numbers)
    require(not all_groups, "all_groups", "false beside tokenizer, which brings its own vocabulary", all_groups)
    path = Path(tokenizer).expanduser()
    looks_local = path.exists() or tokenizer.startswith((".", "/", "~")) or tokenizer.count("/") > 1
    if looks_local and not (path / "tokenizer.json").is_file():
        raise ArgumentError("tokenizer", "a folder with a tokenizer.json, or a name on the hub", tokenizer)
