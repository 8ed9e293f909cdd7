"""Everything a report says, before it is written as HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import flatten
from ..evaluate.analyze.tables import analysis_plots, analysis_tables
from ..evaluate.extrapolate.plots import extrapolation_plots
from ..evaluate.extrapolate.tables import Scored, extrapolation_tables
from ..evaluate.numbers.plots import number_plots
from ..evaluate.numbers.tables import number_tables
from ..evaluate.probe.plots import context_plots
from ..evaluate.probe.tables import probe_tables
from ..figures.canvas import DARK, LIGHT, Plot
from ..figures.formats import listed
from ..figures.table import Cell, Section, Table, TableRow, anchor
from ..runs.alike import RULE, Group, like_groups, records_frame
from ..runs.load import COMPARISON_FILE, Comparison
from .claims.plot import claims_plot
from .claims.verdicts import Outcome, comparison_verdicts
from .claims.words import decided_first
from .costs import cost_table
from .curves import loss_plots, point_plots
from .glance import GLANCE, glance_table, headline
from .pareto import pareto_section
from .quality import passport_rows, quality_tables
from .repeat import Repeats
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
        claims: what the runs say of the papers' claims that name this comparison; those with a verdict first.
        forest: their picture; None without claims.
        sections: tables and pictures; none is empty.
        colours: for each variant its colour on a light and on a dark page, as in the plots.
        rule: when figures share a table.
        troubles: runs that failed or are unfinished, and anything left out; empty when all is well.
        missing: the seeds of each variant that were asked for and not begun.
        repeats: how each variant's row is made again.
    """

    title: str
    subtitle: str
    headline: str
    claims: list[Outcome]
    forest: Plot | None
    sections: list[Section]
    passports: list[Passport]
    rule: str
    troubles: list[tuple[str, str]]
    missing: dict[str, list[int]]
    repeats: Repeats
    colours: dict[str, tuple[str, str]]

    @property
    def missing_runs(self) -> str:
        """How many runs were asked for and not begun, in words; empty where none."""
        n = sum(map(len, self.missing.values()))
        return f"{n} run{'s' * (n > 1)} not made yet" if n else ""

    @property
    def plots(self) -> list[Plot]:
        """Every picture."""
        return [*([self.forest] if self.forest else []), *(plot for one in self.sections for plot in one.plots)]

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Title and anchor of everything that one may want to jump to."""
        titles = [*(["Verdicts"] if self.claims else []), *(section.title for section in self.sections)]
        titles += [*(["Passports"] if self.passports else []), "How to repeat each row"]
        return [(title, anchor(title)) for title in titles]

    def tables(self, section: str) -> list[Table]:
        """The tables of the section with this title; none where there is no such section."""
        return [table for one in self.sections if one.title == section for table in one.tables]


def build_document(comparison: Comparison) -> Document:
    """Make the report of a comparison from what its folder holds."""
    groups = like_groups(records_frame(comparison.finished))
    claims = decided_first(comparison_verdicts(comparison))
    tuning = TuningReport(comparison)
    light = LIGHT.styles(comparison.variants, comparison.baseline)
    dark = DARK.styles(comparison.variants, comparison.baseline)
    return Document(
        title=comparison.name,
        subtitle=_subtitle(comparison),
        headline=headline(comparison, groups),
        claims=claims,
        forest=claims_plot(claims) if claims else None,
        sections=[section for section in _sections(comparison, groups, tuning) if not section.empty],
        passports=[Passport(group.label, *passport_rows(group)) for group in groups],
        rule=RULE,
        troubles=[*_troubles(comparison), *tuning.troubles()],
        missing={name: seeds for name in comparison.variants if (seeds := _missing(comparison, name))},
        repeats=Repeats(comparison),
        colours={name: (light[name][0], dark[name][0]) for name in comparison.variants},
    )


def _sections(comparison: Comparison, groups: list[Group], tuning: TuningReport) -> list[Section]:
    scored = [Scored(run.variant, run.seed, record) for run in comparison.finished for record in run.extrapolation]
    glance, cost, rates = glance_table(comparison, groups), cost_table(comparison), tuning.table()
    return [
        Section(GLANCE, tables=[glance] if glance else []),
        Section("What varies", tables=[_changes(comparison)]),
        Section("Loss curves", plots=loss_plots(comparison)),
        Section("Quality", plots=point_plots(comparison, groups), tables=quality_tables(comparison, groups)),
        Section(
            "Beyond the training length",
            plots=extrapolation_plots(scored, comparison.variants, comparison.baseline),
            tables=extrapolation_tables(scored, comparison.variants, comparison.baseline),
        ),
        pareto_section(comparison, groups),
        Section("Use of the context", plots=context_plots(comparison), tables=probe_tables(comparison)),
        Section("Numbers", plots=number_plots(comparison), tables=number_tables(comparison)),
        Section(
            "Loss by frequency, and continuations",
            "Every record, with its passport, is in `analysis.jsonl` beside this page; the continuations themselves "
            "are in each run's `continuations.jsonl`.",
            analysis_plots(comparison),
            analysis_tables(comparison),
        ),
        Section("Cost", tables=[cost] if cost else []),
        Section("Learning rates", plots=tuning.plots(), tables=[rates] if rates else []),
    ]


def _missing(comparison: Comparison, name: str) -> list[int]:
    return [seed for variant, seed in comparison.missing if variant == name]


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


def _troubles(comparison: Comparison) -> list[tuple[str, str]]:
    troubles = []
    again = "run the comparison again to go on"
    for run in comparison.runs:
        if run.state == "failed":
            troubles.append((run, f"failed: {run.reason}"))
        elif run.state == "unfinished":
            step = max((int(row["step"]) for row in run.metrics), default=0)
            troubles.append((run, f"not finished (last row at step {step}); {again}"))
        if n := run.unreadable_lines:
            lines = f"{n} line{'s' * (n > 1)} of metrics.jsonl cut off by a kill, left out of the curves"
            troubles.append((run, lines))
    if comparison.analyze:
        troubles += [(run, f"not analysed; {again}") for run in comparison.finished if not run.analysis]
    if comparison.probe:
        troubles += [(run, f"not probed; {again}") for run in comparison.finished if not run.probes]
    named = [(f"{run.variant}, seed {run.seed}", what) for run, what in troubles]
    if comparison.strays:
        named.append((listed(comparison.strays), f"not in {COMPARISON_FILE} and left out of this report"))
    return named
