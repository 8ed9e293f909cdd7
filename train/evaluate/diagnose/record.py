"""The numbers of a diagnosis as JSON-ready records: one division each, from float64 means over windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ....layers import Attention, ComplexAttention
from ....models import Decoder
from ...storage import Record
from .weights import Reading

# Groups of neighbouring rows that a figure by row position is averaged over.
ROW_GROUPS = 16
HISTOGRAM_BINS = 31


def weights_record(reading: Reading) -> Record:
    """Entropy, or total weight where rows do not sum to 1, over a window and by row position.

    ``uniform_entropy`` is the same mean of log i, the entropy of row i if it weighed its i keys equally.
    """
    return {
        "layer": reading.layer,
        "attention": reading.kind,
        "length": reading.length,
        "rows_read": len(reading.rows),
        "sums_to_one": reading.entropy is not None,
        "entropy": None if reading.entropy is None else float(reading.entropy.mean()),
        "uniform_entropy": _mean_log(reading.rows),
        "entropy_by_head": None if reading.entropy is None else reading.entropy.mean(dim=1).tolist(),
        "total_weight": float(reading.total.mean()),
        "total_weight_by_head": reading.total.mean(dim=1).tolist(),
        "total_weight_range": [reading.smallest_total, reading.largest_total],
        "by_row": [
            {
                **place,
                "rows_read": len(rows),
                "entropy": None if reading.entropy is None else _mean_of(reading.entropy, part),
                "uniform_entropy": _mean_log(rows),
                "total_weight": _mean_of(reading.total, part),
            }
            for part, rows, place in _row_groups(reading.rows)
        ],
    }


def threshold_record(reading: Reading, layer: Attention) -> Record:
    """Share of the visible keys that survive the threshold, over a window and by row position."""
    assert reading.surviving is not None
    power = layer.current_power()  # type: ignore[operator]
    return {
        "layer": reading.layer,
        "length": reading.length,
        "rows_read": len(reading.rows),
        "power": power.tolist() if isinstance(power, Tensor) else power,
        "free_rows": layer.free_rows,
        "surviving_share": float(reading.surviving.mean()),
        "surviving_share_by_head": reading.surviving.mean(dim=1).tolist(),
        "by_row": [
            {**place, "surviving_share": _mean_of(reading.surviving, part)}
            for part, _, place in _row_groups(reading.rows)
        ],
    }


def phase_records(network: Decoder) -> list[Record]:
    """Delta and b of each :class:`ComplexAttention`, spelt out for every query head and channel, (H, dh/2)."""
    records = []
    for i, block in enumerate(network.blocks):
        layer = block.attention
        if not isinstance(layer, ComplexAttention):
            continue
        half = layer.head_width // 2
        delta = layer.delta.detach().expand(layer.n_kv_heads, half)
        records.append(
            {
                "layer": i,
                "adaptation": layer.adaptation,
                "delta_init": layer.delta_init,
                "heads_share_delta": layer.n_heads // layer.delta.size(0),
                "delta": delta.repeat_interleave(layer.n_heads // layer.n_kv_heads, dim=0).tolist(),
                "bias": layer.bias.detach().expand(layer.n_heads, half).tolist(),
            }
        )
    return records


def histograms(records: list[Record], name: str) -> Record:
    """Counts of channels by value of ``name`` (delta or bias), one row a layer and head, with common bin edges."""
    values = np.concatenate([np.asarray(record[name], dtype=np.float64) for record in records])
    low, high = float(values.min()), float(values.max())
    if high == low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts = [np.histogram(row, edges)[0].tolist() for row in values]
    heads = [[record["layer"], head] for record in records for head in range(len(record[name]))]
    return {"edges": edges.tolist(), "layer_and_head": heads, "channels": counts}


def _row_groups(rows: list[int]) -> Iterator[tuple[slice, list[int], Record]]:
    """Neighbouring rows in at most ``ROW_GROUPS`` groups of nearly equal size: their indices, the rows, their place."""
    n = min(ROW_GROUPS, len(rows))
    cuts = [round(k * len(rows) / n) for k in range(n + 1)]
    for a, b in itertools.pairwise(cuts):
        group = rows[a:b]
        yield slice(a, b), group, {"first_row": group[0], "last_row": group[-1], "mean_row": sum(group) / len(group)}


def _mean_of(of_row: Tensor, part: slice) -> float:
    return float(of_row[:, part].mean())


def _mean_log(rows: list[int]) -> float:
    return math.fsum(math.log(i) for i in rows) / len(rows)
