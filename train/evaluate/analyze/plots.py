"""Pictures of analyses: loss by decile of training frequency, and the sizes of a head's codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from ...figures.canvas import Draw, Plot, Theme, draw_plot, label_ends
from ...figures.formats import plain, signed
from ...figures.statistics.spread import Spread, spread
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
    plots = [
        draw_plot(
            _lines(values, labels, baseline, "nats per token"),
            file=f"loss-by-decile{suffix}.png",
            title=f"Loss by decile of training frequency{of}",
            caption=f"Plain cross-entropy of targets, {scored}. Decile 1: the few most frequent ids, decile 10: the "
            f"many rarest, each a tenth of the training text. Not drawn: {unseen:,} scored tokens whose ids training "
            f"never saw. {how}",
            alt=f"Cross-entropy against decile. {_alt(values, plain)}",
        )
    ]
    if baseline not in values or len(values) == 1:
        return plots
    # paired by seed, as the runs of one seed saw the same batches
    of_seed = {_seed(record): row for record, row in zip(lines[baseline], values[baseline], strict=True)}
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
    if not differences:
        return plots
    plots.append(
        draw_plot(
            _lines(differences, labels, baseline, f"nats per token, less {baseline}'s", zero=True),
            file=f"loss-by-decile-difference{suffix}.png",
            title=f"Difference to {baseline} by decile of training frequency{of}",
            caption=f"Below the line: less loss than {baseline} with the same seed, {scored}. {how}",
            alt=f"Difference of cross-entropy to {baseline} against decile. {_alt(differences, signed)}",
        )
    )
    return plots


def code_plot(lines: Lines, *, suffix: str = "", of: str = "") -> Plot:
    """Token ids of each code, largest code first, one line a variant, or a seed where they differ."""
    sizes: dict[str, list[int]] = {}
    for name, records in lines.items():
        own = [sorted(record["sizes"], reverse=True) for record in records]
        if all(one == own[0] for one in own):  # most mappings are the same for every seed
            own, labels = own[:1], [name]
        else:
            labels = [f"{name}, seed {_seed(record)}" for record in records]
        sizes |= dict(zip(labels, own, strict=True))
    facts = "; ".join(
        f"{name}: {len(own):,} codes, the largest of {own[0]:,} ids, {sum(n == 1 for n in own):,} of one id, "
        f"{sum(n == 0 for n in own):,} of none"
        for name, own in sizes.items()
    )
    return draw_plot(
        lambda axes, theme: _draw_codes(axes, theme, sizes),
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


def _means(rows: Sequence[Sequence[float]]) -> list[Spread]:
    return [spread(column) for column in zip(*rows, strict=True)]


def _lines(
    values: Mapping[str, Sequence[Sequence[float]]],
    labels: Sequence[str],
    baseline: str,
    unit: str,
    *,
    zero: bool = False,
) -> Draw:
    def draw(axes: Axes, theme: Theme) -> None:
        styles = theme.styles(list(dict.fromkeys([baseline, *values])), baseline)
        x = list(range(len(labels)))
        ends: dict[str, tuple[float, float, str]] = {}
        for name, rows in values.items():
            colour, stroke = styles[name]
            if len(rows) > 1:
                for row in rows:
                    axes.plot(x, row, color=colour, linewidth=0.7, alpha=0.5, linestyle=stroke)
            mean = [s.mean for s in _means(rows)]
            axes.plot(x, mean, color=colour, linewidth=1.8, linestyle=stroke, marker="o", markersize=3.5, label=name)
            if math.isfinite(mean[-1]):
                ends[name] = (x[-1], mean[-1], colour)
        if zero:
            axes.axhline(0, color=theme.ink, linewidth=1.0, zorder=1, label=baseline)
            ends[baseline] = (x[-1], 0.0, theme.ink)
        axes.set_xlim(-0.3, len(labels) - 0.7)
        axes.xaxis.set_major_locator(FixedLocator(x))
        axes.set_xticks(x, labels)
        axes.margins(y=0.08)
        axes.grid(axis="y")
        axes.set_xlabel("decile of the training text, frequent ids to rare ones")
        axes.set_ylabel(unit)
        axes.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
        label_ends(axes, ends)

    return draw


def _draw_codes(axes: Axes, theme: Theme, sizes: Mapping[str, Sequence[int]]) -> None:
    styles = theme.styles(list(sizes), next(iter(sizes)))
    for name, own in sizes.items():
        colour, stroke = styles[name]
        drawn = [n for n in own if n]
        ranks = range(1, len(drawn) + 1)
        axes.plot(ranks, drawn, color=colour, linewidth=1.8, linestyle=stroke, marker="o", markersize=2.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.8, 1.4 * max(own[0] for own in sizes.values()))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axes.grid(axis="y")
    axes.set_xlabel("code, the largest first")
    axes.set_ylabel("token ids of the code")
    axes.legend(
        handles=axes.get_lines(),
        labels=list(sizes),
        frameon=False,
        fontsize=9.5,
        labelcolor=[styles[name][0] for name in sizes],
    )


def _alt(values: Mapping[str, Sequence[Sequence[float]]], shown: Callable[[float, int], str]) -> str:
    ends = {name: _means(rows) for name, rows in values.items()}
    return "; ".join(f"{name}: {shown(m[0].mean, 3)} to {shown(m[-1].mean, 3)}" for name, m in ends.items()) + "."
