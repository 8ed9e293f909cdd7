"""Loss against window length: tables by protocol, and the figure that asks whether a longer context is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from .canvas import Plot, draw_plot, label_ends
from .formats import NONE, plain, plus_minus
from .load import absent
from .passport import TOKENIZER, WORDS
from .statistics import summarise
from .tables import TITLES, Cell, Table, TableRow, figure_digits
from .theme import Theme

# Figures that differ in one of these never share a table; those of one figure share all but the protocol's.
_TEXT = ("corpus", "split", "text_sha256", "detokenize", "train_length", "dtype")
_SCORED = ("words", "bytes", "longest", "within", "targets")
_ORDER = ("non_overlapping", "sliding", "fixed_target", "lm-eval", "fairseq")

# title of a panel and a table, and what a reader has to know
_SAYS = {
    "non_overlapping": (
        "Windows side by side",
        "Longer windows lower this loss by themselves: less lacks context",
    ),
    "sliding": ("Sliding windows", "Only the end of each window is scored, with nearly the full context"),
    "fixed_target": ("The same tokens at every length", "The loss falls with the length only where context helps"),
    "lm-eval": ("As lm-eval", "Page by page, detokenised; words and bytes are those of the original"),
    "fairseq": ("As fairseq", "Lines with their ends, which are scored like any token"),
}

# A loss further above the lowest than this leaves the frame, or what is near would lie in one line.
_FRAME = {"cross_entropy": 2.5, "bits_per_byte": 1.5}
_UNITS = {"cross_entropy": "nats per token", "bits_per_byte": "bits per byte"}


@dataclass(frozen=True)
class Scored:
    """A record of an extrapolation and whose it is."""

    variant: str
    seed: int
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The variant, with the change it was evaluated under, if any."""
        intervention = self.record.get("intervention")
        return f"{self.variant}, {intervention}" if intervention else self.variant


@dataclass(frozen=True)
class _Group:
    """What may share a table: one protocol on one text, the same tokens scored."""

    protocol: str
    text: tuple[Any, ...]
    scored: tuple[Any, ...]
    frame: pd.DataFrame

    @property
    def title(self) -> str:
        """As a heading."""
        return _SAYS[self.protocol][0]


def extrapolation_tables(scored: Sequence[Scored], variants: Sequence[str], baseline: str) -> list[Table]:
    """A table for each protocol, or more where passports differ; a column for each length and stride, mean over seeds.

    Token perplexity, or bits per byte where the rows have different tokenizers.
    """
    groups = _groups(scored)
    tables = []
    for group in groups:
        metric = "token_perplexity" if _one_tokenizer(group.frame) else "bits_per_byte"
        names = _names(group.frame, variants)
        columns = list(dict.fromkeys(zip(group.frame["length"], group.frame["stride"])))
        rows: dict[str, list[Cell]] = {name: [] for name in names}
        seeds = 0
        for length, stride in columns:
            same = group.frame[(group.frame["length"] == length) & (group.frame["stride"] == stride)]
            summary = summarise(same, metric, names)
            digits = figure_digits(metric, summary)
            lowest = min((s.mean for s in summary.values() if not math.isnan(s.mean)), default=None)
            for name in names:
                own = summary.get(name)
                seeds = max(seeds, 0 if own is None else own.n)
                rows[name].append(
                    Cell(plain(own.mean, digits), plus_minus(own, digits) if own.n > 1 else "", own.mean == lowest)
                    if own
                    else Cell(NONE)
                )
        tables.append(
            Table(
                f"{group.title}: {TITLES[metric].lower()} by window length",
                _headings(columns),
                [TableRow(name, rows[name], name == baseline) for name in names],
                _sentence(group, groups),
                ["Mean ± standard deviation over seeds." if seeds > 1 else "One seed: no spread over seeds."],
            )
        )
    return tables


def extrapolation_plots(scored: Sequence[Scored], variants: Sequence[str], baseline: str) -> list[Plot]:
    """A figure for each text and training length: a panel a protocol, a line a variant."""
    groups = _groups(scored)
    plots = []
    texts = list(dict.fromkeys(group.text for group in groups))
    for place, text in enumerate(texts, start=1):
        own = [group for group in groups if group.text == text]
        frame = pd.concat([group.frame for group in own])
        metric = "cross_entropy" if _one_tokenizer(frame) else "bits_per_byte"
        names = _names(frame, variants)
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
                + " ".join(f"{group.title}: {_lower(_SAYS[group.protocol][1])}." for group in own)
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


def _groups(scored: Sequence[Scored]) -> list[_Group]:
    rows = []
    for one in scored:
        record = one.record
        passport = record.get("passport") or {}
        row = {**passport, **{k: v for k, v in record.items() if k not in ("passport", "by_document")}}
        rows.append({**row, "variant": one.name, "seed": one.seed, "stride": record.get("stride") or 0})
    if not rows:
        return []
    columns = list(dict.fromkeys([*_TEXT, *_SCORED, TOKENIZER, *(key for row in rows for key in row)]))
    frame = pd.DataFrame(rows, dtype=object).reindex(columns=columns)
    for metric in ("cross_entropy", *TITLES):
        frame[metric] = frame[metric].astype("float64")
    keys = [
        tuple(tuple(None if absent(row[k]) else row[k] for k in fields) for fields in (("protocol",), _TEXT, _SCORED))
        for row in frame.to_dict("records")
    ]
    groups = []
    for key in sorted(dict.fromkeys(keys), key=lambda key: _ORDER.index(key[0][0])):
        same = frame[[other == key for other in keys]].sort_values(["length", "stride"], kind="stable")
        # evaluated again, as after an upgrade: the newest counts
        same = same.drop_duplicates(["variant", "seed", "length", "stride"], keep="last")
        groups.append(_Group(str(key[0][0]), key[1], key[2], same))
    return groups


