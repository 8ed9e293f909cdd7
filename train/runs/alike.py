"""Which figures may stand in one column: those of like passports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..figures.formats import listed
from .load import Run, absent

Row = dict[str, Any]

# What was scored, how, and how the model was trained. Figures that differ in any of these answer different questions.
_SCORED = ("protocol", "length", "stride", "corpus", "text_sha256", "detokenize", "words", "bytes")
LIKE = (*_SCORED, "train_length", "dtype")
# Additionally for figures per token, which count in the tokenizer's own unit.
TOKENIZER = "tokenizer_sha256"

METRICS = ("token_perplexity", "word_perplexity", "bits_per_byte")
# Before the names of figures with the shift of the loss taken back.
DEBIASED = "debiased_"
SPLITS = ("validation", "test")

WORDS = {
    "protocol": "the protocol",
    "length": "the window's length",
    "stride": "the stride",
    "corpus": "the corpus",
    "text_sha256": "the text",
    "detokenize": "WikiText's spacing (detokenize)",
    "words": "the number of words scored",
    "bytes": "the number of bytes scored",
    "train_length": "the context length in training",
    "dtype": "the precision (dtype)",
    TOKENIZER: "the tokenizer",
}

RULE = (
    f"Figures stand in one table only where these are equal: {listed([WORDS[key] for key in LIKE])}; token "
    "perplexities only where the tokenizers are equal too. Different versions or commits share a table, since a run "
    "may be resumed after an upgrade; a sentence above the table then says so."
)


@dataclass(frozen=True)
class Group:
    """Records of one split that may be compared with each other.

    Attributes:
        records: one row a record; columns variant, seed, split, everything of the record and of its passport.
        why: the fields in which this split's groups differ; empty when there is one group only.
    """

    split: str
    place: int
    of: int
    records: pd.DataFrame
    why: tuple[str, ...]

    @property
    def tokenizers(self) -> list[str]:
        """The tokenizers' hashes, in the order of the rows."""
        return list(dict.fromkeys(str(value) for value in self.records[TOKENIZER]))

    @property
    def label(self) -> str:
        """The split's name, with the group's number where there are several."""
        name = self.split.capitalize()
        return name if self.of == 1 else f"{name}, table {self.place} of {self.of}"

    @property
    def one_tokenizer(self) -> bool:
        """Whether token perplexities of this group can be compared."""
        return len(self.tokenizers) == 1

    def of_tokenizer(self, tokenizer: str) -> pd.DataFrame:
        """The records made with one tokenizer."""
        return self.records[self.records[TOKENIZER].astype(str) == tokenizer]


def debiased(group: Group) -> Group | None:
    """The group with debiased figures in the place of the plain ones, for records that have them.

    A record without them is of a loss that shifts nothing, so that its plain figures are the debiased ones too. None
    where no record has any.
    """
    records = group.records
    if f"{DEBIASED}nll" not in records or not records[f"{DEBIASED}nll"].notna().any():
        return None
    shifted = records[f"{DEBIASED}nll"].notna()
    figures = {m: records[m].where(~shifted, records[f"{DEBIASED}{m}"]).astype("float64") for m in METRICS}
    if f"{DEBIASED}by_document" in records:
        figures["by_document"] = records["by_document"].where(~shifted, records[f"{DEBIASED}by_document"])
    return replace(group, records=records.assign(**figures))


def flatten_record(run: Run, record: Row) -> Row:
    """A record with its passport's fields beside it, and the run it is of."""
    flat = {key: value for key, value in record.items() if key != "passport"}
    passport = {key: value for key, value in (record.get("passport") or {}).items() if key not in flat}
    return {**passport, **flat, "variant": run.variant, "seed": run.seed}


def records_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Every record of every finished run, one row each."""
    rows = [flatten_record(run, record) for run in runs if run.results for record in run.results.get("records", [])]
    columns = ["variant", "seed", "split", *LIKE, TOKENIZER, *METRICS]
    frame = pd.DataFrame(rows, dtype=object).reindex(
        columns=list(dict.fromkeys([*columns, *(k for r in rows for k in r)]))
    )
    frame[list(METRICS)] = frame[list(METRICS)].astype("float64")
    return frame


def like_groups(frame: pd.DataFrame) -> list[Group]:
    """Cut the records into groups of one split that agree in :data:`LIKE`, validation first and then test."""
    groups: list[Group] = []
    splits = [str(split) for split in dict.fromkeys(frame["split"])]
    for split in sorted(splits, key=lambda s: (SPLITS.index(s) if s in SPLITS else len(SPLITS), s)):
        records = frame[frame["split"] == split]
        keys = [
            tuple(None if absent(value) else value for value in row)
            for row in records[list(LIKE)].itertuples(index=False)
        ]
        distinct = list(dict.fromkeys(keys))
        why = tuple(field for i, field in enumerate(LIKE) if len({key[i] for key in distinct}) > 1)
        for place, key in enumerate(distinct):
            same = records[[other == key for other in keys]]
            groups.append(Group(split, place + 1, len(distinct), same, why))
    return groups
