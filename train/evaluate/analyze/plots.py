"""Pictures of analyses: loss by decile of training frequency, and the sizes of a head's codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ...figures.canvas import Plot
from ...figures.formats import plain, signed
from ...figures.lines import Line, LineChart
from ...figures.statistics.spread import spread
from ...runs.load import Row

Lines = Mapping[str, Sequence[Row]]
"""Name of a line -> its records, one a seed."""


def decile_plots(lines: Lines, baseline: str, *, suffix: str = "", of: str = "") -> list[Plot]:
    """Cross-entropy by decile and, where there is something to compare, its difference to the baseline.

    Args:
        lines: records of kind ``deciles`` that may be compared.
        baseline: the line that the others are compared with.
        suffix: of the files' names.
        of: of the titles.
    """
    first = next(iter(lines.values()))[0]
    # a few tokens that training never saw would set the scale and say little
    shown = [i for i, bucket in enumerate(first["buckets"]) if bucket["tokens"] and bucket["training_tokens"]]
    unseen = sum(bucket["tokens"] for bucket in first["buckets"] if not bucket["training_tokens"])
    values = {name: [[_loss(record, i) for i in shown] for record in records] for name, records in lines.items()}
    labels = [first["buckets"][i]["bucket"] for i in shown]
    scored = f"{first['split']} split, {first['tokens']:,} tokens"
    several = any(len(rows) > 1 for rows in values.values())
    how = "Thin lines: seeds; thick: their mean." if several else "One seed: no spread."
    chart = _chart(values, labels, baseline, "nats per token")
    plots = [
        Plot(
            draw=chart,
            file=f"loss-by-decile{suffix}.png",
            title=f"Loss by decile of training frequency{of}",
            caption=f"Plain cross-entropy of targets, {scored}. Decile 1: the few most frequent ids, decile 10: the "
            f"many rarest, each a tenth of the training text. Not drawn: {unseen:,} scored tokens whose ids training "
            f"never saw. {how}",
            alt=f"Cross-entropy against decile. {_alt(chart, plain)}",
        )
    ]
    # paired by seed, as the runs of one seed saw the same batches
    of_seed = {
        _seed(record): row for record, row in zip(lines.get(baseline, ()), values.get(baseline, ()), strict=True)
    }
    differences = {
        name: [
            [a - b for a, b in zip(row, of_seed[_seed(record)], strict=True)]
            for record, row in zip(lines[name], rows, strict=True)
            if _seed(record) in of_seed
        ]
        for name, rows in values.items()
        if name != baseline
    }
    differences = {name: rows for name, rows in differences.items() if rows}
    if differences:
        zero = {baseline: [[0.0] * len(labels)]}
        chart = _chart(differences | zero, labels, baseline, f"nats per token, less {baseline}'s")
        plots.append(
            Plot(
                draw=chart,
                file=f"loss-by-decile-difference{suffix}.png",
                title=f"Difference to {baseline} by decile of training frequency{of}",
                caption=f"Below the line: less loss than {baseline} with the same seed, {scored}. {how}",
                alt=f"Difference of cross-entropy to {baseline} against decile. {_alt(chart, signed, but=baseline)}",
            )
        )
    return plots


def code_plot(lines: Lines, *, suffix: str = "", of: str = "") -> Plot:
    """Token ids of each code, largest code first, one line a variant, or a seed where they differ."""
    sizes: dict[str, list[int]] = {}
    for name, records in lines.items():
        by_seed = [sorted(record["sizes"], reverse=True) for record in records]
        if all(of_seed == by_seed[0] for of_seed in by_seed):  # most mappings are the same for every seed
            sizes[name] = by_seed[0]
        else:
            sizes |= {f"{name}, seed {_seed(record)}": own for record, own in zip(records, by_seed, strict=True)}
    facts = "; ".join(
        f"{name}: {len(own):,} codes, the largest of {own[0]:,} ids, {sum(n == 1 for n in own):,} of one id, "
        f"{sum(n == 0 for n in own):,} of none"
        for name, own in sizes.items()
    )
    drawn = {name: [n for n in own if n] for name, own in sizes.items()}
    chart = LineChart(
        panels=[("", {name: Line(range(1, len(own) + 1), own) for name, own in drawn.items()})],
        names=list(sizes),
        baseline=next(iter(sizes)),
        x_label="code, the largest first",
        y_label="token ids of the code",
        log_x=10,
        log_y=True,
        limits=(0.8, 1.4 * max(own[0] for own in sizes.values())),
        names_at=max(map(len, drawn.values())),
    )
    return Plot(
        draw=chart,
        file=f"code-sizes{suffix}.png",
        title=f"Sizes of the head's codes{of}",
        caption=f"{facts}. Both axes are logarithmic; empty codes are not drawn.",
        alt=f"Token ids of each code against the code's rank. {facts}.",
    )


def _seed(record: Row) -> object:
    return (record.get("passport") or {}).get("seed")


def _loss(record: Row, place: int) -> float:
    value = record["buckets"][place]["cross_entropy"]
    return math.nan if value is None else float(value)


def _chart(
    values: Mapping[str, Sequence[Sequence[float]]], labels: Sequence[str], baseline: str, unit: str
) -> LineChart:
    """A line for the mean of each name's rows, one row a seed, and the rows as thin lines where there are several."""
    x = range(len(labels))
    lines = {
        name: Line(
            x, [spread(at).mean for at in zip(*rows, strict=True)], thin=[(x, row) for row in rows if len(rows) > 1]
        )
        for name, rows in values.items()
    }
    return LineChart(
        panels=[("", lines)],
        names=list(dict.fromkeys([baseline, *values])),
        baseline=baseline,
        x_label="decile of the training text, frequent ids to rare ones",
        y_label=unit,
        ticks=x,
        tick_labels=labels,
    )


def _alt(chart: LineChart, shown: Callable[[float, int], str], but: str = "") -> str:
    ((_, lines),) = chart.panels
    ends = {name: (line.y[0], line.y[-1]) for name, line in lines.items() if name != but}
    return "; ".join(f"{name}: {shown(first, 3)} to {shown(last, 3)}" for name, (first, last) in ends.items()) + "."
