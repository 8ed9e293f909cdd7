"""What the runs say of one claim."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ...figures.statistics.paired import Paired
from ...storage import finite
from .claim import Claim, Paper
from .judge import Verdict


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
    def mean(self) -> float:
        """The mean difference on the scale of the test; NaN where not tested."""
        return math.nan if self.differences is None else self.differences.mean

    def as_row(self) -> dict[str, Any]:
        """JSON-ready: null for what is not known."""
        row = {
            "paper": asdict(self.paper),
            "claim": asdict(self.claim),
            "verdict": self.verdict,
            "remark": self.remark,
            "scale": None if self.differences is None else self.differences.scale,
            "seeds": [] if self.differences is None else list(self.differences.seeds),
            "differences": [] if self.differences is None else list(self.differences.values),
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "holm_adjusted_p": self.adjusted_p,
            "size_p": self.size_p,
            "holm_adjusted_size_p": self.adjusted_size_p,
            "variant_mean": self.variant_mean,
            "baseline_mean": self.baseline_mean,
            "documents_low": None if self.documents is None else self.documents[0],
            "documents_high": None if self.documents is None else self.documents[1],
            "results": self.place,
        }
        return dict(finite(row))
