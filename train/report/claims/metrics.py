"""The metrics that a claims file may name, and where the records of a comparison's runs have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...evaluate.extrapolate.protocols import PROTOCOLS
from ...evaluate.extrapolate.sums import FIGURES
from ...runs.alike import DEBIASED, FIELDS, SPLITS, TOKENIZER, Likeness, likeness, together
from ...runs.evaluation_files import NUMBERS_FILE, PROBES_FILE
from ...runs.load import ANALYSIS_FILE, Row, number
from ...runs.rows import RECORDS
from .results import Results

Unit = Literal["relative", "absolute"]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A setting of a metric.

    Attributes:
        default: where a claim does not say.
        choices: the values there are; any whole number of 1 or more where there are none.
    """

    default: Any
    choices: Sequence[Any] = ()


@dataclass(frozen=True)
class Metric:
    """How a figure of every run is found in the records.

    Attributes:
        title: as a table has it.
        unit: of the plain figure and of an absolute difference.
        units: what a claim may say of a difference; the first where it names no size.
        rows: of the runs that have a figure the records with it, below the metric's name.
        like: the fields that have to be equal for figures to be compared.
        settings: by name.
        needs: what a comparison has to ask for so that there are such figures.
        exact: whether it is counted and not estimated, so that equal differences leave nothing to chance.
        floor: what it is where nothing is solved; None where there is no such value.
        is_difference: whether it is a difference in itself, so that a claim may hold it against zero or a bound.
    """

    title: str
    unit: str
    units: tuple[Unit, ...]
    rows: Callable[[Results, Settings], Iterable[Row]]
    like: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    needs: str = "runs that are finished"
    is_difference: bool = False
    exact: bool = False
    floor: float | None = None


@dataclass(frozen=True)
class Figure:
    """What a metric is for one run.

    Attributes:
        value: NaN where the run's record has none.
        like: what has to be equal for figures to be compared, by field.
        documents: sums by document of the same scoring, where the record carries them.
        unit: of the documents' sums: ``tokens``, ``words`` or ``bytes``.
    """

    variant: str
    seed: int
    value: float
    like: Likeness
    documents: Mapping[str, Sequence[Any]] | None = None
    unit: str = "tokens"


def figures(name: str, results: Results, settings: Settings) -> list[Figure]:
    """The figure of every run that has one; of several of one run the last: evaluated again, as after an upgrade."""
    metric = METRICS[name]
    scored = FIGURES.get(name.removeprefix(DEBIASED))  # whether documents were scored, and what each counts
    found = {}
    for row in metric.rows(results, settings):
        whose = str(row["variant"]), int(row["seed"])
        documents = row.get("by_document") if scored else None
        value = number(row.get(name))
        found[whose] = Figure(*whose, value, likeness(row, metric.like), documents, scored or "tokens")
    return list(found.values())


def _scored(results: Results, settings: Settings) -> list[Row]:
    """Records of a split: the final ones, or those of the extrapolation at ``multiple`` training lengths."""
    wanted = [row for row in results.rows[RECORDS] if row.get("split") == settings["split"]]
    wanted = [row for row in wanted if row.get("protocol") == settings.get("windows", row.get("protocol"))]
    if settings.get("multiple") is None:
        return [row for row in wanted if "intervention" not in row]
    return [row for row in wanted if "intervention" in row and _without_change(row, settings)]


def _without_change(row: Row, settings: Settings) -> bool:
    """Whether the record is of the model as it was trained, at the wanted multiple of its training length."""
    length = row.get("train_length")
    return row.get("intervention") is None and bool(length) and row["length"] == settings["multiple"] * length


def _debiased(results: Results, settings: Settings) -> list[Row]:
    """With the shift of the loss taken back; of a loss that shifts nothing the plain figures."""
    plain = {DEBIASED + name: name for name in (*FIGURES, "by_document")}
    rows = []
    for scored in _scored(results, settings):
        shifted = scored.get(f"{DEBIASED}nll") is not None
        row = scored if shifted else scored | {name: scored.get(of_plain) for name, of_plain in plain.items()}
        rows.append(row | {"by_document": row.get(f"{DEBIASED}by_document")})
    return rows


