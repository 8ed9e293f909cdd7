"""A published comparison as pandas tables: what the notebooks draw from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ..evaluate.numbers.tables import probe_frame
from ..runs.alike import FIELDS, flatten_record, likeness, records_frame
from ..runs.load import COMPARISON_FILE, Comparison, load_comparison
from .claims import words
from .claims.claim import read_claims
from .claims.results import results_of
from .claims.verdicts import verdicts
from .curves import train_frame, validation_frame

_COLUMNS = ("variant", "seed")


class Published:
    """The records of one comparison below a folder of published ones, or the plain statement that there are none.

    Every method gives one row a record or run, and no row where nothing was published: the columns named here are
    there all the same. Nothing is averaged and nothing is left out.

    Args:
        name: of the comparison, such as ``attention``.
        folder: that holds the published comparisons; ``notebooks/results`` of a checkout.

    Attributes:
        comparison: as read; None where it is not there.

    Raises:
        ConfigError: a file of it cannot be read.
    """

    def __init__(self, name: str, folder: str | Path = "results") -> None:
        self.name = name
        self.folder = Path(folder) / name
        there = (self.folder / COMPARISON_FILE).is_file()
        self.comparison: Comparison | None = load_comparison(self.folder) if there else None

    def __str__(self) -> str:
        """What is there, in one sentence."""
        if self.comparison is None:
            command = f"lmzoo compare configs/compare/{self.name}.yaml --collect {self.folder.parent}"
            return (
                f"Nothing is published of the comparison {self.name}: {self.folder} is not there. Figures and tables "
                f"made from it stay empty. This makes it: {command}"
            )
        runs = self.comparison.finished
        seeds = sorted({run.seed for run in runs})
        names = list(dict.fromkeys(run.variant for run in runs))
        return (
            f"{self.name}: {len(runs)} finished runs of {len(names)} variants, seeds {', '.join(map(str, seeds))}; "
            f"baseline {self.comparison.baseline}."
        )

    @property
    def variants(self) -> list[str]:
        """In the comparison's order."""
        return self.comparison.variants if self.comparison else []

    @property
    def baseline(self) -> str:
        """The variant that the others are held against; empty where nothing is there."""
        return self.comparison.baseline if self.comparison else ""

    def finals(self, split: str = "test") -> pd.DataFrame:
        """The final record of every run on a split, its passport's fields beside it."""
        frame = records_frame(self.comparison.finished if self.comparison else [])
        sums = [name for name in frame if str(name).endswith("by_document")]
        return frame[frame["split"] == split].drop(columns=sums).reset_index(drop=True)

    def lengths(self, protocol: str = "fixed_target") -> pd.DataFrame:
        """Perplexity by window length in one protocol; columns variant, seed, length, token_perplexity and others.

        Where runs were evaluated with unlike settings, say up to unlike lengths, those of most records are taken:
        figures of the others answer another question.
        """
        rows = [
            flatten_record({k: v for k, v in record.items() if k != "by_document"}, run.variant, run.seed)
            for run in (self.comparison.finished if self.comparison else [])
            for record in run.extrapolation
            if record["protocol"] == protocol and record.get("intervention") is None
        ]
        if not rows:
            return _frame([], ("length", "token_perplexity"))
        keys = [tuple(likeness(row, FIELDS["extrapolation curve"]).values()) for row in rows]
        most = max(dict.fromkeys(keys), key=keys.count)
        same = {
            (row["variant"], row["seed"], row["length"]): row  # the newest, where one was evaluated again
            for row, key in zip(rows, keys, strict=True)
            if key == most
        }
        return pd.DataFrame(same.values()).sort_values(["variant", "seed", "length"], ignore_index=True)

    def curves(self, split: str = "train") -> pd.DataFrame:
        """Loss against training tokens; columns variant, seed, tokens, smooth (and raw for ``train``)."""
        runs = [run for run in self.comparison.runs if run.metrics] if self.comparison else []
        if not runs:
            return _frame([], ("tokens", "smooth"))
        return train_frame(runs) if split == "train" else validation_frame(runs)

    def numbers(self, probe: str = "exact_match") -> pd.DataFrame:
        """Records of ``lmzoo numbers``: right answers of problems by operation and length, or ``text_loss``."""
        frame = probe_frame(self.comparison) if self.comparison else pd.DataFrame()
        if frame.empty:
            return _frame([], ("operation", "digits", "right", "problems"))
        return frame[frame["probe"] == probe].reset_index(drop=True)

    def deciles(self, logits: str = "plain") -> pd.DataFrame:
        """Loss by decile of training frequency, 10 the rarest; columns variant, seed, decile, cross_entropy."""
        rows = [
            {"variant": run.variant, "seed": run.seed, "decile": int(bucket["bucket"]), **bucket}
            for run in (self.comparison.finished if self.comparison else [])
            for record in run.analysis
            if record.get("kind") == "deciles" and record["logits"] == logits
            for bucket in record["buckets"]
            if str(bucket["bucket"]).isdecimal()
        ]
        return _frame(rows, ("decile", "cross_entropy"))

    def verdicts(self, paper: str) -> pd.DataFrame:
        """What these runs say of a paper's claims that this comparison decides: one row a claim."""
        file = read_claims(f"configs/claims/{paper}.yaml")
        outcomes = verdicts([file], [results_of(self.comparison)] if self.comparison else [])
        rows = [
            {
                "claim": outcome.claim.sentence,
                "verdict": words.verdict(outcome),
                "measured": words.difference(outcome),
                "claimed": words.claim_in_figures(outcome.claim),
                "seeds": outcome.differences.n if outcome.differences else 0,
            }
            for outcome in outcomes
            if outcome.claim.comparison == self.name
        ]
        return pd.DataFrame(rows, columns=["claim", "verdict", "measured", "claimed", "seeds"])


def _frame(rows: list[dict[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*_COLUMNS, *columns])
