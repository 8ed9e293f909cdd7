"""The picture of ``lmzoo bench --plot``: time and memory of attention layers against the length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from ....errors import require
from ...figures.canvas import LIGHT, Theme, draw_png, subplots
from ...storage import Record, write_atomically, write_records
from .attention import attention_costs

_NAMES = {
    "softmax": "SoftmaxAttention, rotary",
    "complex": "ComplexAttention",
    "softplus": "SoftplusAttention, p 15",
    "softplus-dense": "dense reference of SoftplusAttention",
}
_MARKERS = dict(zip(_NAMES, "osD^"))


def check_plot_file(file: str) -> Path:
    """The path of a plot that can be written.

    Raises:
        ArgumentError: it does not end in .png, or is a folder.
    """
    path = Path(file)
    require(path.suffix.lower() == ".png" and not path.is_dir(), "plot", "a file name that ends in .png", file)
    return path


def write_costs_plot(path: Path, lengths: Sequence[int], device: str, runs: int) -> Path:
    """Measure :func:`attention_costs` and draw them in ``path``; the data stand beside it as JSON Lines.

    Returns:
        The file of the data: the picture's name with the ending ``.jsonl``.
    """
    records = attention_costs(lengths, device, runs)
    data = path.with_suffix(".jsonl")
    write_records(data, records)
    write_atomically(path, draw_costs(records))
    return data


def draw_costs(records: Sequence[Record], theme: Theme = LIGHT) -> bytes:
    """A PNG: seconds on the left, growth of peak memory on the right, both against T and all axes logarithmic."""

    def draw(axes: Axes, theme: Theme) -> None:
        left, right = subplots(axes, 1, 2, share=False)
        _panel(left, theme, records, "seconds", 1e3, "time (ms)")
        _panel(right, theme, records, "bytes", 1e-6, "growth of peak memory (MB)")
        lines, names = left.get_legend_handles_labels()
        left.figure.legend(lines, names, loc="outside upper center", ncols=2, fontsize=10)
        left.figure.supxlabel(caption(records), color=theme.quiet, fontsize=8.5)

    return draw_png(draw, theme, 9.2, 4.6)


def caption(records: Sequence[Record]) -> str:
    """What was measured, how, and on what."""
    one = records[0]
    text = (
        "One layer, forward and backward, float32, batch 1, 4 heads of 64. "
        f"Time: median of {one['runs']}, the layers in turns; band: fastest to slowest.\n"
        "Memory: how far a pass raises the peak above that of a pass over 128 tokens, each in a process of its own."
    )
    if any(record["bytes"] <= 0 for record in records):
        text += " Where it does not, no point."
    dense = {record["length"] for record in records if record["attention"] == "softplus-dense"}
    if dense != {record["length"] for record in records}:
        text += f"\nThe dense reference fits into memory up to T {max(dense):,}." if dense else ""
    machine = f"{one['device']}: {one['processor']}, {one['cores']} cores, {one['threads']} of them used"
    return f"{text}\n{machine}, torch {one['torch']}."


def _panel(axes: Axes, theme: Theme, records: Sequence[Record], key: str, factor: float, label: str) -> None:
    styles = theme.styles(list(_NAMES), "softmax")
    for name, title in _NAMES.items():
        own = [record for record in records if record["attention"] == name and record[key] > 0]
        colour, stroke = styles[name]
        x, y = [record["length"] for record in own], [factor * record[key] for record in own]
        axes.plot(x, y, label=title, color=colour, linestyle=stroke, marker=_MARKERS[name], markersize=4.5)
        if key == "seconds":
            low, high = ([factor * record[bound] for record in own] for bound in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({record["length"] for record in records})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 3.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}" if y >= 1 else f"{y:.3g}"))
    axes.grid(axis="y")
    axes.set_xlabel("T (tokens)")
    axes.set_title(label)
