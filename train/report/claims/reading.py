"""How each metric is found in the records of a comparison's runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ...evaluate.extrapolate.sums import FIGURES
from ...runs.alike import DEBIASED, FIELDS, TOKENIZER, likeness
from ...runs.load import number
from .claim import Figure, Settings
from .results import Results, Row

Read = Callable[[Results, Settings], list[Figure]]

_FINAL = (*FIELDS["perplexity"], "split")
_EXTRAPOLATED = (*_FINAL, "longest", "within", "targets")


def perplexity(name: str) -> Read:
    """A figure of the nll: of the final evaluation, or of the extrapolation at ``multiple`` training lengths."""

    def read(results: Results, settings: Settings) -> list[Figure]:
        rows = _final(results, settings) if settings["multiple"] is None else _extrapolated(results, settings)
        return _newest(_figure(row, name, number(row.get(name))) for row in rows)

    return read


def debiased(name: str) -> Read:
    """The figure with the shift of the loss taken back; of a loss that shifts nothing the plain one."""

    def read(results: Results, settings: Settings) -> list[Figure]:
        figures = []
        for row in _final(results, settings):
            shifted = row.get(f"{DEBIASED}nll") is not None
            prefix = DEBIASED if shifted else ""
            figures.append(_figure(row, name, number(row.get(f"{prefix}{name}")), f"{prefix}by_document"))
        return _newest(figures)

    return read


def length_growth(results: Results, settings: Settings) -> list[Figure]:
    """Nats a token that windows of ``multiple`` training lengths cost beyond windows of one."""
    first = {_whose(f): f for f in _losses(results, {**settings, "multiple": 1})}
    return [
        Figure(far.variant, far.seed, far.value - first[_whose(far)].value, far.like)
        for far in _losses(results, settings)
        if _whose(far) in first
    ]


def decile(results: Results, settings: Settings) -> list[Figure]:
    """Loss on the targets of one decile of training frequency; 10 is the rarest.

    Of a loss that shifts nothing the plain logits are the debiased ones.
    """
    figures = []
    rows = [row for row in results.analysis if row.get("kind") == "deciles"]
    shifted = {(row["variant"], row["seed"]) for row in rows if row["logits"] == "debiased"}
    for row in rows:
        debiased_here = settings["logits"] == "debiased" and (row["variant"], row["seed"]) in shifted
        if row["logits"] != ("debiased" if debiased_here else "plain"):
            continue
        buckets = [bucket for bucket in row["buckets"] if bucket["bucket"] == str(settings["decile"])]
        value = number(buckets[0]["cross_entropy"]) if buckets else math.nan
        like = likeness(row, FIELDS["deciles"])
        figures.append(Figure(str(row["variant"]), int(row["seed"]), value, like))
    return _newest(figures)


def variety(name: str) -> Read:
    """A statistic of the run's continuations."""

    def read(results: Results, settings: Settings) -> list[Figure]:
        rows = [r for r in results.analysis if r.get("kind") == "continuations" and r["source"] == settings["source"]]
        return _newest(
            Figure(str(r["variant"]), int(r["seed"]), number(r[name]), likeness(r, FIELDS["continuations"]))
            for r in rows
        )

    return read


def exact_match(results: Results, settings: Settings) -> list[Figure]:
    """Right answers of all asked in the strata of ``operation``, ``lengths`` and ``kind``."""
    trained = {"all": (True, False, None), "trained": (True,), "longer": (False,)}[settings["lengths"]]
    sums: dict[tuple[str, int], tuple[int, int, dict[str, Any]]] = {}
    for row in results.numbers:
        wanted = row["probe"] == "exact_match" and row["operation"] == settings["operation"]
        if not wanted or row["trained_length"] not in trained or settings["kind"] not in (None, row["kind"]):
            continue
        whose = (str(row["variant"]), int(row["seed"]))
        right, asked, like = sums.get(whose, (0, 0, likeness(row, FIELDS["exact_match"])))
        sums[whose] = (right + int(row["right"]), asked + int(row["problems"]), like)
    return [Figure(*whose, right / asked, like) for whose, (right, asked, like) in sums.items() if asked]