def _one_tokenizer(frame: pd.DataFrame) -> bool:
    return frame[TOKENIZER].nunique() == 1


def _names(frame: pd.DataFrame, variants: Sequence[str]) -> list[str]:
    """The variants in their order, each followed by itself under interventions."""
    present = [str(name) for name in dict.fromkeys(frame["variant"])]
    order = {name: i for i, name in enumerate(variants)}
    return sorted(present, key=lambda name: order.get(name, order.get(name.split(", ")[0], len(order))))


def _headings(columns: Sequence[tuple[int, int]]) -> list[str]:
    """Lengths; with the stride only where one length has several."""
    lengths = [length for length, _ in columns]
    return [f"{n:,}" + (f" (stride {stride:,})" if lengths.count(n) > 1 else "") for n, stride in columns]


def _strides(frame: pd.DataFrame) -> str:
    found = sorted({int(stride) for stride in frame["stride"] if stride})
    if not found:
        return ""
    return f", stride {found[0]:,}" if len(found) == 1 else f", strides {found[0]:,} to {found[-1]:,} by length"


def _sentence(group: _Group, groups: Sequence[_Group]) -> str:
    first = group.frame.iloc[0]
    of = "" if absent(first.get("eligible")) or first["eligible"] == first["tokens"] else f" of {first['eligible']:,}"
    tokens = f"{first['tokens']:,}{of} tokens" if _one_tokenizer(group.frame) else "the text"
    what = f"{_SAYS[group.protocol][1]}{_strides(group.frame)}. "
    what += f"Scored: {tokens}, {first['words']:,} words, {first['bytes']:,} bytes of {first['corpus']}"
    what += "." if absent(first["train_length"]) else f"; trained at {first['train_length']:,} tokens."
    alike = [other for other in groups if other.protocol == group.protocol]
    fields = [
        name
        for i, name in enumerate((*_TEXT, *_SCORED))
        if len({(*other.text, *other.scored)[i] for other in alike}) > 1
    ]
    if fields:
        what += " Not in one table with the others of this protocol because these differ: "
        what += ", ".join(f"{WORDS.get(name, name)} ({_short(group, name)} here)" for name in fields) + "."
    return what


def _short(group: _Group, name: str) -> str:
    value = (*group.text, *group.scored)[(*_TEXT, *_SCORED).index(name)]
    return NONE if value is None else str(value)[:12]


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _marks(frame: pd.DataFrame) -> str:
    length = frame["train_length"].iloc[0]
    return "" if absent(length) else f"The dotted line is the training length, {int(length):,}. "


def _limits(frame: pd.DataFrame, metric: str) -> tuple[float, float]:
    finite = frame.loc[frame[metric].map(math.isfinite), metric]
    if finite.empty:
        return 0.0, 1.0
    low = float(finite.min())
    high = min(float(finite.max()), low + _FRAME[metric])
    margin = 0.07 * (high - low) or 0.1
    return low - margin, high + margin


def _draw(axes: Axes, theme: Theme, groups: Sequence[_Group], names: Sequence[str], baseline: str, metric: str) -> None:
    figure = axes.figure
    axes.remove()
    panels = figure.subplots(len(groups), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    whole = pd.concat([group.frame for group in groups])
    lengths = sorted({int(n) for n in whole["length"]})
    styles = theme.styles(names, baseline if baseline in names else names[0])
    train_length = whole["train_length"].iloc[0]
    ends: list[dict[str, tuple[float, float, str]]] = []
    for panel, group in zip(panels, groups, strict=True):
        ends.append({})
        for name in names:
            own = group.frame[group.frame["variant"] == name]
            if own.empty:
                continue
            colour, stroke = styles[name]
            mean = own.groupby("length")[metric].mean()
            if own["seed"].nunique() > 1:
                panel.scatter(own["length"].astype(float), own[metric], s=9, color=colour, alpha=0.5, linewidths=0)
            places = mean.index.astype(float)
            panel.plot(places, mean, color=colour, linestyle=stroke, linewidth=1.8, marker="o", markersize=3.5)
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
    if not absent(train_length) and lengths[0] / 1.1 <= train_length <= lengths[-1] * 1.1:
        for panel in panels:
            panel.axvline(train_length, color=theme.quiet, linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
    figure.canvas.draw()  # settles the layout, from which the labels' distances are taken
    for panel, end in zip(panels, ends, strict=True):
        label_ends(panel, end)


def _alt(groups: Sequence[_Group], names: Sequence[str], metric: str) -> str:
    parts = []
    for group in groups:
        means = group.frame.groupby(["variant", "length"])[metric].mean()
        ends = [(name, means[name]) for name in names if name in means.index]
        spelt = [f"{name} {m.iloc[0]:.3f} at {m.index[0]}, {m.iloc[-1]:.3f} at {m.index[-1]}" for name, m in ends]
        parts.append(f"{group.title}: {'; '.join(spelt)}")
    return f"Loss in {_UNITS[metric]} against window length. {'. '.join(parts)}."
