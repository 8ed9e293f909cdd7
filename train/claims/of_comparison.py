"""The shipped claims that a comparison decides."""

from __future__ import annotations

from dataclasses import replace

from ..report.load import Comparison
from .outcome import Outcome
from .read import read_claims, shipped_claims
from .results import results_of
from .verdicts import verdicts


def comparison_verdicts(comparison: Comparison) -> list[Outcome]:
    """The outcomes of the claims that name this comparison; empty where none does.

    Holm's correction is over the claims of each paper that this comparison decides.
    """
    files = [read_claims(file) for file in shipped_claims()]
    own = [
        replace(file, claims=tuple(claim for claim in file.claims if claim.comparison == comparison.name))
        for file in files
    ]
    return verdicts(own, [results_of(comparison)]) if any(file.claims for file in own) else []
