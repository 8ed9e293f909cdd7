"""Everything a report says, before it is written as HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from ..claims.of_comparison import comparison_verdicts
from ..claims.outcome import Outcome
from ..claims.plot import claims_plot
from ..config import flatten
from .analysis import analysis_plots, analysis_tables
from .canvas import Plot
from .costs import cost_table
from .extrapolation import Scored, extrapolation_tables
from .extrapolation_plots import extrapolation_plots
from .formats import listed
from .glance import glance_table, headline
from .load import COMPARISON_FILE, Comparison
from .number_plots import number_plots
from .numbers import number_tables
from .passport import RULE, Group, like_groups, records_frame
from .plots import loss_plots, point_plots
from .probe_plots import context_plots
from .probes import probe_tables
from .table import Cell, Table, TableRow
from .tables import passport_rows, quality_tables
from .theme import DARK, LIGHT
from .tuning import TuningReport


@dataclass(frozen=True)
class Passport:
    """What a group of records shares, and what differs between its runs."""

    title: str
    shared: list[tuple[str, str]]
    differing: Table | None


@dataclass(frozen=True)
class Document:
    """A report's content, in the order in which it is shown.

    Attributes:
        claims: what the runs say of the papers' claims that name this comparison.
        extrapolation: loss by window length, a table a protocol, then what probes found; empty where no run was
            evaluated so.
        tuning: the learning rates that were tried; None where none were.
        colours: for each variant its colour on a light and on a dark page, as in the plots.
        rule: when figures share a table.
        troubles: runs that failed, are unfinished or missing, and anything left out; empty when all is well.
        repeats: for each variant the command that makes its row again.
    """

    title: str
    subtitle: str
    headline: str
    claims: list[Outcome]
    glance: Table | None
    quality: list[Table]
    analysis: list[Table]
    extrapolation: list[Table]
    cost: Table | None
    tuning: Table | None
    changes: Table
    plots: list[Plot]
    passports: list[Passport]
    rule: str
    troubles: list[tuple[str, str]]
    repeats: list[tuple[str, str]]
    colours: dict[str, tuple[str, str]]


def build_document(comparison: Comparison) -> Document:
    """Make the report of a comparison from what its folder holds."""
    groups = like_groups(records_frame(comparison.finished))
    claims = comparison_verdicts(comparison)
    scored = [Scored(run.variant, run.seed, record) for run in comparison.finished for record in run.extrapolation]
    tuning = TuningReport(comparison)
    light = LIGHT.styles(comparison.variants, comparison.baseline)
    dark = DARK.styles(comparison.variants, comparison.baseline)
    return Document(
        title=comparison.name,
        subtitle=_subtitle(comparison),
        headline=headline(comparison, groups),
        claims=claims,
        glance=glance_table(comparison, groups),
        quality=[*quality_tables(comparison, groups), *number_tables(comparison)],
        analysis=analysis_tables(comparison),
        extrapolation=[
            *extrapolation_tables(scored, comparison.variants, comparison.baseline),
            *probe_tables(comparison),
        ],
        cost=cost_table(comparison),
        tuning=tuning.table(),
        changes=_changes(comparison),
        plots=[
            *([claims_plot(claims)] if claims else []),
            *loss_plots(comparison),
            *point_plots(comparison, groups),
            *analysis_plots(comparison),
            *number_plots(comparison),
            *extrapolation_plots(scored, comparison.variants, comparison.baseline),
            *context_plots(comparison),
            *tuning.plots(),
        ],
        passports=[_passport(group) for group in groups],
        rule=RULE,
        troubles=[*_troubles(comparison), *tuning.troubles()],
        repeats=[(name, _repeat(comparison, name)) for name in comparison.variants],
        colours={name: (light[name][0], dark[name][0]) for name in comparison.variants},
    )


def _subtitle(comparison: Comparison) -> str:
    asked = len(comparison.runs) + len(comparison.missing)
    seeds = f"{len(comparison.seeds)} seed" + ("s" if len(comparison.seeds) != 1 else "")
    return (
        f"{len(comparison.variants)} variants, {seeds}, {len(comparison.finished)} of {asked} runs finished. "
        f"Baseline: {comparison.baseline}. Runs of one seed see the same batches in the same order."
    )


def _changes(comparison: Comparison) -> Table:
    rows = []
    for name, overrides in comparison.overrides.items():
        changed = [f"{key} = {_plain(value)}" for key, value in flatten(overrides).items()]
        rows.append(TableRow(name, [Cell("; ".join(changed) or "the base as it is")], name == comparison.baseline))
    return Table("What varies", ["Changed from the base"], rows, text=True)


def _plain(value: object) -> str:
    """A value as YAML would have it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _passport(group: Group) -> Passport:
    shared, differing = passport_rows(group)
    return Passport(group.label, shared, differing)


def _troubles(comparison: Comparison) -> list[tuple[str, str]]:
    troubles = []
    for run in comparison.runs:
        name = f"{run.variant}, seed {run.seed}"
        if run.state == "failed":
            troubles.append((name, f"failed: {run.reason}"))
        elif run.state == "unfinished":
            step = max((int(row["step"]) for row in run.metrics), default=0)
            troubles.append((name, f"not finished (last row at step {step}); run the comparison again to go on"))
        if run.unreadable_lines:
            lines = "line" if run.unreadable_lines == 1 else "lines"
            troubles.append(
                (name, f"{run.unreadable_lines} {lines} of metrics.jsonl cut off by a kill, left out of the curves")
            )
    if comparison.analyze:
        without = [f"{run.variant}, seed {run.seed}" for run in comparison.finished if not run.analysis]
        troubles += [(name, "not analysed; run the comparison again to go on") for name in without]
    if comparison.probe:
        without = [f"{run.variant}, seed {run.seed}" for run in comparison.finished if not run.probes]
        troubles += [(name, "not probed; run the comparison again to go on") for name in without]
    missing: dict[str, list[str]] = {}
    for variant, seed in comparison.missing:
        missing.setdefault(variant, []).append(str(seed))
    troubles += [(name, f"not run yet: seed {listed(seeds)}") for name, seeds in missing.items()]
    if comparison.strays:
        troubles.append((listed(comparison.strays), f"not in {COMPARISON_FILE} and left out of this report"))
    return troubles


def _repeat(comparison: Comparison, variant: str) -> str:
    return (
        f"lmzoo compare {comparison.output / COMPARISON_FILE} --variants {variant} --output {comparison.output}-again"
    )
