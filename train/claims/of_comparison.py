"""The shipped claims that a comparison decides."""

from __future__ import annotations

from ..report.load import Comparison
from .outcome import Outcome
from .read import read_claims, shipped_claims
from .results import results_of
from .verdicts import verdicts


def comparison_verdicts(comparison: Comparison) -> list[Outcome]:
    """The outcomes of the claims that name this comparison; empty where none does.

    Holm's correction is over all claims of each paper, as ``lmzoo claims`` has it.
    """
    files = [read_claims(file) for file in shipped_claims()]
    named = [file for file in files if any(claim.comparison == comparison.name for claim in file.claims)]
    outcomes = verdicts(named, [results_of(comparison)]) if named else []
    return [outcome for outcome in outcomes if outcome.claim.comparison == comparison.name]
