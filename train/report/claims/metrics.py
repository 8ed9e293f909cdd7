"""The metrics that a claims file may name, and where the records have them."""

from __future__ import annotations

from ...evaluate.extrapolate.protocols import PROTOCOLS
from ...runs.alike import SPLITS
from . import reading
from .claim import Metric, Setting, Unit, choices

_SPLIT = choices(SPLITS, "test")
_WINDOWS = {"windows": choices(PROTOCOLS, "non_overlapping"), "multiple": Setting(None), "split": _SPLIT}
_SOURCE = {"source": choices(("greedy", "sampled"), "sampled")}
_LOGITS = choices(("plain", "debiased"), "plain")
_EXACT = {
    "operation": choices(("addition", "subtraction", "comparison", "rounding", "magnitude"), "addition"),
    "lengths": choices(("all", "trained", "longer"), "all"),
    "kind": choices(
        (
            None,
            "no carry",
            "carry",
            "carry, longer answer",
            "no borrow",
            "borrow",
            "integers",
            "longer fraction larger",
            "longer fraction smaller",
            "down",
            "up",
            "up, carry",
            "any",
        ),
        None,
    ),
}
_RELATIVE: tuple[Unit, ...] = ("relative", "absolute")
_ABSOLUTE: tuple[Unit, ...] = ("absolute", "relative")
_LENGTHS = "a finished run; with a multiple also the key lengths of the comparison"

METRICS: dict[str, Metric] = {
    **{
        name: Metric(title, unit, units, reading.perplexity(name), _WINDOWS, _LENGTHS)
        for name, (title, unit, units) in {
            "token_perplexity": ("Token perplexity", "", _RELATIVE),
            "word_perplexity": ("Word perplexity", "", _RELATIVE),
            "bits_per_byte": ("Bits per byte", "bits per byte", _RELATIVE),
            "cross_entropy": ("Loss", "nats per token", _ABSOLUTE),
        }.items()
    },
    **{
        f"debiased_{name}": Metric(f"{title}, debiased", "", _RELATIVE, reading.debiased(name), {"split": _SPLIT})
        for name, title in (("token_perplexity", "Token perplexity"), ("word_perplexity", "Word perplexity"))
    },
    "length_growth": Metric(
        "Loss at a multiple of the training length less that at the training length",
        "nats per token",
        ("absolute",),
        reading.length_growth,
        _WINDOWS | {"multiple": Setting(2)},
        "the key lengths of the comparison",
        is_difference=True,
    ),
    "decile_cross_entropy": Metric(
        "Loss by decile of training frequency",
        "nats per token",
        _ABSOLUTE,
        reading.decile,
        {"decile": Setting(10), "logits": _LOGITS},
        "the key analyze of the comparison",
    ),
    **{
        name: Metric(title, "", _ABSOLUTE, reading.variety(name), _SOURCE, "the key analyze")
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
        reading.exact_match,
        _EXACT,
        "the key numbers_probe of the comparison",
        floor=0.0,
    ),
    **{
        name: Metric(title, "bits per byte", _RELATIVE, reading.text_loss(name), {}, "the key numbers_probe")
        for name, title in {
            "number_bits_per_byte": "Bits per byte of words with a digit",
            "rest_bits_per_byte": "Bits per byte of words without a digit",
        }.items()
    },
    **{
        f"passkey_{name}": Metric(
            f"Passkeys, {title}",
            "share of texts",
            _ABSOLUTE,
            reading.passkey(name),
            {"multiple": Setting(1)},
            "the key probes of the comparison, with passkey at that length",
            floor=0.0,
        )
        for name, title in (("accuracy", "answered"), ("ranked_first", "ranked first"))
    },
    "copy_accuracy": Metric(
        "Copying from the far end",
        "share of tokens",
        _ABSOLUTE,
        reading.copying,
        {"multiple": Setting(1)},
        "the key probes of the comparison, with copy at that length",
        floor=0.0,
    ),
    **{
        name: Metric(title, "", _RELATIVE, reading.of_passport(name), exact=True)
        for name, title in (("parameters", "Parameters"), ("head_parameters", "Parameters of the head"))
    },
}