def _growth(results: Results, settings: Settings) -> list[Row]:
    """Nats a token that windows of ``multiple`` training lengths cost beyond windows of one."""
    near, far = (
        {(row["variant"], row["seed"]): row for row in _scored(results, {**settings, "multiple": multiple})}
        for multiple in (1, settings["multiple"])
    )
    loss = "cross_entropy"
    return [
        row | {"length_growth": number(row.get(loss)) - number(near[whose].get(loss))}
        for whose, row in far.items()
        if whose in near
    ]


def _deciles(results: Results, settings: Settings) -> list[Row]:
    """Loss on the targets of one decile; of a loss that shifts nothing the plain logits are the debiased ones."""
    rows = [row for row in results.rows[ANALYSIS_FILE] if row.get("kind") == "deciles"]
    shifted = {(row["variant"], row["seed"]) for row in rows if row["logits"] == "debiased"}
    found = []
    for row in rows:
        debiased = settings["logits"] == "debiased" and (row["variant"], row["seed"]) in shifted
        if row["logits"] == ("debiased" if debiased else "plain"):
            losses = {bucket["bucket"]: bucket["cross_entropy"] for bucket in row["buckets"]}
            found.append(row | {"decile_cross_entropy": losses.get(str(settings["decile"]))})
    return found


def _continuations(results: Results, settings: Settings) -> list[Row]:
    rows = [row for row in results.rows[ANALYSIS_FILE] if row.get("kind") == "continuations"]
    return [row for row in rows if row["source"] == settings["source"]]


def _problems(results: Results, settings: Settings) -> list[Row]:
    """Right answers of all asked in the strata of ``operation``, ``lengths`` and ``kind``."""
    lengths = {"all": (True, False, None), "trained": (True,), "longer": (False,)}[settings["lengths"]]
    wanted = [
        row
        for row in results.rows[NUMBERS_FILE]
        if row["probe"] == "exact_match" and row["operation"] == settings["operation"]
        if row["trained_length"] in lengths and settings["kind"] in (None, row["kind"])
    ]
    asked = [(rows, sum(int(row["problems"]) for row in rows)) for rows in _by_run(wanted)]
    return [rows[-1] | {"exact_match": sum(int(row["right"]) for row in rows) / n} for rows, n in asked if n]


def _texts(results: Results, settings: Settings) -> list[Row]:
    return [row for row in results.rows[NUMBERS_FILE] if row["probe"] == "text_loss"]


def _probed(results: Results, settings: Settings, probe: str) -> list[Row]:
    rows = [row for row in results.rows[PROBES_FILE.name] if row["probe"] == probe]
    return [row for row in rows if _without_change(row, settings)]


def _passkeys(results: Results, settings: Settings) -> list[Row]:
    """The mean over depths of the shares of passkeys found at ``multiple`` training lengths."""
    return [
        rows[0]
        | {f"passkey_{name}": math.fsum(number(row.get(name)) for row in rows) / len(rows) for name in _PASSKEYS}
        | {"depths": tuple(sorted(float(row["depth"]) for row in rows))}
        for rows in _by_run(_probed(results, settings, "passkey"))
    ]


def _copies(results: Results, settings: Settings) -> list[Row]:
    """The share copied where the repeat stands as far back as ``multiple`` training lengths allow."""
    rows = _probed(results, settings, "copy")
    farthest = max((int(row["distance"]) for row in rows), default=0)
    return [row | {"copy_accuracy": row["accuracy"]} for row in rows if int(row["distance"]) == farthest]


def _by_run(rows: Sequence[Row]) -> list[list[Row]]:
    return together(rows, [(row["variant"], row["seed"]) for row in rows])


def _finished(results: Results, settings: Settings) -> list[Row]:
    return [row for row in results.rows[RECORDS] if "intervention" not in row]


# records of the final evaluation hold none of the last three
_TEXT = (*FIELDS["perplexity"], "split", "longest", "within", "targets")
_TOKENS = (*_TEXT, TOKENIZER)
_PASSKEYS = {"accuracy": "answered", "ranked_first": "ranked first"}

