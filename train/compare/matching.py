"""Equal budgets: the feed-forward width or the depth at which a variant costs what the baseline costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ArgumentError, ConfigError, nearest
from ..config import Config, Places
from ..fit.module import LanguageModule
from ..runs.matching import BUDGETS, SIZES, Matching, OutOfReach
from .keys import read_settings, refuse_given


def solve_all(
    matching: Matching, models: Mapping[str, tuple[LanguageModule, int]], baseline: str, origin: str
) -> dict[str, Config]:
    """For each variant but the baseline the overrides that match it.

    Args:
        matching: what is equal.
        models: by variant the unmatched model, not yet built, and its training context length.
        baseline: whose cost the others get.
        origin: the comparison file, for messages.

    Raises:
        ConfigError: a variant cannot be matched; it is named with the figures.
    """
    reference, length = models[baseline]
    target = matching.cost(reference.counts, length)
    solved = {}
    for name, (model, length) in models.items():
        if name == baseline:
            continue
        place = f"{origin}, variant {name}"
        try:
            solved[name] = matching.solve(model.parts, model.vocab_size, length, target)
        except OutOfReach as error:
            message = (
                f"cannot be matched: with a {SIZES[matching.by]} of 1 it has {error.cost:,.0f} {matching.describe()}, "
                f"and the baseline {baseline} has {target:,.0f}; give the baseline more or the variant less"
            )
            raise ConfigError(message, key="match", place=place) from None
        except ArgumentError as error:
            raise ConfigError(str(error), key="match", place=place) from None
    return solved


def read_match(
    given: object, variants: Mapping[str, Any], baseline: str, settings: Mapping[str, Any], places: Places
) -> Matching | None:
    """Of ``none`` or nothing None; of a budget's name, or a mapping with ``budget``, the matching.

    Args:
        given: the value in the file.
        variants: name -> overrides as the file has them; none but the baseline may set the size itself.
        baseline: its name.
        settings: overrides of the command line, which may not set it either.
        places: where each key stands.

    Raises:
        ConfigError: naming the key, what was expected and the nearest valid names.
    """
    if given is None or given == "none":
        return None
    match = _read(given, places)
    others = {name: overrides for name, overrides in variants.items() if name != baseline}
    refuse_given(match.key, f"match: {match.budget} solves for it", others, settings, places)
    return match


def _read(given: object, places: Places) -> Matching:
    if isinstance(given, str) and given in BUDGETS:
        return Matching(given)
    if not (isinstance(given, Mapping) and "budget" in given):
        hint = f"; nearest: {', '.join(nearest(given, ('none', *BUDGETS)))}" if isinstance(given, str) else ""
        message = f"expected none, {', '.join(BUDGETS)} or a mapping with budget, of and by, got {given!r}{hint}"
        raise ConfigError(message, key="match", place=places.find("match"))
    settings = read_settings(Matching, given, "match", places)
    assert settings is not None
    return settings
