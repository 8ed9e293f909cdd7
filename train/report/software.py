"""Whether the runs behind a table were made with the same code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .formats import listed
from .load import absent

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
