"""The report's tables of quality, and of the passports behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..evaluate.extrapolate.sums import FIGURES
from ..figures.formats import NONE, bold_note, bracketed, listed, plain, plus_minus, short_hash
from ..figures.statistics.bootstrap import Sums, bootstrap_interval, pairs_of
from ..figures.statistics.family import family
from ..figures.statistics.paired import paired_differences
from ..figures.statistics.spread import lowest, paired_means, summarise
from ..figures.table import (
    DELTA,
    NATS,
    TITLES,
    Cell,
    Table,
    TableRow,
    difference_cell,
    figure_digits,
    nats_cells,
    ratio_cell,
    test_cells,
    test_columns,
    test_note,
)
from ..runs.alike import DEBIASED, TOKENIZER, WORDS, Group, debiased
from ..runs.load import Comparison, absent, diverged, fates_of, lost_note

_NOT_RECORDED = "not recorded"
_COMMIT = "commit"


def software_sentence(records: pd.DataFrame) -> str:
    """What differs among the versions and commits of some records, and whose they are; empty when all are alike.

    Versions and commits keep no figures apart, because a run may be resumed after an upgrade, but a reader is told.
    """
    parts = [
        f"{name} ({'; '.join(f'{value}: {listed(_labels(records, whose))}' for value, whose in values.items())})"
        for name, values in _differing(records).items()
    ]
    return f"Not all of these runs were made with the same software: {listed(parts)}." if parts else ""


def _differing(records: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """What differs -> value -> places of the records that have it."""
    found = [_software(row) for row in records.to_dict("records")]
    differing: dict[str, dict[str, list[int]]] = {}
    for name in sorted(dict.fromkeys(name for one in found for name in one), key=lambda name: name == _COMMIT):
        values: dict[str, list[int]] = {}
        for place, one in enumerate(found):
            values.setdefault(one.get(name, _NOT_RECORDED), []).append(place)
        if len(values) > 1:
            differing[name] = values
    return differing


def _software(record: Mapping[Any, Any]) -> dict[str, str]:
    versions, commit = record.get("versions"), record.get("commit")
    found = {str(name): str(value) for name, value in versions.items()} if isinstance(versions, dict) else {}
    return found if absent(commit) else {**found, _COMMIT: _short_commit(str(commit))}


def _short_commit(commit: str) -> str:
    head, plus, changes = commit.partition("+")
    return head[:10] + plus + changes


def _labels(records: pd.DataFrame, places: list[int]) -> list[str]:
    """Names of the variants all of whose records are at ``places``, and the single runs of the others."""
    own = records.iloc[places]
    labels = []
    for variant in dict.fromkeys(own["variant"]):
        seeds = own.loc[own["variant"] == variant, "seed"]
        whole = len(seeds) == (records["variant"] == variant).sum()
        labels += [variant] if whole else [f"{variant} seed {seed}" for seed in dict.fromkeys(seeds)]
    return labels


DOCUMENTS = "With other documents"


def document_cells(records: pd.DataFrame, metric: str, variants: Sequence[str], baseline: str) -> dict[str, Cell]:
    """A cell a variant: the interval of its difference to the baseline over the seeds that both have.

    A dash where there is none, as for the baseline; empty where no record has sums by document.
    """
    sums = _by_seed(records, variants)
    if not any(of_seed for own in sums.values() for of_seed in own.values()):
        return {}
    cells = dict.fromkeys(variants, Cell(NONE))
    for name in variants:
        pairs = [] if name == baseline else pairs_of(sums[name], sums[baseline])
        interval = bootstrap_interval(pairs, FIGURES[metric])
        if interval is not None:
            cells[name] = Cell(bracketed(interval, 4))
    return cells


def document_notes(records: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """What the column says, of how many documents, and which runs carry no sums."""
    sums = _by_seed(records, variants)
    known = [of_seed for own in sums.values() for of_seed in own.values() if of_seed]
    counts = sorted({len(of_seed["document"]) for of_seed in known})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    notes = [
        f"{DOCUMENTS}: 95 % interval of the same difference, in nats, from drawing the {number} scored documents with "
        "replacement, the same for both variants. It is the noise of the evaluation alone, of these trained models: "
        "another seed of training is not in it, and of a few dozen documents it is somewhat too narrow."
    ]
    without = [
        f"{name} seed {listed([str(seed) for seed, of_seed in own.items() if not of_seed])}"
        for name, own in sums.items()
        if not all(own.values())
    ]
    if without:
        notes.append(f"Without sums by document, and so without that interval: {'; '.join(without)}.")
    return notes


def _by_seed(records: pd.DataFrame, variants: Sequence[str]) -> dict[str, dict[int, Sums | None]]:
    found: dict[str, dict[int, Sums | None]] = {name: {} for name in variants}
    for row in records.to_dict("records"):
        sums = row.get("by_document")
        found[row["variant"]][int(row["seed"])] = None if absent(sums) else sums
    return found


_DEBIASED_SENTENCE = (
    "A loss that weighs each token t by w(t) makes the model learn w(t) p(t), normalised; here its probabilities were "
    "divided by w(t) before scoring, which takes that back. Runs of other losses are as in the table before."
)


def quality_tables(comparison: Comparison, groups: Sequence[Group]) -> list[Table]:
    """One table for each group of like records; two kinds where the tokenizers differ inside a group.

    Where a loss shifts what is learned, tables with that taken back follow.
    """
    tables: list[Table] = []
    for group in groups:
        tables += _group_tables(comparison, group, group.label, _sentence(group))
        unshifted = debiased(group)
        if unshifted is not None:
            sentence = _joined(_sentence(group), _DEBIASED_SENTENCE)
            tables += _group_tables(comparison, unshifted, f"{group.label}, debiased", sentence)
    return tables


def _group_tables(comparison: Comparison, group: Group, label: str, sentence: str) -> list[Table]:
    if group.one_tokenizer:
        return [_quality(comparison, group.records, list(TITLES), title=label, sentence=sentence)]
    sentence = (
        f"{sentence} The rows use {len(group.tokenizers)} tokenizers. Word perplexity and bits per byte "
        "count in units of the same original text, so they compare; token perplexity counts in each tokenizer's "
        "own tokens and stands in tables of its own below. A window of equal length in tokens spans a "
        "different stretch of text under each tokenizer."
    ).strip()
    tables = [_quality(comparison, group.records, ["word_perplexity", "bits_per_byte"], title=label, sentence=sentence)]
    for tokenizer in group.tokenizers:
        tables.append(
            _quality(
                comparison,
                group.of_tokenizer(tokenizer),
                ["token_perplexity"],
                title=f"{label}, tokens of tokenizer {short_hash(tokenizer)}",
                sentence=_joined(
                    "Token perplexity, only of runs with this tokenizer.",
                    software_sentence(group.of_tokenizer(tokenizer)),
                ),
            )
        )
    return tables


def describe(group: Group) -> str:
    """Protocol and size of what was scored, in words."""
    first = group.records.iloc[0]
    parts = [str(first["protocol"]).replace("_", "-")]
    if pd.notna(first["length"]):
        parts.append(f"windows of {int(first['length']):,} tokens")
    if pd.notna(first["stride"]):
        parts.append(f"stride {int(first['stride']):,}")
    if pd.notna(first["words"]):
        parts.append(f"{int(first['words']):,} words scored")
    return ", ".join(parts)


def _sentence(group: Group) -> str:
    differing = ", ".join(f"{WORDS[key]}: {_value(group, key)} here" for key in group.why)
    why = f"The {group.split} figures stand in {group.of} tables because these differ: {differing}."
    return _joined(f"{describe(group).capitalize()}.", why if differing else "", software_sentence(group.records))


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _value(group: Group, key: str) -> str:
    value = group.records.iloc[0][key]
    return "not recorded" if absent(value) else short_hash(value)


def _quality(comparison: Comparison, records: pd.DataFrame, metrics: list[str], *, title: str, sentence: str) -> Table:
    names = [name for name in comparison.variants if (records["variant"] == name).any()]
    has_baseline = comparison.baseline in names
    columns = ["Runs"]
    by_variant: dict[str, list[Cell]] = {name: [Cell(f"{(records['variant'] == name).sum()}")] for name in names}
    single = False
    for metric in metrics:
        summary = summarise(records, metric, names)
        digits = figure_digits(metric, summary)
        best = lowest(paired_means(records, metric, names)[0])
        columns += [TITLES[metric], DELTA]
        for name in names:
            single = single or summary[name].n == 1
            by_variant[name] += [
                Cell(plain(summary[name].mean, digits), plus_minus(summary[name], digits), name in best),
                delta_cell(comparison, records, metric, name, digits),
            ]
    notes = [f"Mean ± standard deviation (n − 1) over seeds. {bold_note('lowest')}"]
    if has_baseline:
        fates = fates_of(comparison)
        effect, without = comparison.effect, diverged(fates)
        tested = family(records, metrics[0], names, comparison.baseline, effect=effect, diverged=without)
        drawn = document_cells(records, metrics[0], names, comparison.baseline)
        columns += [f"{DELTA} {NATS[metrics[0]]}", *([DOCUMENTS] if drawn else []), *test_columns(comparison.effect)]
        for name, nats in zip(names, nats_cells(tested, names), strict=True):
            by_variant[name] += [nats, *([drawn[name]] if drawn else []), *test_cells(tested.get(name))]
        notes += [test_note(metrics[0], comparison.baseline, comparison.effect), *lost_note(fates)]
        notes += document_notes(records, names) if drawn else []
    else:
        notes.append(f"No Δ: the baseline {comparison.baseline} has no figure in this table.")
    if single:
        notes.append("n=1: one seed: no spread.")
    rows = [TableRow(name, by_variant[name], name == comparison.baseline) for name in names]
    return Table(title, columns, rows, sentence, notes)


def delta_cell(comparison: Comparison, records: pd.DataFrame, metric: str, variant: str, digits: int) -> Cell:
    """The paired difference of a variant: of a perplexity as a ratio, else as it is; a dash for the baseline."""
    if variant == comparison.baseline:
        return Cell(NONE)
    if metric in NATS:
        return ratio_cell(paired_differences(records, metric, variant, comparison.baseline, "log"))
    return difference_cell(paired_differences(records, metric, variant, comparison.baseline), digits)


def passport_rows(group: Group) -> tuple[list[tuple[str, str]], Table | None]:
    """What all records of a group share, and a table of what differs between runs (columns are the fields)."""
    skip = {"variant", "seed", "split", "nll", "cross_entropy", "by_document", *TITLES}
    fields = [
        key
        for key in group.records.columns
        if key not in skip and not key.startswith(DEBIASED) and group.records[key].notna().any()
    ]
    shared = [key for key in fields if len(set(map(str, group.records[key]))) == 1]
    differing = [key for key in fields if key not in shared]
    first = group.records.iloc[0]
    common = [(key, _field(key)(first[key])) for key in shared]
    if not differing:
        return common, None
    rows = [
        TableRow(f"{record['variant']} · seed {record['seed']}", [Cell(_field(key)(record[key])) for key in differing])
        for _, record in group.records.iterrows()
    ]
    return common, Table("Passport fields that differ between these runs", differing, rows)


def _field(key: str) -> Callable[[object], str]:
    if key in ("text_sha256", TOKENIZER):
        return str
    return _shown


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return NONE if absent(value) else str(value)
