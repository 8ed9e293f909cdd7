"""Which records may stand in one table or picture: those that agree in the fields of their kind."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import pandas as pd

from ..figures.formats import listed
from .load import Comparison, Run, absent

Row = dict[str, Any]
T = TypeVar("T")

METRICS = ("token_perplexity", "word_perplexity", "bits_per_byte")
# Before the names of figures with the shift of the loss taken back.
DEBIASED = "debiased_"
SPLITS = ("validation", "test")
# Asked for besides where figures count in the tokenizer's own unit.
TOKENIZER = "tokenizer_sha256"

_WINDOWS = ("protocol", "length", "stride")
# Of a text, and of its scoring.
TEXT = ("corpus", "split", "text_sha256", "detokenize", "dtype")
_SCORED = ("words", "bytes", "longest", "within", "targets")
_ANALYSED = ("corpus", "text_sha256", "train_text_sha256", TOKENIZER, "detokenize", "train_length", "dtype")
_PROBED = (TOKENIZER, "train_length", "dtype", "intervention", "samples", "drawn_with")
_CONTINUED = ("split", "prompts", "prompt_tokens", "new_tokens", "generation_seed", "batch_size", "frequent_types")

FIELDS: dict[str, tuple[str, ...]] = {
    # what was scored, how, and how the model was trained
    "perplexity": (*_WINDOWS, "corpus", "text_sha256", "detokenize", "words", "bytes", "train_length", "dtype"),
    "curve": (TOKENIZER, "text_sha256"),
    "extrapolation": (*TEXT, "train_length", *_SCORED),
    # which marks the training lengths, and so may show several
    "extrapolation picture": (*TEXT, *_SCORED),
    "extrapolation curve": ("longest", "within", "targets", "text_sha256", TOKENIZER, "train_length", "dtype"),
    "exact_match": ("problems_sha256", "train_digits"),
    "text_loss": ("text_sha256", "length", "protocol", "split"),
    # whose difference is tested, which asks for more than a table does
    "claimed text_loss": (
        *("corpus", "text_sha256", "split", "protocol", "length", "detokenize", "train_length", "bytes", "dtype"),
    ),
    "copy": (*_PROBED, "segment_tokens", "cue_tokens"),
    "passkey": (*_PROBED, "digits", "key_tokens", "distractors"),
    "start": (*_PROBED, "corpus", "split", "text_sha256", "detokenize"),
    "deciles": ("split", "protocol", "length", *_ANALYSED),
    "continuations": (*_CONTINUED, *_ANALYSED),
    "codes": _ANALYSED,
    # of lmzoo analyze, which scores all its runs in one way
    "deciles side by side": ("text_sha256", "train_text_sha256", TOKENIZER, "train_length", "length"),
}
"""What has to be equal, for each kind of record: figures that differ in any of it answer different questions."""

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
    f"Figures stand in one table only where these are equal: {listed([WORDS[key] for key in FIELDS['perplexity']])}; "
    "token perplexities only where the tokenizers are equal too. Different versions or commits share a table, since a "
    "run may be resumed after an upgrade; a sentence above the table then says so."
)

Likeness = dict[str, Any]
"""The values that decide whether a record may stand beside others, by field."""


def likeness(row: Mapping[Any, Any], fields: Iterable[str]) -> Likeness:
    """The fields of a record or of its passport, None for what it lacks."""
    passport = row.get("passport") or {}
    values = {field: row.get(field, passport.get(field)) for field in fields}
    return {field: None if absent(value) else value for field, value in values.items()}


def differing(likenesses: Sequence[Likeness]) -> tuple[str, ...]:
    """The fields in which records are unlike; empty where they compare."""
    fields = dict.fromkeys(field for like in likenesses for field in like)
    return tuple(f for f in fields if any(like.get(f) != likenesses[0].get(f) for like in likenesses))


def together(items: Iterable[T], keys: Iterable[Hashable]) -> list[list[T]]:
    """Items of equal keys together, in the order in which each key first comes."""
    found: dict[Hashable, list[T]] = {}
    for item, key in zip(items, keys, strict=True):
        found.setdefault(key, []).append(item)
    return list(found.values())


@dataclass(frozen=True)
class Alike:
    """Records of one kind that may be compared with each other.

    Attributes:
        records: one row a record, with columns variant and seed.
        place, of: which of how many such sets this is, from 1 on.
        why: the fields in which the sets differ; empty where there is one only.
    """

    records: pd.DataFrame
    place: int
    of: int
    why: tuple[str, ...]

    @classmethod
    def sets(cls, records: pd.DataFrame, kind: str) -> list[Self]:
        """Cut records into sets that agree in the :data:`FIELDS` of their kind."""
        likenesses = [likeness(row, FIELDS[kind]) for row in records.to_dict("records")]
        places = together(range(len(records)), [tuple(like.values()) for like in likenesses])
        why = differing(likenesses)
        return [cls(records.iloc[own], place, len(places), why) for place, own in enumerate(places, start=1)]

    @property
    def label(self) -> str:
        """What tells a title from those of the other sets."""
        return "" if self.of == 1 else f" ({self.place} of {self.of})"

    @property
    def suffix(self) -> str:
        """What tells the name of a picture's file from those of the other sets."""
        return "" if self.of == 1 else f"-{self.place}"

    @property
    def apart(self) -> str:
        """Why there are other sets, as a sentence after another one; empty where there are none."""
        why = listed([WORDS.get(field, field) for field in self.why])
        return f" Apart because these differ: {why}." if why else ""

    @property
    def first(self) -> Row:
        """One of the records, for what all share."""
        return {str(field): value for field, value in self.records.iloc[0].items()}

    @property
    def train_length(self) -> int | None:
        """Tokens of a training context."""
        return None if absent(self.first["train_length"]) else int(self.first["train_length"])

    def variants(self, comparison: Comparison) -> list[str]:
        """The variants with records, in the comparison's order."""
        return [name for name in comparison.variants if (self.records["variant"] == name).any()]

    def at(self, **fields: object) -> pd.DataFrame:
        """The records that have these values."""
        chosen = self.records
        for key, value in fields.items():
            chosen = chosen[chosen[key] == value]
        return chosen

    def rows(self, **fields: object) -> list[Row]:
        """:meth:`at`, a mapping each."""
        columns = [str(field) for field in self.records.columns]
        return [dict(zip(columns, row)) for row in self.at(**fields).itertuples(index=False, name=None)]

    def lengths(self) -> list[int]:
        """In rising order."""
        return sorted({int(n) for n in self.records["length"]})


