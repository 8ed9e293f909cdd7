"""The commands that make a verdict again, from nothing to the figure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..config import ConfigError, differing_keys, find_config, load_yaml
from ..report.load import COMPARISON_FILE
from ..run import HARMLESS
from . import words
from .outcome import Outcome

# What decides how runs are trained and evaluated; the rest of a comparison's file says how they are shown.
_SETTINGS = ("base", "match", "tuning", "lengths", "analyze", "numbers_probe", "probes")
_STARTED_FROM = re.compile(r"runs/(?P<comparison>[^/]+)/(?P<variant>[^/]+)/seed-(?P<seed>\d+|\{seed\})")


def commands(outcome: Outcome, claims_file: str) -> list[str]:
    """What to type in a checkout, in this order, so that the last one prints the outcome's row again.

    Where the runs started from those of another comparison, as a fine-tuning does, that one's come first.

    Args:
        outcome: with a verdict; its ``place`` holds the comparison's ``comparison.yaml``.
        claims_file: the claim's file, as it is to be typed.
    """
    place = Path(outcome.place)
    asked = load_yaml(place / COMPARISON_FILE)
    variants = words.variants(outcome.claim)
    seeds = outcome.differences.seeds if outcome.differences else ()
    return [
        *_first(asked, variants, seeds, place.parent),
        _compare(place, variants, seeds),
        shlex.join(["lmzoo", "claims", claims_file, "--runs", f"runs/{asked['name']}"]),
    ]


def comparison_file(place: Path) -> str:
    """The file that asks for the runs published in a folder: the shipped one where it still does, else their own."""
    shipped = f"configs/compare/{place.name}.yaml"
    return shipped if _asks_for_the_same(shipped, place) else (place / COMPARISON_FILE).as_posix()


def _compare(place: Path, variants: Iterable[str], seeds: Iterable[int]) -> str:
    chosen = ["--variants", ",".join(variants), "--seeds", ",".join(map(str, seeds))]
    return shlex.join(["lmzoo", "compare", comparison_file(place), *chosen])


def _first(asked: dict[str, Any], variants: Sequence[str], seeds: Sequence[int], published: Path) -> list[str]:
    """The commands that train what these variants started from, as far as that was a run of a comparison."""
    wanted: dict[str, dict[str, set[Any]]] = {}
    for name in variants:
        origin = (asked["variants"][name] or {}).get("init_from") or asked["base"].get("init_from")
        if origin and (match := _STARTED_FROM.fullmatch(str(origin))):
            one = wanted.setdefault(match["comparison"], {"variants": set(), "seeds": set()})
            one["variants"].add(match["variant"])
            one["seeds"].update([int(match["seed"])] if match["seed"].isdecimal() else seeds)
    return [_compare(published / name, sorted(one["variants"]), sorted(one["seeds"])) for name, one in wanted.items()]


def _asks_for_the_same(shipped: str, folder: Path) -> bool:
    from ..comparison import read_comparison  # slow to import, since it builds models

    if not find_config(shipped).is_file():
        return False
    if not (folder / COMPARISON_FILE).is_file():
        return True  # nothing of that comparison was published
    there = load_yaml(folder / COMPARISON_FILE)
    try:
        ours = yaml.safe_load(yaml.safe_dump(read_comparison(shipped).as_yaml()))
    except ConfigError:
        return False
    known = {name: ours["variants"].get(name) for name in there["variants"]}
    first, second = (
        {key: one.get(key) for key in _SETTINGS} | {"variants": variants, "name": one["name"]}
        for one, variants in ((ours, known), (there, there["variants"]))
    )
    places = ("base", *(f"variants.{name}" for name in known))
    return not differing_keys(first, second, ignore=[f"{place}.{key}" for place in places for key in HARMLESS])
