"""The verdicts in a README: a table between two marks, made from published results and never by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ....errors import ConfigError
from ...config import differing_keys, find_config, load_yaml
from ...figures.formats import NONE
from ...figures.table import md_cell, md_table
from ...runs.folder import HARMLESS
from ...runs.load import COMPARISON_FILE
from ...storage import write_atomically
from . import words
from .outcome import Outcome
from .plot import claims_plot
from .report import COLUMNS, NOTE

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
    from ...compare.comparison import read_comparison

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


BEGIN, END = "<!-- verdicts: written by `lmzoo claims --publish` -->", "<!-- end of verdicts -->"

_HEAD = ("Claim", "Paper", "Verdict", "Measured [95 %]", "Claimed", "Seeds", "Again")


def publish(file: Path, block: str) -> None:
    """Put the verdicts between the marks of a Markdown file.

    Raises:
        ConfigError: there is no such file, or the marks are not in it, once each and in their order.
    """
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after or END in before:
        raise ConfigError(f"expected the lines {BEGIN} and {END}, once each and in this order", place=str(file))
    write_atomically(file, f"{before}{BEGIN}\n\n{block}\n\n{END}{after}")


def write_pictures(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """``decided.png`` and ``decided-dark.png``: the claims with a verdict; without any, none."""
    decided = [outcome for outcome in outcomes if outcome.verdict != "not tested"]
    light, dark = folder / "decided.png", folder / "decided-dark.png"
    if decided:
        plot = claims_plot(decided)
        write_atomically(light, plot.light)
        write_atomically(dark, plot.dark)
    else:
        light.unlink(missing_ok=True)
        dark.unlink(missing_ok=True)


def published_block(file: Path) -> str:
    """What stands between the marks of a Markdown file now."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", file.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise ConfigError(f"expected the lines {BEGIN} and {END}", place=str(file))
    return found[1].strip("\n")


def verdict_block(
    outcomes: Sequence[Outcome], files: Mapping[str, str], details: str, conditions: Sequence[Sequence[str]] = ()
) -> str:
    """The claims that have a verdict, a row each with the commands that repeat it, and how many have none.

    Args:
        outcomes: of all claims.
        files: claims file -> how it is typed in a command.
        details: folder of ``claims.md`` and of the pictures, relative to the README.
        conditions: rows of :func:`.conditions.conditions`: how the runs were trained.
    """
    decided = [outcome for outcome in outcomes if outcome.verdict != "not tested"]
    if not decided:
        return f"None of {len(outcomes)} claims is decided yet: {_undecided(outcomes, details)}"
    lines = md_table(_HEAD, [_cells(outcome, files[outcome.paper.file]) for outcome in decided])
    picture = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{details}/decided-dark.png">'
        f'<img width="560" alt="Differences with their intervals, and what was claimed." src="{details}/decided.png">'
        "</picture>\n\nMean difference to the baseline with its 95 % interval over seeds; a diamond is what was "
        "claimed, the upright line no difference. Every row has a scale of its own."
    )
    rest = len(outcomes) - len(decided)
    said = f"Of {len(outcomes)} claims: {words.counts(outcomes)}."
    return "\n\n".join(
        [
            f"{said} The rule, the figures of all {len(outcomes)} and why {rest} are not tested: "
            f"[{details}/claims.md]({details}/claims.md).",
            picture,
            lines,
            *([NOTE, md_table(COLUMNS, [list(map(md_cell, row)) for row in conditions])] if conditions else []),
        ]
    )


def _undecided(outcomes: Sequence[Outcome], details: str) -> str:
    measured = [outcome for outcome in outcomes if outcome.differences is not None]
    if not measured:
        return "no comparison has been published."
    return (
        f"{len(measured)} were measured, but with too few seeds for a verdict. Their figures: "
        f"[{details}/claims.md]({details}/claims.md)."
    )


def _cells(outcome: Outcome, claims_file: str) -> list[str]:
    paper = f"[{outcome.paper.file}](https://arxiv.org/abs/{outcome.paper.arxiv})"
    seeds = ", ".join(map(str, outcome.differences.seeds)) if outcome.differences else NONE
    again = "<br>".join(f"`{md_cell(command)}`" for command in commands(outcome, claims_file))
    shown = (outcome.claim.sentence, words.difference(outcome), words.claim_in_figures(outcome.claim))
    sentence, measured, claimed = map(md_cell, shown)
    verdict = f"**{outcome.verdict}**" + (f" ({md_cell(outcome.remark)})" if outcome.remark else "")
    return [sentence, paper, verdict, measured, claimed, seeds, again]