def text_loss(name: str) -> Read:
    """A figure of the loss on numbers and on the rest of a text."""

    def read(results: Results, settings: Settings) -> list[Figure]:
        fields = FIELDS["claimed text_loss"]
        rows = [row for row in results.numbers if row["probe"] == "text_loss"]
        return _newest(Figure(str(r["variant"]), int(r["seed"]), number(r[name]), likeness(r, fields)) for r in rows)

    return read


def passkey(name: str) -> Read:
    """The mean over depths of the share of passkeys found at ``multiple`` training lengths."""

    def read(results: Results, settings: Settings) -> list[Figure]:
        fields = (*FIELDS["passkey"], "length")
        by_run: dict[tuple[str, int], list[Row]] = {}
        for row in _probed(results, "passkey", settings):
            by_run.setdefault((str(row["variant"]), int(row["seed"])), []).append(row)
        return [
            Figure(
                *whose,
                math.fsum(number(row[name]) for row in rows) / len(rows),
                likeness(rows[0], fields) | {"depths": tuple(sorted(float(row["depth"]) for row in rows))},
            )
            for whose, rows in by_run.items()
        ]

    return read


def copying(results: Results, settings: Settings) -> list[Figure]:
    """The share copied where the repeat stands as far back as ``multiple`` training lengths allow."""
    rows = _probed(results, "copy", settings)
    farthest = max((int(row["distance"]) for row in rows), default=0)
    fields = (*FIELDS["copy"], "length", "distance")
    return _newest(
        Figure(str(row["variant"]), int(row["seed"]), number(row["accuracy"]), likeness(row, fields))
        for row in rows
        if int(row["distance"]) == farthest
    )


def of_passport(name: str) -> Read:
    """A number of the model that its passport has."""

    def read(results: Results, settings: Settings) -> list[Figure]:
        rows = [row for row in results.records if "split" in row]
        return _newest(
            Figure(str(row["variant"]), int(row["seed"]), number((row.get("passport") or {}).get(name)), {})
            for row in rows
        )

    return read


def _final(results: Results, settings: Settings) -> list[Row]:
    """The records of finished runs on a split; those of extrapolations have their split in the passport alone."""
    wanted = [row for row in results.records if row.get("split") == settings["split"]]
    return [row for row in wanted if row.get("protocol") == settings.get("windows", row.get("protocol"))]


def _extrapolated(results: Results, settings: Settings) -> list[Row]:
    found = []
    for row in results.records:
        passport = row.get("passport") or {}
        if "split" in row or row.get("intervention") is not None or row.get("protocol") != settings["windows"]:
            continue
        length = passport.get("train_length")
        if passport.get("split") == settings["split"] and length and row["length"] == settings["multiple"] * length:
            found.append(row)
    return found


def _losses(results: Results, settings: Settings) -> list[Figure]:
    return perplexity("cross_entropy")(results, settings)


def _probed(results: Results, probe: str, settings: Settings) -> list[Row]:
    rows = [row for row in results.probes if row["probe"] == probe and row.get("intervention") is None]
    return [row for row in rows if row["length"] == settings["multiple"] * (_passport(row, "train_length") or 0)]


def _figure(row: Row, name: str, value: float, documents: str = "by_document") -> Figure:
    unit = FIGURES[name]
    fields = _EXTRAPOLATED if "intervention" in row else _FINAL
    like = likeness(row, (*fields, *((TOKENIZER,) if unit == "tokens" else ())))
    return Figure(str(row["variant"]), int(row["seed"]), value, like, row.get(documents), unit)


def _newest(figures: Iterable[Figure]) -> list[Figure]:
    """Of several figures of one run the last: evaluated again, as after an upgrade."""
    return list({_whose(figure): figure for figure in figures}.values())


def _whose(figure: Figure) -> tuple[str, int]:
    return figure.variant, figure.seed


def _passport(row: Row, name: str) -> Any:
    return (row.get("passport") or {}).get(name, row.get(name))
