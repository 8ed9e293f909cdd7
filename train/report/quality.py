"""The report's tables of quality, and of the passports behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..evaluate.extrapolate.sums import FIGURES
from ..figures.formats import NONE, bold_note, bracketed, listed, short_hash
from ..figures.statistics.bootstrap import Sums, bootstrap_interval, pairs_of
from ..figures.statistics.family import Tested, family
from ..figures.table import (
    DELTA,
    NATS,
    TITLES,
    Cell,
    Column,
    Table,
    TableRow,
    delta_cells,
    difference_cell,
    metric_cells,
    table_of,
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
    software = pd.DataFrame([_software(row) for row in records.to_dict("records")], index=records.index)
    software = software.fillna(_NOT_RECORDED)
    parts = []
    for name in sorted(software, key=lambda name: name == _COMMIT):
        whose = {value: _labels(records, software[name] == value) for value in dict.fromkeys(software[name])}
        if len(whose) > 1:
            parts.append(f"{name} ({'; '.join(f'{value}: {listed(labels)}' for value, labels in whose.items())})")
    return f"Not all of these runs were made with the same software: {listed(parts)}." if parts else ""


def _software(record: Mapping[Any, Any]) -> dict[str, str]:
    versions, commit = record.get("versions"), record.get("commit")
    software = {str(name): str(value) for name, value in versions.items()} if isinstance(versions, dict) else {}
    if not absent(commit):
        head, plus, changes = str(commit).partition("+")
        software[_COMMIT] = head[:10] + plus + changes
    return software


def _labels(records: pd.DataFrame, chosen: pd.Series) -> list[str]:
    """Names of the variants all of whose records are ``chosen``, and the single runs of the others."""
    labels = []
    for variant, own in records[chosen].groupby("variant", sort=False):
        whole = len(own) == (records["variant"] == variant).sum()
        labels += [str(variant)] if whole else [f"{variant} seed {seed}" for seed in dict.fromkeys(own["seed"])]
    return labels


DOCUMENTS = "With other documents"


def _documents(
    records: pd.DataFrame, metric: str, variants: Sequence[str], baseline: str
) -> tuple[list[Column], list[str]]:
    """The interval of each variant's difference to the baseline, over the seeds that both have, and what it says.

    A dash where there is none, as for the baseline; nothing at all where no record has sums by document.
    """
    sums: dict[str, dict[int, Sums | None]] = {name: {} for name in variants}
    for row in records.to_dict("records"):
        of_run = row.get("by_document")
        sums[row["variant"]][int(row["seed"])] = None if absent(of_run) else of_run
    known = [of_run for own in sums.values() for of_run in own.values() if of_run]
    if not known:
        return [], []
    cells = {}
    for name in variants:
        pairs = [] if name == baseline else pairs_of(sums[name], sums[baseline])
        interval = bootstrap_interval(pairs, FIGURES[metric])
        if interval is not None:
            cells[name] = Cell(bracketed(interval, 4))
    counts = sorted({len(of_run["document"]) for of_run in known})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    notes = [
        f"{DOCUMENTS}: 95 % interval of the same difference, in nats, from drawing the {number} scored documents with "
        "replacement, the same for both variants. It is the noise of the evaluation alone, of these trained models: "
        "another seed of training is not in it, and of a few dozen documents it is somewhat too narrow."
    ]
    without = [
        f"{name} seed {listed([str(seed) for seed, of_run in own.items() if not of_run])}"
        for name, own in sums.items()
        if not all(own.values())
    ]
    if without:
        notes.append(f"Without sums by document, and so without that interval: {'; '.join(without)}.")
    return [(DOCUMENTS, cells)], notes


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
        records = group.of_tokenizer(tokenizer)
        title = f"{label}, tokens of tokenizer {short_hash(tokenizer)}"
        sentence = _joined("Token perplexity, only of runs with this tokenizer.", software_sentence(records))
        tables.append(_quality(comparison, records, ["token_perplexity"], title=title, sentence=sentence))
    return tables


def describe(group: Group) -> str:
    """Protocol and size of what was scored, in words."""
    first = group.first
    said = {"length": "windows of {:,} tokens", "stride": "stride {:,}", "words": "{:,} words scored"}
    sizes = [text.format(int(first[field])) for field, text in said.items() if not absent(first[field])]
    return ", ".join([str(first["protocol"]).replace("_", "-"), *sizes])


def _sentence(group: Group) -> str:
    here = {key: _NOT_RECORDED if absent(group.first[key]) else short_hash(group.first[key]) for key in group.why}
    differing = ", ".join(f"{WORDS[key]}: {value} here" for key, value in here.items())
    why = f"The {group.split} figures stand in {group.of} tables because these differ: {differing}."
    return _joined(f"{describe(group).capitalize()}.", why if differing else "", software_sentence(group.records))


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _quality(comparison: Comparison, records: pd.DataFrame, metrics: list[str], *, title: str, sentence: str) -> Table:
    names = [name for name in comparison.variants if (records["variant"] == name).any()]
    baseline, metric = comparison.baseline, metrics[0]
    columns: list[Column] = [("Runs", {name: Cell(f"{(records['variant'] == name).sum()}") for name in names})]
    figures = {metric: metric_cells(records, metric, names) for metric in metrics}
    for name, cells in figures.items():
        columns += [(TITLES[name], cells), (DELTA, delta_cells(records, name, names, baseline))]
    notes = [f"Mean ± standard deviation (n − 1) over seeds. {bold_note('lowest')}"]
    if baseline in names:
        tested = against_baseline(comparison, records, metric)
        nats = {name: difference_cell(own.differences, 4) for name, own in tested.items()}
        documents, document_notes = _documents(records, metric, names, baseline)
        columns += [(f"{DELTA} {NATS[metric]}", nats), *documents, *test_columns(tested, comparison.effect)]
        notes += [test_note(metric, baseline, comparison.effect), *lost_note(fates_of(comparison)), *document_notes]
    else:
        notes.append(f"No Δ: the baseline {baseline} has no figure in this table.")
    return table_of(title, names, baseline, columns, sentence, [*notes, *one_seed_note(figures.values())])


def against_baseline(comparison: Comparison, records: pd.DataFrame, metric: str) -> dict[str, Tested]:
    """Each variant's test against the baseline; one that lost a seed to divergence is never called the better one."""
    gone, effect = diverged(fates_of(comparison)), comparison.effect
    return family(records, metric, comparison.variants, comparison.baseline, effect=effect, diverged=gone)


def one_seed_note(columns: Iterable[Mapping[str, Cell]]) -> list[str]:
    """What ``n=1`` means, where a cell has it."""
    return ["n=1: one seed: no spread."] if any(c.spread == "n=1" for cells in columns for c in cells.values()) else []


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
    common = [(key, _shown(key, group.first[key])) for key in shared]
    if not differing:
        return common, None
    rows = [
        TableRow(f"{record['variant']} · seed {record['seed']}", [Cell(_shown(key, record[key])) for key in differing])
        for _, record in group.records.iterrows()
    ]
    return common, Table("Passport fields that differ between these runs", differing, rows)


def _shown(key: str, value: object) -> str:
    if key in ("text_sha256", TOKENIZER):
        return str(value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return NONE if absent(value) else str(value)
