"""From claims and results to verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ....errors import ConfigError
from ...figures.formats import listed
from ...figures.statistics.bootstrap import bootstrap_interval, pairs_of
from ...figures.statistics.family import holm
from ...figures.statistics.paired import ROUNDING, Paired, paired
from ...runs.alike import WORDS
from ...runs.load import Comparison, Fates, diverged, lost
from .claim import Claim, ClaimsFile, Figure, Paper, differing
from .judge import claimed, is_bound, judge, threshold, without_diverged
from .metrics import METRICS
from .outcome import Outcome
from .read import read_claims, shipped_claims
from .results import Results, results_of


def verdicts(files: Sequence[ClaimsFile], results: Sequence[Results]) -> list[Outcome]:
    """The outcome of every claim, in the order of the files; the p-values of each file's are corrected by Holm.

    Raises:
        ConfigError: two folders hold results of one comparison that a claim names.
    """
    found: list[Outcome] = []
    for file in files:
        own = [_measured(file.paper, claim, results) for claim in file.claims]
        estimated = [bool(claim.metric) and not METRICS[claim.metric].exact for claim in file.claims]
        sized = [
            one and claimed(c) is not None and not is_bound(c) for one, c in zip(estimated, file.claims, strict=True)
        ]
        adjusted = _corrected([outcome.p for outcome in own], estimated)
        of_size = _corrected([outcome.size_p for outcome in own], sized)
        fates = {one.name: one.fates for one in results}
        found += [
            _judged(replace(outcome, adjusted_p=p, adjusted_size_p=size_p), fates.get(outcome.claim.comparison, {}))
            for outcome, p, size_p in zip(own, adjusted, of_size, strict=True)
        ]
    return found


def _corrected(p_values: Sequence[float], counted: Sequence[bool]) -> list[float]:
    """Holm over those that are counted; one of them without a p counts as one that shows nothing, and stays NaN."""
    family = [1.0 if count and math.isnan(p) else p for p, count in zip(p_values, counted, strict=True)]
    return [math.nan if math.isnan(p) else one for p, one in zip(p_values, holm(family), strict=True)]


def _judged(outcome: Outcome, fates: Fates) -> Outcome:
    """What was measured, with its verdict and the remark to it before its own."""
    claim, differences = outcome.claim, outcome.differences
    if outcome.verdict == "not tested" or differences is None:
        return outcome
    p, size_p = outcome.adjusted_p, outcome.adjusted_size_p
    if math.isnan(outcome.p):  # counted, not estimated: what is not equal differs
        size = claimed(claim)
        p = 1.0 if abs(differences.mean) <= ROUNDING and not is_bound(claim) else 0.0
        size_p = 1.0 if size is None or abs(differences.mean - size) <= ROUNDING else 0.0
    found = judge(differences.mean, (outcome.low, outcome.high), p, size_p, claim)
    verdict, remark = without_diverged(*found, claim, diverged(fates))
    return replace(outcome, verdict=verdict, remark="; ".join(filter(None, [remark, outcome.remark])))


def _measured(paper: Paper, claim: Claim, results: Sequence[Results]) -> Outcome:
    if claim.not_tested:
        return Outcome(paper, claim, "not tested", claim.not_tested)
    own = [one for one in results if one.name == claim.comparison]
    if len(own) > 1:
        folders = listed([str(one.place) for one in own])
        raise ConfigError(f"expected one folder of the comparison {claim.comparison}, got {folders}", key="--runs")
    if not own:
        return Outcome(paper, claim, "not tested", f"there are no results of the comparison {claim.comparison}")
    return _measured_by(paper, claim, own[0])


def _measured_by(paper: Paper, claim: Claim, results: Results) -> Outcome:
    metric = METRICS[claim.metric]
    names = [claim.variant] if claim.baseline is None else [claim.variant, claim.baseline]
    figures = [figure for figure in metric.read(results, claim.protocol) if figure.variant in names]
    missing = [text for name in names if (text := lost(results.fates, name))]

    def untested(reason: str, **fields: object) -> Outcome:
        outcome = Outcome(paper, claim, "not tested", "; ".join([reason, *missing]), place=str(results.place))
        return replace(outcome, **fields)  # type: ignore[arg-type]

    for name in names:
        if not any(figure.variant == name for figure in figures):
            return untested(f"no run of {name} has this figure, which wants {metric.needs}")
    by_name = {name: {f.seed: f for f in figures if f.variant == name} for name in names}
    seeds = sorted(set.intersection(*(set(of_seed) for of_seed in by_name.values())))
    used = [by_name[name][seed] for name in names for seed in seeds]
    if unlike := differing(used):
        what = listed([WORDS.get(field, field) for field in unlike])
        return untested(f"the figures do not compare, since these differ: {what}")
    differences = _differences(claim, by_name)
    fields = {
        "differences": differences,
        "variant_mean": _mean([by_name[claim.variant][seed] for seed in seeds]),
        "baseline_mean": math.nan if claim.baseline is None else _mean([by_name[claim.baseline][s] for s in seeds]),
        "documents": _documents(claim, by_name, seeds),
    }
    if differences.n < 2:
        what = "one seed" if differences.n else "no seed"
        return untested(f"{what} {'in common' if claim.baseline else 'so far'}: no verdict below two", **fields)
    if math.isnan(differences.sd):
        return untested("a run has no figure, or one without a logarithm", **fields)
    if metric.floor is not None and all(figure.value == metric.floor for figure in used):
        return untested("neither solves it: every figure is 0 %", **fields)
    low, high = differences.interval()
    p, size, size_p = differences.p_value(threshold(claim)), claimed(claim), math.nan
    if differences.sd == 0 and metric.exact:
        low, high, p = differences.mean, differences.mean, math.nan
    elif differences.sd == 0 and (abs(differences.mean) > ROUNDING or is_bound(claim)):
        return untested("every seed differs by the same: without spread there is no test", **fields)
    elif size is not None and not is_bound(claim):
        size_p = differences.p_value(size)
    outcome = Outcome(paper, claim, "tie", "; ".join(missing), low=low, high=high, p=p, size_p=size_p)
    return replace(outcome, place=str(results.place), **fields)  # type: ignore[arg-type]


def _differences(claim: Claim, by_name: dict[str, dict[int, Figure]]) -> Paired:
    values = {name: {seed: figure.value for seed, figure in own.items()} for name, own in by_name.items()}
    if claim.baseline is None:
        own = values[claim.variant]
        return Paired(tuple(sorted(own)), tuple(own[seed] for seed in sorted(own)))
    scale = "log" if claim.unit == "relative" else "linear"
    return paired(values[claim.variant], values[claim.baseline], scale)  # type: ignore[arg-type]


def _documents(claim: Claim, by_name: dict[str, dict[int, Figure]], seeds: Sequence[int]) -> tuple[float, float] | None:
    if claim.baseline is None or not seeds:
        return None
    variant, baseline = ({s: by_name[name][s].documents for s in seeds} for name in (claim.variant, claim.baseline))
    return bootstrap_interval(pairs_of(variant, baseline), by_name[claim.variant][seeds[0]].unit)


def _mean(figures: Sequence[Figure]) -> float:
    return math.fsum(f.value for f in figures) / len(figures) if figures else math.nan


def comparison_verdicts(comparison: Comparison) -> list[Outcome]:
    """The outcomes of the claims that name this comparison; empty where none does.

    Holm's correction is over all claims of each paper, as ``lmzoo claims`` has it.
    """
    files = [read_claims(file) for file in shipped_claims()]
    named = [file for file in files if any(claim.comparison == comparison.name for claim in file.claims)]
    outcomes = verdicts(named, [results_of(comparison)]) if named else []
    return [outcome for outcome in outcomes if outcome.claim.comparison == comparison.name]
