"""The picture that asks whether a longer context is used: loss against window length, a panel a protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from ...figures.canvas import Plot
from ...figures.formats import listed
from ...figures.lines import Line, LineChart
from ...runs.load import absent
from .tables import SAYS, Group, Scored, like_scored, names_in, one_tokenizer

# A loss further above the lowest than this leaves the frame, or what is near would lie in one line.
_FRAME = {"cross_entropy": 2.5, "bits_per_byte": 1.5}
_UNITS = {"cross_entropy": "nats per token", "bits_per_byte": "bits per byte"}


def extrapolation_plots(scored: Sequence[Scored], variants: Sequence[str], baseline: str) -> list[Plot]:
    """A figure for each text: a panel a protocol, a line a variant."""
    groups = like_scored(scored, "extrapolation picture")
    texts = list(dict.fromkeys(group.text for group in groups))
    return [
        _plot([group for group in groups if group.text == text], variants, baseline, f"-{i}" if len(texts) > 1 else "")
        for i, text in enumerate(texts, start=1)
    ]


def _plot(groups: Sequence[Group], variants: Sequence[str], baseline: str, suffix: str) -> Plot:
    frame = pd.concat([group.records for group in groups])
    metric = "cross_entropy" if one_tokenizer(frame) else "bits_per_byte"
    names = names_in(frame, variants)
    limits = _limits(frame, metric)
    # loss that is not a number was infinite or worse
    hidden = sorted({str(n) for n in frame.loc[~(frame[metric] <= limits[1]), "variant"]})
    panels = [(group.title, _lines(group.records, names, metric)) for group in groups]
    train_lengths = _train_lengths(frame)
    chart = LineChart(
        panels=panels,
        names=names,
        baseline=baseline if baseline in names else names[0],
        x_label="evaluation window (tokens)",
        y_label=_UNITS[metric],
        ticks=sorted({int(n) for n in frame["length"]}),
        log_x=2,
        limits=limits,
        marks=list(train_lengths),
    )
    return Plot(
        draw=chart,
        file=f"extrapolation{suffix}.png",
        title="Does it extrapolate, and does it use the context?",
        caption="Loss against the length of the evaluation window; lower is better. "
        + " ".join(f"{group.title}: {_lower(SAYS[group.protocol][1])}." for group in groups)
        + " "
        + _marks(train_lengths)
        + "Dots are seeds, lines their means. " * (frame["seed"].nunique() > 1)
        + (f"Above the frame in part: {', '.join(hidden)}." if hidden else ""),
        alt=_alt(panels, metric),
        # every name has room beside its panel
        height=0.9 + max(2.3, 0.5 + 0.19 * len(names)) * len(groups),
    )


def _lines(frame: pd.DataFrame, names: Sequence[str], metric: str) -> dict[str, Line]:
    """The mean over seeds by length of each variant with records, among its seeds."""
    lines = {}
    for name in names:
        rows = frame[frame["variant"] == name]
        mean = rows.groupby("length")[metric].mean()
        dots = (rows["length"].tolist(), rows[metric].tolist()) if rows["seed"].nunique() > 1 else ((), ())
        if len(mean):
            lines[name] = Line([int(n) for n in mean.index], mean.tolist(), dots=dots)
    return lines


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _marks(train_lengths: dict[int, list[str]]) -> str:
    if len(train_lengths) == 1:
        return f"The dotted line is the training length, {next(iter(train_lengths)):,}. "
    spelt = ", ".join(f"{length:,} of {listed(names)}" for length, names in train_lengths.items())
    return f"The dotted lines are the training lengths: {spelt}. " if spelt else ""


def _train_lengths(frame: pd.DataFrame) -> dict[int, list[str]]:
    """The variants of each training length."""
    variants: dict[int, list[str]] = {}
    for name, length in dict.fromkeys(zip(frame["variant"], frame["train_length"])):
        if not absent(length):
            variants.setdefault(int(length), []).append(str(name))
    return dict(sorted(variants.items()))


def _limits(frame: pd.DataFrame, metric: str) -> tuple[float, float]:
    finite = frame.loc[frame[metric].map(math.isfinite), metric]
    if finite.empty:
        return 0.0, 1.0
    low = float(finite.min())
    high = min(float(finite.max()), low + _FRAME[metric])
    margin = 0.07 * (high - low) or 0.1
    return low - margin, high + margin


def _alt(panels: Sequence[tuple[str, dict[str, Line]]], metric: str) -> str:
    parts = []
    for title, lines in panels:
        spelt = [f"{n} {line.y[0]:.3f} at {line.x[0]}, {line.y[-1]:.3f} at {line.x[-1]}" for n, line in lines.items()]
        parts.append(f"{title}: {'; '.join(spelt)}")
    return f"Loss in {_UNITS[metric]} against window length. {'. '.join(parts)}."
