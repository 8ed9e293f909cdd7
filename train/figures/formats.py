"""Figures as a person reads them: sensible digits, thousands apart, a true minus sign."""

from __future__ import annotations

import math

from .statistics.spread import Spread

NONE = "–"


def plain(value: float, digits: int) -> str:
    """``1234.5 -> 1,234.5``; a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def signed(value: float, digits: int) -> str:
    """With the sign always written, except on an exact zero."""
    text = plain(value, digits)
    return f"+{text}" if value > 0 else text


def perplexity_digits(value: float) -> int:
    """Digits behind the point so that a perplexity shows about four figures."""
    if not math.isfinite(value) or value >= 1000:
        return 0
    return 1 if value >= 100 else 2


def plus_minus(spread: Spread, digits: int) -> str:
    """The standard deviation; ``n=1`` where one value has none."""
    if spread.n == 1:
        return "n=1"
    return "" if math.isnan(spread.sd) else f"± {plain(spread.sd, digits)}"


def bracketed(interval: tuple[float, float], digits: int) -> str:
    """``[−3.1, +0.2]``; empty where an end is NaN."""
    return "" if any(map(math.isnan, interval)) else f"[{', '.join(signed(end, digits) for end in interval)}]"


def bold_note(which: str) -> str:
    """What bold says in a table: ``which`` mean of a column it marks."""
    return (
        f"The {which} mean of a column, over the seeds that all its rows have, is set bold, which says nothing about "
        "whether it differs by more than chance."
    )


def p_value(p: float) -> str:
    """Three decimals, or that it is smaller; a dash for NaN."""
    return "<0.001" if p < 0.0005 else plain(p, 3)


def percent(share: float) -> str:
    """``0.01 -> 1 %``, as short as it can be said."""
    return f"{100 * share:g} %"


def amount(value: float) -> str:
    """``1312512 -> 1.31 M``: three figures and the thousands' letter."""
    if math.isnan(value):
        return NONE
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f} {letter}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """``83.4 -> 1 min 23 s``."""
    if math.isnan(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def clock(seconds: float) -> str:
    """``83.4 -> 1:23``, as a progress display shows it."""
    if not math.isfinite(seconds):
        return "–:––"
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def short_hash(value: object) -> str:
    """The first digits of a hash."""
    text = str(value)
    return text[:10] if len(text) > 20 else text


def listed(words: list[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
