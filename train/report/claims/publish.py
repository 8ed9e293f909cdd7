"""The verdicts in a README: a table between two marks, made from published results and never by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ....errors import ConfigError
from ...config import load_yaml
from ...figures.formats import NONE
from ...figures.table import md_cell, md_table
from ...runs.load import COMPARISON_FILE
from ...storage import write_atomically
from ..repeat import compare_command, comparison_file
from . import words
from .plot import claims_plot
from .report import COLUMNS, NOTE
from .verdicts import Outcome

BEGIN, END = "<!-- verdicts: written by `lmzoo claims --publish` -->", "<!-- end of verdicts -->"
_HEAD = ("Claim", "Paper", "Verdict", "Measured [95 %]", "Claimed", "Seeds", "Again")
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
    variants = outcome.claim.variants
    before: dict[str, tuple[set[str], set[int]]] = {}  # by comparison: the variants and seeds that runs started from
    for name in variants:
        origin = (asked["variants"][name] or {}).get("init_from") or asked["base"].get("init_from")
        if match := _STARTED_FROM.fullmatch(str(origin)):
            of_variants, of_seeds = before.setdefault(match["comparison"], (set(), set()))
            of_variants.add(match["variant"])
            of_seeds.update([int(match["seed"])] if match["seed"].isdecimal() else outcome.seeds)
    return [
        *(
            compare_command(comparison_file(place.parent / name), sorted(of_variants), sorted(of_seeds))
            for name, (of_variants, of_seeds) in before.items()
        ),
        compare_command(comparison_file(place), variants, outcome.seeds),
        shlex.join(["lmzoo", "claims", claims_file, "--runs", f"runs/{asked['name']}"]),
    ]


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
    decided = [outcome for outcome in outcomes if outcome.decided]
    light, dark = folder / "decided.png", folder / "decided-dark.png"
    if decided:
        plot = claims_plot(decided)
        write_atomically(light, plot.light)
        write_atomically(dark, plot.dark)
    else:
        light.unlink(missing_ok=True)
        dark.unlink(missing_ok=True)


def verdict_block(
    outcomes: Sequence[Outcome], files: Mapping[str, str], details: str, conditions: Sequence[Sequence[str]] = ()
) -> str:
    """The claims that have a verdict, a row each with the commands that repeat it, and how many have none.

    Args:
        outcomes: of all claims.
        files: claims file -> how it is typed in a command.
        details: folder of ``claims.md`` and of the pictures, relative to the README.
        conditions: rows of :func:`.report.conditions`: how the runs were trained.
    """
    n, decided = len(outcomes), [outcome for outcome in outcomes if outcome.decided]
    page = f"[{details}/claims.md]({details}/claims.md)"
    if not decided:
        measured = sum(outcome.differences is not None for outcome in outcomes)
        few = f"{measured} were measured, but with too few seeds for a verdict. Their figures: {page}."
        return f"None of {n} claims is decided yet: {few if measured else 'no comparison has been published.'}"
    picture = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{details}/decided-dark.png">'
        f'<img width="560" alt="Differences with their intervals, and what was claimed." src="{details}/decided.png">'
        "</picture>\n\nMean difference to the baseline with its 95 % interval over seeds; a diamond is what was "
        "claimed, the upright line no difference. Every row has a scale of its own."
    )
    said = f"Of {n} claims: {words.counts(outcomes)}. The rule, the figures of all {n} and why {n - len(decided)} are"
    table = md_table(_HEAD, [_cells(outcome, files[outcome.paper.file]) for outcome in decided])
    trained = [NOTE, md_table(COLUMNS, [list(map(md_cell, row)) for row in conditions])] if conditions else []
    return "\n\n".join([f"{said} not tested: {page}.", picture, table, *trained])


def _cells(outcome: Outcome, claims_file: str) -> list[str]:
    paper = f"[{outcome.paper.file}](https://arxiv.org/abs/{outcome.paper.arxiv})"
    seeds = ", ".join(map(str, outcome.seeds)) if outcome.differences else NONE
    again = "<br>".join(f"`{md_cell(command)}`" for command in commands(outcome, claims_file))
    shown = (outcome.claim.sentence, words.difference(outcome), words.claim_in_figures(outcome.claim))
    sentence, measured, claimed = map(md_cell, shown)
    verdict = f"**{outcome.verdict}**" + (f" ({md_cell(outcome.remark)})" if outcome.remark else "")
    return [sentence, paper, verdict, measured, claimed, seeds, again]
