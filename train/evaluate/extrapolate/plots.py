"""The picture that asks whether a longer context is used: loss against window length, a panel a protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ...figures.canvas import Plot, Theme, draw_plot, label_ends
from ...figures.formats import listed, plain
from ...runs.load import absent
from .tables import SAYS, Group, Scored, like_scored, names_in, one_tokenizer

# A loss further above the lowest than this leaves the frame, or what is near would lie in one line.
_FRAME = {"cross_entropy": 2.5, "bits_per_byte": 1.5}
_UNITS = {"cross_entropy": "nats per token", "bits_per_byte": "bits per byte"}


def extrapolation_plots(scored: Sequence[Scored], variants: Sequence[str], baseline: str) -> list[Plot]:
    """A figure for each text: a panel a protocol, a line a variant."""
    groups = like_scored(scored, "extrapolation picture")
    plots = []
    texts = list(dict.fromkeys(group.text for group in groups))
    for place, text in enumerate(texts, start=1):
        own = [group for group in groups if group.text == text]
        frame = pd.concat([group.records for group in own])
        metric = "cross_entropy" if one_tokenizer(frame) else "bits_per_byte"
        names = names_in(frame, variants)
        above = frame[metric].map(math.isfinite) & (frame[metric] > _limits(frame, metric)[1])
        # loss that is not a number was infinite or worse
        hidden = sorted({str(n) for n in frame.loc[above | ~frame[metric].map(math.isfinite), "variant"]})
        suffix = "" if len(texts) == 1 else f"-{place}"
        plots.append(
            draw_plot(
                lambda axes, theme, own=own, names=names, metric=metric: _draw(  # type: ignore[misc]
                    axes, theme, own, names, baseline, metric
                ),
                file=f"extrapolation{suffix}.png",
                title="Does it extrapolate, and does it use the context?",
                caption="Loss against the length of the evaluation window; lower is better. "
                + " ".join(f"{group.title}: {_lower(SAYS[group.protocol][1])}." for group in own)
                + " "
                + _marks(frame)
                + "Dots are seeds, lines their means. " * (frame["seed"].nunique() > 1)
                + (f"Above the frame in part: {', '.join(hidden)}." if hidden else ""),
                alt=_alt(own, names, metric),
                # every name has room beside its panel
                height=0.9 + max(2.3, 0.5 + 0.19 * len(names)) * len(own),
            )
        )
    return plots


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _marks(frame: pd.DataFrame) -> str:
    own = _train_lengths(frame)
    if len(own) == 1:
        return f"The dotted line is the training length, {next(iter(own)):,}. "
    spelt = ", ".join(f"{length:,} of {listed(names)}" for length, names in own.items())
    return f"The dotted lines are the training lengths: {spelt}. " if own else ""


def _train_lengths(frame: pd.DataFrame) -> dict[int, list[str]]:
    """The variants of each training length."""
    own: dict[int, list[str]] = {}
    for name, length in dict.fromkeys(zip(frame["variant"], frame["train_length"])):
        if not absent(length):
            own.setdefault(int(length), []).append(str(name))
    return dict(sorted(own.items()))


def _limits(frame: pd.DataFrame, metric: str) -> tuple[float, float]:
    finite = frame.loc[frame[metric].map(math.isfinite), metric]
    if finite.empty:
        return 0.0, 1.0
    low = float(finite.min())
    high = min(float(finite.max()), low + _FRAME[metric])
    margin = 0.07 * (high - low) or 0.1
    return low - margin, high + margin


def _draw(axes: Axes, theme: Theme, groups: Sequence[Group], names: Sequence[str], baseline: str, metric: str) -> None:
    figure = axes.figure
    axes.remove()
    panels = figure.subplots(len(groups), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    whole = pd.concat([group.records for group in groups])
    lengths = sorted({int(n) for n in whole["length"]})
    styles = theme.styles(names, baseline if baseline in names else names[0])
    ends: list[dict[str, tuple[float, float, str]]] = []
    for panel, group in zip(panels, groups, strict=True):
        ends.append({})
        for name in names:
            own = group.records[group.records["variant"] == name]
            if own.empty:
                continue
            colour, stroke = styles[name]
            mean = own.groupby("length")[metric].mean()
            if own["seed"].nunique() > 1:
                panel.scatter(own["length"].astype(float), own[metric], s=9, color=colour, alpha=0.5, linewidths=0)
            places = mean.index.astype(float)
            line = {"color": colour, "linestyle": stroke, "linewidth": 1.8, "marker": "o", "markersize": 3.5}
            panel.plot(places, mean, label=name, **line)
            if math.isfinite(last := float(mean.iloc[-1])):
                ends[-1][name] = (float(mean.index[-1]), last, colour)
        panel.set_title(group.title, loc="left", color=theme.ink, fontsize=9.5)
        panel.grid(axis="y")
        panel.set_ylabel(_UNITS[metric])
        panel.yaxis.set_major_locator(MaxNLocator(4))
    panels[0].set_xscale("log", base=2)
    panels[0].set_xlim(lengths[0] / 1.1, lengths[-1] * 1.1)
    panels[0].set_ylim(*_limits(whole, metric))
    panels[0].xaxis.set_major_locator(FixedLocator(lengths))
    panels[0].xaxis.set_minor_locator(NullLocator())
    panels[0].xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain(x, 0)))
    panels[-1].set_xlabel("evaluation window (tokens)")
    for train_length in _train_lengths(whole):
        for panel in panels if lengths[0] / 1.1 <= train_length <= lengths[-1] * 1.1 else ():
            panel.axvline(train_length, color=theme.quiet, linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
    figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
    for panel, end in zip(panels, ends, strict=True):
        label_ends(panel, end)


def _alt(groups: Sequence[Group], names: Sequence[str], metric: str) -> str:
    parts = []
    for group in groups:
        means = group.records.groupby(["variant", "length"])[metric].mean()
        ends = [(name, means[name]) for name in names if name in means.index]
        spelt = [f"{name} {m.iloc[0]:.3f} at {m.index[0]}, {m.iloc[-1]:.3f} at {m.index[-1]}" for name, m in ends]
        parts.append(f"{group.title}: {'; '.join(spelt)}")
    return f"Loss in {_UNITS[metric]} against window length. {'. '.join(parts)}."