_SPLIT = Setting("test", SPLITS)
_WINDOWS = {"windows": Setting("non_overlapping", PROTOCOLS), "multiple": Setting(None), "split": _SPLIT}
_DECILES = {"decile": Setting(10), "logits": Setting("plain", ("plain", "debiased"))}
_SOURCE = {"source": Setting("sampled", ("greedy", "sampled"))}
_AT = {"multiple": Setting(1)}
_KINDS = (
    *(None, "no carry", "carry", "carry, longer answer", "no borrow", "borrow", "integers"),
    *("longer fraction larger", "longer fraction smaller", "down", "up", "up, carry", "any"),
)
_EXACT = {
    "operation": Setting("addition", ("addition", "subtraction", "comparison", "rounding", "magnitude")),
    "lengths": Setting("all", ("all", "trained", "longer")),
    "kind": Setting(None, _KINDS),
}
_RELATIVE: tuple[Unit, ...] = ("relative", "absolute")
_ABSOLUTE: tuple[Unit, ...] = ("absolute", "relative")
_LENGTHS = "a finished run; with a multiple also the key lengths of the comparison"

METRICS: dict[str, Metric] = {
    **{
        name: Metric(title, unit, units, _scored, like, _WINDOWS, _LENGTHS)
        for name, title, unit, units, like in (
            ("token_perplexity", "Token perplexity", "", _RELATIVE, _TOKENS),
            ("word_perplexity", "Word perplexity", "", _RELATIVE, _TEXT),
            ("bits_per_byte", "Bits per byte", "bits per byte", _RELATIVE, _TEXT),
            ("cross_entropy", "Loss", "nats per token", _ABSOLUTE, _TOKENS),
        )
    },
    **{
        f"debiased_{name}": Metric(f"{title}, debiased", "", _RELATIVE, _debiased, like, {"split": _SPLIT})
        for name, title, like in (
            ("token_perplexity", "Token perplexity", _TOKENS),
            ("word_perplexity", "Word perplexity", _TEXT),
        )
    },
    "length_growth": Metric(
        "Loss at a multiple of the training length less that at the training length",
        "nats per token",
        ("absolute",),
        _growth,
        _TOKENS,
        _WINDOWS | {"multiple": Setting(2)},
        "the key lengths of the comparison",
        is_difference=True,
    ),
    "decile_cross_entropy": Metric(
        "Loss by decile of training frequency",
        "nats per token",
        _ABSOLUTE,
        _deciles,
        FIELDS["deciles"],
        _DECILES,
        "the key analyze of the comparison",
    ),
    **{
        name: Metric(title, "", _ABSOLUTE, _continuations, FIELDS["continuations"], _SOURCE, "the key analyze")
        for name, title in {
            "distinct_1": "distinct-1",
            "distinct_2": "distinct-2",
            "distinct_3": "distinct-3",
            "seq_rep_4": "seq-rep-4",
            "rare_share": "Share of rare tokens",
            "word_distinct_2": "distinct-2 of words",
        }.items()
    },
    "exact_match": Metric(
        "Exact match",
        "share of problems",
        _ABSOLUTE,
        _problems,
        FIELDS["exact_match"],
        _EXACT,
        "the key numbers_probe of the comparison",
        floor=0.0,
    ),
    **{
        f"{part}_bits_per_byte": Metric(
            f"Bits per byte of words {which} a digit",
            "bits per byte",
            _RELATIVE,
            _texts,
            FIELDS["claimed text_loss"],
            needs="the key numbers_probe",
        )
        for part, which in (("number", "with"), ("rest", "without"))
    },
    **{
        f"passkey_{name}": Metric(
            f"Passkeys, {title}",
            "share of texts",
            _ABSOLUTE,
            _passkeys,
            (*FIELDS["passkey"], "length", "depths"),
            _AT,
            "the key probes of the comparison, with passkey at that length",
            floor=0.0,
        )
        for name, title in _PASSKEYS.items()
    },
    "copy_accuracy": Metric(
        "Copying from the far end",
        "share of tokens",
        _ABSOLUTE,
        _copies,
        (*FIELDS["copy"], "length", "distance"),
        _AT,
        "the key probes of the comparison, with copy at that length",
        floor=0.0,
    ),
    "parameters": Metric("Parameters", "", _RELATIVE, _finished, exact=True),
    "head_parameters": Metric("Parameters of the head", "", _RELATIVE, _finished, exact=True),
}
