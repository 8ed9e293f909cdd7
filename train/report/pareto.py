"""Quality and what it cost: the variants that no other one beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ..figures.canvas import Plot, Theme
from ..figures.formats import amount, listed, plain
from ..figures.labels import label_points
from ..figures.table import Section
from ..runs.alike import Group
from ..runs.load import Comparison
from .costs import costs_frame, memory_kinds, speed_sentence, timed, unlike_speeds

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Point:
    """One variant: a cost and a loss, means over the seeds that have both; less loss is better."""

    variant: str
    cost: float
    loss: float
    seeds: tuple[tuple[float, float], ...] = ()


def loss_unit(group: Group) -> str:
    """What :func:`points` measures quality in."""
    return "nats per token" if group.one_tokenizer else "bits per byte"


def points(comparison: Comparison, group: Group, cost: str) -> list[Point]:
    """A point for each variant with figures: the ``cost`` of :func:`costs_frame`, and the loss of the group's records.

    The loss is the mean over seeds of nats per token, the logarithm of token perplexity; of bits per byte where the
    tokenizers differ.
    """
    records = group.records
    loss = np.log(records["token_perplexity"]) if group.one_tokenizer else records["bits_per_byte"]
    both = records[["variant", "seed"]].assign(loss=loss).merge(costs_frame(comparison), on=["variant", "seed"])
    both = both[np.isfinite(both["loss"]) & np.isfinite(both[cost])]
    found = []
    for name in comparison.variants:
        own = both[both["variant"] == name]
        if not own.empty:
            seeds = tuple(zip(own[cost].tolist(), own["loss"].tolist(), strict=True))
            found.append(Point(name, float(own[cost].mean()), float(own["loss"].mean()), seeds))
    return found


def frontier(found: Sequence[Point], better: Better) -> list[Point]:
    """The points that no other one equals or beats in both figures and beats in one, the cheapest first.

    Args:
        found: all points.
        better: whether a lower or a higher cost is the cheaper; of a speed the higher.
    """
    sign = 1 if better == "lower" else -1
    kept: list[Point] = []
    lowest = math.inf
    for point in sorted(found, key=lambda one: (sign * one.cost, one.loss)):
        equal = bool(kept) and (point.cost, point.loss) == (kept[-1].cost, kept[-1].loss)
        if point.loss < lowest or equal:
            kept.append(point)
            lowest = point.loss
    return kept


# column of the costs -> file, what it is called, the axis, which way it is better
_COSTS: dict[str, tuple[str, str, str, Better]] = {
    "tokens_per_second": ("speed", "speed", "training tokens/s (faster to the right)", "higher"),
    "peak_memory_mb": ("memory", "memory", "peak memory, MB (less to the left)", "lower"),
}


def pareto_section(comparison: Comparison, groups: Sequence[Group]) -> Section:
    """Quality on the last split against what the runs cost; empty where no two variants have both.

    Speeds of unlike machines, and memories that measure different things, are not drawn; the sentence says so.
    """
    machines, kinds = unlike_speeds(comparison), memory_kinds(comparison.finished)
    drawn = [cost for cost, fits in (("tokens_per_second", not machines), ("peak_memory_mb", len(kinds) < 2)) if fits]
    last = [(group, cost) for group in groups if group.split == groups[-1].split for cost in drawn]
    found = [(group, cost, points(comparison, group, cost)) for group, cost in last]
    plots = [_plot(comparison, group, cost, own) for group, cost, own in found if len(own) > 1]
    measured = speed_sentence(comparison)
    by_turns = bool(timed(comparison))
    sentences = [measured if by_turns else f"No benchmark: {measured[0].lower()}{measured[1:]}"]
    if machines:
        sentences.append(f"No picture of speed: the machines differ ({listed(machines)}).")
    if len(kinds) > 1:
        sentences.append(f"No picture of memory: the runs measured different things ({'; '.join(kinds)}).")
    return Section("Quality against cost", " ".join(sentences), plots)


def _plot(comparison: Comparison, group: Group, cost: str, found: list[Point]) -> Plot:
    file, word, axis, better = _COSTS[cost]
    # speeds that were logged one after another are too noisy to rank variants by
    best = [] if cost == "tokens_per_second" and not timed(comparison) else frontier(found, better)
    unit = loss_unit(group)
    names = [point.variant for point in best]
    told_line = (
        f"The line is the frontier: {listed(names)}; no other variant has both less loss and better {word}. It is "
        "drawn through means and knows nothing of chance."
        if best
        else "No frontier is drawn: machine load shows in these speeds (lmzoo speed times them in turn)."
    )
    seeds = max(len(point.seeds) for point in found)
    spread = "Large dots are means, small ones seeds." if seeds > 1 else "One seed: no spread."
    told = "; ".join(f"{point.variant} {plain(point.loss, 3)} at {amount(point.cost)}" for point in found)

    def draw(axes: Axes, theme: Theme) -> None:
        styles = theme.styles(comparison.variants, comparison.baseline)
        line = [point.cost for point in best], [point.loss for point in best]
        axes.plot(*line, color=theme.quiet, linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
        for point in found:
            colour = styles[point.variant][0]
            if len(point.seeds) > 1:
                costs, losses = zip(*point.seeds, strict=True)
                axes.scatter(costs, losses, s=12, color=colour, alpha=0.45, linewidths=0, zorder=3)
            # a ring tells the frontier's points without their colour
            edge = theme.ink if point in best else colour
            axes.scatter([point.cost], [point.loss], s=52, color=colour, edgecolors=edge, linewidths=1.2, zorder=4)
        axes.margins(0.14, 0.12)
        axes.grid()
        axes.locator_params(nbins=5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: amount(x)))
        axes.set_xlabel(axis)
        axes.set_ylabel(unit)
        axes.figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
        label_points(axes, {point.variant: (point.cost, point.loss, styles[point.variant][0]) for point in found})

    return Plot(
        draw=draw,
        file=f"quality-{file}{'' if group.of == 1 else f'-{group.place}'}.png",
        title=f"Quality against {word}, {group.label[0].lower()}{group.label[1:]}",
        caption=f"Loss in {unit}, lower is better. {told_line} {spread}",
        alt=f"{unit.capitalize()} against {word}: {told}." + (f" On the frontier: {listed(names)}." if best else ""),
        height=4.0,
        narrow_height=4.4,
    )
