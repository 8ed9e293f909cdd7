"""From claims and results to verdicts."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ....errors import ConfigError
from ...figures.formats import listed
from ...figures.statistics.bootstrap import bootstrap_interval, pairs_of
from ...figures.statistics.family import holm
from ...figures.statistics.paired import ROUNDING, Paired, paired
from ...runs.alike import WORDS, differing
from ...runs.load import Comparison, Fates, diverged, lost
from ...storage import finite
from .claim import Claim, ClaimsFile, Paper, read_claims, shipped_claims
from .judge import Verdict, claimed, judge, threshold, without_diverged
from .metrics import METRICS, figures
from .results import Results, results_of


@dataclass(frozen=True)
class Outcome:
    """A claim with its verdict and the figures that decided it.

    Attributes:
        remark: what a reader has to know beside the verdict; the reason where nothing was tested.
        differences: variant - baseline by seed, of logarithms where the claim is relative; None where not tested.
        low, high: ends of the 95 % t interval of the mean difference, on the same scale; NaN where not tested.
        p: of the paired t test against zero or the claimed bound.
        size_p: of the same test against the claimed size; NaN where none is claimed.
        adjusted_p, adjusted_size_p: by Holm over the claims of the paper that are measured.
        variant_mean, baseline_mean: of the plain figures over the seeds in common.
        documents: 95 % interval of the mean difference, in nats a unit, from resampling documents: the noise of the
            evaluation alone; None where the records carry no sums by document.
        place: the folder of the results.
    """

    paper: Paper
    claim: Claim
    verdict: Verdict
    remark: str
    differences: Paired | None = None
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    size_p: float = math.nan
    adjusted_p: float = math.nan
    adjusted_size_p: float = math.nan
    variant_mean: float = math.nan
    baseline_mean: float = math.nan
    documents: tuple[float, float] | None = None
    place: str = ""

    @property
    def decided(self) -> bool:
        """Whether there is a verdict."""
        return self.verdict != "not tested"

    @property
    def mean(self) -> float:
        """The mean difference on the scale of the test; NaN where not tested."""
        return math.nan if self.differences is None else self.differences.mean

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that variant and baseline have in common."""
        return self.differences.seeds if self.differences else ()

    def as_row(self) -> dict[str, Any]:
        """JSON-ready: null for what is not known."""
        row = {
            "paper": asdict(self.paper),
            "claim": asdict(self.claim),
            "verdict": self.verdict,
            "remark": self.remark,
            "scale": self.differences.scale if self.differences else None,
            "seeds": self.seeds,
            "differences": self.differences.values if self.differences else [],
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "holm_adjusted_p": self.adjusted_p,
            "size_p": self.size_p,
            "holm_adjusted_size_p": self.adjusted_size_p,
            "variant_mean": self.variant_mean,
            "baseline_mean": self.baseline_mean,
            "documents_low": self.documents[0] if self.documents else None,
            "documents_high": self.documents[1] if self.documents else None,
            "results": self.place,
        }
        return dict(finite(row))


def verdicts(files: Sequence[ClaimsFile], results: Sequence[Results]) -> list[Outcome]:
    """The outcome of every claim, in the order of the files; the p-values of each file's are corrected by Holm.

    Raises:
        ConfigError: two folders hold results of one comparison that a claim names.
    """
    fates = {of_comparison.name: of_comparison.fates for of_comparison in results}
    outcomes: list[Outcome] = []
    for file in files:
        measured = [_measured(file.paper, claim, results) for claim in file.claims]
        estimated = [bool(claim.metric) and not METRICS[claim.metric].exact for claim in file.claims]
        sized = [claim.size is not None and not claim.is_bound for claim in file.claims]
        adjusted = _corrected([outcome.p for outcome in measured], estimated)
        of_size = _corrected([o.size_p for o in measured], [e and s for e, s in zip(estimated, sized, strict=True)])
        for outcome, p, size_p in zip(measured, adjusted, of_size, strict=True):
            corrected = replace(outcome, adjusted_p=p, adjusted_size_p=size_p)
            outcomes.append(_judged(corrected, fates.get(outcome.claim.comparison, {})))
    return outcomes


def comparison_verdicts(comparison: Comparison) -> list[Outcome]:
    """The outcomes of the claims that name this comparison; empty where none does.

    Holm's correction is over all claims of each paper, as ``lmzoo claims`` has it.
    """
    files = [read_claims(file) for file in shipped_claims()]
    named = [file for file in files if any(claim.comparison == comparison.name for claim in file.claims)]
    outcomes = verdicts(named, [results_of(comparison)]) if named else []
    return [outcome for outcome in outcomes if outcome.claim.comparison == comparison.name]


