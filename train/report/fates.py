"""What became of every run that was asked for: one without figures must not vanish from what is said of its variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from .formats import listed
from .load import Comparison

Fate = Literal["finished", "diverged", "failed", "not finished"]
Fates = Mapping[str, Mapping[int, Fate]]
"""By variant and seed; empty where it is not known what was asked for."""


def fates_of(comparison: Comparison) -> Fates:
    """Every seed of every variant that was asked for or begun."""
    found: dict[str, dict[int, Fate]] = {
        name: dict.fromkeys(comparison.seeds, "not finished") for name in comparison.variants
    }
    for run in comparison.runs:
        state = "diverged" if run.diverged else run.state
        found[run.variant][run.seed] = "not finished" if state == "unfinished" else state
    return found


def diverged(fates: Fates) -> set[str]:
    """The variants of which a seed diverged."""
    return {name for name, of_seed in fates.items() if "diverged" in of_seed.values()}


def lost(fates: Fates, variant: str) -> str:
    """``1 of 3 seeds of v diverged``; empty where all have finished."""
    of_seed = fates.get(variant, {})
    counts = Counter(fate for fate in of_seed.values() if fate != "finished")
    if not counts:
        return ""
    (first, n), *others = counts.items()
    return f"{n} of {len(of_seed)} seeds of {variant} {first}" + "".join(f", {m} {fate}" for fate, m in others)


def lost_note(fates: Fates) -> list[str]:
    """One note of all variants of which a run stopped on an error; none where there is none."""
    names = [name for name, of_seed in fates.items() if {"diverged", "failed"} & set(of_seed.values())]
    if not names:
        return []
    return [
        f"{listed([lost(fates, name) for name in names])}: these runs have no figure, and every mean is without them."
    ]