@dataclass(frozen=True)
class Group(Alike):
    """Records of the final evaluation on one split."""

    @property
    def split(self) -> str:
        """Of the text that was scored."""
        return str(self.first["split"])

    @property
    def label(self) -> str:
        """The split's name, with the group's number where there are several."""
        name = self.split.capitalize()
        return name if self.of == 1 else f"{name}, table {self.place} of {self.of}"

    @property
    def tokenizers(self) -> list[str]:
        """The tokenizers' hashes, in the order of the rows."""
        return list(dict.fromkeys(str(value) for value in self.records[TOKENIZER]))

    @property
    def one_tokenizer(self) -> bool:
        """Whether token perplexities of this group can be compared."""
        return len(self.tokenizers) == 1

    def of_tokenizer(self, tokenizer: str) -> pd.DataFrame:
        """The records made with one tokenizer."""
        return self.records[self.records[TOKENIZER].astype(str) == tokenizer]


def like_groups(frame: pd.DataFrame) -> list[Group]:
    """The records of :func:`records_frame` in groups of one split, validation first and then test."""
    splits = [str(split) for split in dict.fromkeys(frame["split"])]
    splits.sort(key=lambda s: (SPLITS.index(s) if s in SPLITS else len(SPLITS), s))
    return [group for split in splits for group in Group.sets(frame[frame["split"] == split], "perplexity")]


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


def flatten_record(record: Row, variant: str, seed: int) -> Row:
    """A record with its passport's fields beside it, and the run it is of."""
    flat = {key: value for key, value in record.items() if key != "passport"}
    passport = {key: value for key, value in (record.get("passport") or {}).items() if key not in flat}
    return {**passport, **flat, "variant": variant, "seed": seed}


def frame_of(rows: Sequence[Row], columns: Iterable[str] = (), figures: Iterable[str] = ()) -> pd.DataFrame:
    """A row a record; first these ``columns``, whether or not a record has them, and ``figures`` as floats."""
    order = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    frame = pd.DataFrame(rows, dtype=object).reindex(columns=list(order))
    return frame.astype(dict.fromkeys(figures, "float64"))


def records_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """Every record of the final evaluation of every finished run, one row each."""
    rows = [
        flatten_record(record, run.variant, run.seed)
        for run in runs
        if run.results
        for record in run.results.get("records", [])
    ]
    return frame_of(rows, ("variant", "seed", "split", *FIELDS["perplexity"], TOKENIZER, *METRICS), METRICS)
