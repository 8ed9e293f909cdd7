"""Loss curves: which runs may share axes, and how they are smoothed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from .load import Run
from .passport import TOKENIZER, records_frame

# Share of a run's logged rows that one smoothed point covers.
SMOOTHED_SHARE = 0.1


@dataclass(frozen=True)
class CurveSet:
    """Runs whose cross-entropy per token may be drawn on the same axes: same tokenizer, same validation text."""

    runs: list[Run]
    place: int
    of: int


def curve_sets(runs: Sequence[Run]) -> list[CurveSet]:
    """Cut runs into sets. An unfinished run has no passport yet and goes with the finished ones of the same data."""
    with_rows = [run for run in runs if run.metrics]
    passports = {_data(run): passport for run in with_rows if (passport := _passport(run))}
    keys = [_passport(run) or passports.get(_data(run)) or _data(run) for run in with_rows]
    distinct = list(dict.fromkeys(keys))
    sets = [[run for run, key in zip(with_rows, keys, strict=True) if key == one] for one in distinct]
    return [CurveSet(members, place + 1, len(sets)) for place, members in enumerate(sets)]


def train_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Training cross-entropy against tokens; columns variant, seed, tokens, raw, smooth."""
    window = smoothing_window(runs)
    return pd.concat([_train_curve(run, window) for run in runs], ignore_index=True)


def validation_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Validation cross-entropy against training tokens; columns variant, seed, tokens, smooth (not smoothed)."""
    columns = ["variant", "seed", "tokens", "smooth"]
    rows = [
        (run.variant, run.seed, float(row["tokens_seen"]), float(row["cross_entropy"]))
        for run in runs
        for row in run.rows("validation")
    ]
    return pd.DataFrame(rows, columns=columns)


def smoothing_window(runs: Sequence[Run]) -> int:
    """Logged rows that one smoothed point averages, the same for all runs; odd, so that it is centred."""
    longest = max((len(run.rows("train")) for run in runs), default=0)
    return 2 * (int(longest * SMOOTHED_SHARE) // 2) + 1


def mean_curve(frame: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The mean over the seeds that came as far as the variant's furthest; columns tokens, smooth, low, high.

    ``low`` and ``high`` are the lowest and the highest of these seeds at each place.

    A seed that stopped early would else cut the mean off where it stopped, or bend it there.
    """
    own = frame[frame["variant"] == variant]
    furthest = own.groupby("seed")["tokens"].transform("max")
    own = own[furthest == own["tokens"].max()]
    by_seed = own.pivot(index="tokens", columns="seed", values="smooth").dropna()
    ends = {"low": by_seed.min(axis=1).to_numpy(), "high": by_seed.max(axis=1).to_numpy()}
    return pd.DataFrame({"tokens": by_seed.index, "smooth": by_seed.mean(axis=1).to_numpy(), **ends})


def _train_curve(run: Run, window: int) -> pd.DataFrame:
    rows = run.rows("train")
    raw = pd.Series([float(row["cross_entropy"]) for row in rows], dtype="float64")
    return pd.DataFrame(
        {
            "variant": run.variant,
            "seed": run.seed,
            "tokens": [float(row["tokens"]) for row in rows],
            "raw": raw,
            "smooth": raw.rolling(window, center=True, min_periods=1).mean(),
        }
    )


def _passport(run: Run) -> str:
    frame = records_frame([run])
    return (
        ""
        if frame.empty
        else json.dumps(sorted({(str(r[TOKENIZER]), str(r["text_sha256"])) for _, r in frame.iterrows()}))
    )


def _data(run: Run) -> str:
    data = {key: value for key, value in (run.config.get("data") or {}).items() if key != "seed"}
    return json.dumps(data, sort_keys=True, default=str)