def _corrected(p_values: Sequence[float], counted: Sequence[bool]) -> list[float]:
    """Holm over those that are counted; one of them without a p counts as one that shows nothing, and stays NaN."""
    family = [1.0 if count and math.isnan(p) else p for p, count in zip(p_values, counted, strict=True)]
    return [math.nan if math.isnan(p) else adjusted for p, adjusted in zip(p_values, holm(family), strict=True)]


def _judged(outcome: Outcome, fates: Fates) -> Outcome:
    """What was measured, with its verdict and the remark to it before its own."""
    claim, differences = outcome.claim, outcome.differences
    if not outcome.decided or differences is None:
        return outcome
    p, size_p = outcome.adjusted_p, outcome.adjusted_size_p
    if math.isnan(outcome.p):  # counted, not estimated: what is not equal differs
        size = claimed(claim)
        p = 1.0 if abs(differences.mean) <= ROUNDING and not claim.is_bound else 0.0
        size_p = 1.0 if size is None or abs(differences.mean - size) <= ROUNDING else 0.0
    judged = judge(differences.mean, (outcome.low, outcome.high), p, size_p, claim)
    verdict, remark = without_diverged(*judged, claim, diverged(fates))
    return replace(outcome, verdict=verdict, remark="; ".join(filter(None, [remark, outcome.remark])))


def _measured(paper: Paper, claim: Claim, results: Sequence[Results]) -> Outcome:
    """What a claim's runs say before Holm: a tie until it is judged, or not tested and why."""
    if claim.not_tested:
        return Outcome(paper, claim, "not tested", claim.not_tested)
    named = [of_comparison for of_comparison in results if of_comparison.name == claim.comparison]
    if len(named) > 1:
        folders = listed([str(of_comparison.place) for of_comparison in named])
        raise ConfigError(f"expected one folder of the comparison {claim.comparison}, got {folders}", key="--runs")
    if not named:
        return Outcome(paper, claim, "not tested", f"there are no results of the comparison {claim.comparison}")
    fields: dict[str, Any] = {"place": str(named[0].place)}
    reason = _measure(claim, named[0], fields)
    missing = [lost(named[0].fates, name) for name in (claim.variant, claim.baseline) if name]
    remark = "; ".join(filter(None, [reason, *missing]))
    return Outcome(paper, claim, "not tested" if reason else "tie", remark, **fields)


def _measure(claim: Claim, results: Results, fields: dict[str, Any]) -> str:
    """Add what is known to the ``fields`` of an outcome; returns why it decides nothing, empty where it does."""
    metric = METRICS[claim.metric]
    known = figures(claim.metric, results, claim.protocol)
    by_name = {
        name: {f.seed: f for f in known if f.variant == name} for name in (claim.variant, claim.baseline) if name
    }
    for name, of_seed in by_name.items():
        if not of_seed:
            return f"no run of {name} has this figure, which wants {metric.needs}"
    seeds = sorted(set.intersection(*map(set, by_name.values())))
    used = {name: [of_seed[seed] for seed in seeds] for name, of_seed in by_name.items()}
    compared = [figure for of_name in used.values() for figure in of_name]
    if unlike := differing([figure.like for figure in compared]):
        return f"the figures do not compare, since these differ: {listed([WORDS.get(key, key) for key in unlike])}"
    values = {name: {figure.seed: figure.value for figure in of_name} for name, of_name in used.items()}
    own = values[claim.variant]
    fields["variant_mean"] = _mean(own.values())
    if claim.baseline is None:
        differences = Paired(tuple(own), tuple(own.values()))
    else:
        differences = paired(own, values[claim.baseline], "log" if claim.unit == "relative" else "linear")
        fields["baseline_mean"] = _mean(values[claim.baseline].values())
        sums = ({figure.seed: figure.documents for figure in used[name]} for name in (claim.variant, claim.baseline))
        fields["documents"] = bootstrap_interval(pairs_of(*sums), compared[0].unit) if seeds else None
    fields["differences"] = differences
    if differences.n < 2:
        few = "one seed" if differences.n else "no seed"
        return f"{few} {'in common' if claim.baseline else 'so far'}: no verdict below two"
    if math.isnan(differences.sd):
        return "a run has no figure, or one without a logarithm"
    if metric.floor is not None and all(figure.value == metric.floor for figure in compared):
        return "neither solves it: every figure is 0 %"
    if differences.sd == 0 and metric.exact:
        fields["low"] = fields["high"] = differences.mean
        return ""
    if differences.sd == 0 and (abs(differences.mean) > ROUNDING or claim.is_bound):
        return "every seed differs by the same: without spread there is no test"
    fields["low"], fields["high"] = differences.interval()
    fields["p"] = differences.p_value(threshold(claim))
    size = claimed(claim)
    if size is not None and not claim.is_bound:
        fields["size_p"] = differences.p_value(size)
    return ""


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
