"""``lmzoo diagnose``: what the attention layers of a run have learned, as plots and numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import ArgumentError, ConfigError, nearest, require
from ....layers import Attention, ComplexAttention
from ....models import Decoder
from ...arguments import read_lengths, say
from ...data.corpus import SPLITS
from ...figures.canvas import Plot
from ...runs.evaluation_files import ORIGIN
from ...storage import finite, write_atomically
from ..frame import parser_of, progress_bar
from ..loaded_run import SampledWindows, load_run, take_windows
from .plots import attention_plots, phase_plots, threshold_plots
from .record import histograms, phase_records, threshold_record, weights_record
from .weights import Reading, has_threshold, read_weights

VERSION = 1
"""Of the figures: raised by hand when the code gives others."""

TOPICS = ("phases", "attention", "threshold")

_NEEDS = {
    "phases": "a ComplexAttention layer, which learns delta and bias",
    "attention": "an attention layer",
    "threshold": "a SoftplusAttention layer with a power, which has a threshold",
}

_DESCRIPTION = """Look into the attention layers of a run: its exported weights, or its newest checkpoint if it is not
finished, on windows of its own text. Writes plots (PNG) and every number behind them (diagnose.json).
'phases': delta and bias of each ComplexAttention layer by head and channel, and their histograms.
'attention': how widely each layer spreads its weights, by window length and by row: the entropy in nats, beside log i,
the entropy of row i if it weighed its i keys equally; for layers whose weights do not sum to 1 (sigmoid, ReLU), their
sum.
'threshold': the share of the visible keys that survive the threshold of each SoftplusAttention layer.
Example:
  lmzoo diagnose runs/tiny/seed-0 --lengths 128,512,2048"""


def main(arguments: list[str]) -> int:
    """Parse, measure, write, say where."""
    parser = parser_of("diagnose", _DESCRIPTION)
    parser.add_function_arguments(
        diagnose, as_positional=True, as_group=False, skip={"allow_classes", "lengths", "show"}
    )
    parser.add_argument(
        "--lengths", type=str | None, default=None, help="window lengths, such as 256,512,1024; 1, 2 and 4 contexts"
    )
    parser.add_argument(
        "--show", type=str | None, default=None, help=f"some of {','.join(TOPICS)}; all that the run has layers for"
    )
    a = parser.parse_args(arguments)
    lengths = None if a.lengths is None else read_lengths(a.lengths)
    show = None if a.show is None else [word.strip() for word in a.show.split(",")]
    folder = diagnose(**{**a.as_dict(), "lengths": lengths, "show": show})
    say(f"written to {folder}")
    return 0


def diagnose(
    run: str | Path,
    *,
    output: str | Path | None = None,
    lengths: Sequence[int] | None = None,
    split: str = "validation",
    windows: int = 4,
    rows: int = 128,
    show: Sequence[str] | None = None,
    allow_classes: bool = False,
) -> Path:
    """Write the plots and ``diagnose.json`` of a run's attention layers; returns their folder.

    Everything is measured on the CPU in float32, whatever the run was trained in, and summed in float64.

    Args:
        run: folder of a run, finished or not
        output: folder to write; RUN/diagnose if not given
        lengths: of windows, in tokens; 1, 2 and 4 training contexts if not given
        split: text to read: train, validation or test
        windows: windows of each length, spread over the split
        rows: rows of a window to read, spread evenly; fewer is faster
        show: some of :data:`TOPICS`; all that the run has layers for if not given
        allow_classes: the run may name parts from outside lmzoo, which are imported

    Raises:
        ConfigError: ``run`` holds no run, the text is shorter than a window, or a layer asked for is not there.
        ArgumentError: a number or a name is out of range.
    """
    require(windows >= 1, "windows", "1 or more", windows)
    require(rows >= 1, "rows", "1 or more", rows)
    require(split in SPLITS, "split", " or ".join(SPLITS), split)
    for topic in show or ():
        require(topic in TOPICS, "show", f"some of {', '.join(TOPICS)} (nearest: {nearest(topic, TOPICS)[0]})", topic)
    require(lengths is None or min(lengths, default=0) >= 1, "lengths", "numbers of at least 1", lengths)
    loaded = load_run(run, allow_classes=allow_classes)
    network = loaded.network
    topics = _topics(network, show)
    train_length = int(loaded.data.context_length)
    record: dict[str, Any] = {"run": str(run), "weights": loaded.weights, "train_length": train_length}
    plots: list[Plot] = []
    readings: list[Reading] = []
    if "phases" in topics:
        phases = phase_records(network)
        counts = {name: histograms(phases, name) for name in ("delta", "bias")}
        record |= {"phases": phases, "phase_histograms": counts}
        plots += phase_plots(phases, counts)
    if {"attention", "threshold"} & topics:
        lengths = sorted(set(lengths or (train_length, 2 * train_length, 4 * train_length)))
        taken = take_windows(loaded.data, split, lengths, windows)
        readings = _read(network, taken, lengths, rows)
        record |= {"lengths": lengths, "window_starts": taken.starts, "passport": loaded.passport(split)}
    if "attention" in topics:
        record["attention"] = [weights_record(reading) for reading in readings]
        plots += attention_plots(record["attention"], train_length)
    if "threshold" in topics:
        surviving = [reading for reading in readings if reading.surviving is not None]
        blocks: Any = network.blocks
        record["threshold"] = [threshold_record(r, blocks[r.layer].attention) for r in surviving]
        plots += threshold_plots(record["threshold"], train_length)
    record[ORIGIN] = loaded.origin(VERSION, [split] if readings else [])
    folder = Path(run) / "diagnose" if output is None else Path(output)
    _write(folder, record, plots)
    return folder


def _topics(network: Decoder, show: Sequence[str] | None) -> set[str]:
    """What to show; without ``show`` all that the network has layers for.

    Raises:
        ConfigError: what was asked for has no layer in the network.
    """
    layers = [block.attention for block in network.blocks]
    found = {
        "phases": any(isinstance(layer, ComplexAttention) for layer in layers),
        "attention": any(isinstance(layer, Attention) for layer in layers),
        "threshold": any(has_threshold(layer) for layer in layers if isinstance(layer, Attention)),
    }
    for topic in show or ():
        if not found[topic]:
            kinds = ", ".join(sorted({type(layer).__name__ for layer in layers}))
            raise ConfigError(f"{topic} needs {_NEEDS[topic]}; this run has {kinds}", key="show")
    topics = set(show) if show else {topic for topic in TOPICS if found[topic]}
    if not topics:
        raise ConfigError("this run has no attention layer, so there is nothing to show", key="run")
    return topics


def _read(network: Decoder, taken: SampledWindows, lengths: list[int], rows: int) -> list[Reading]:
    readings: list[Reading] = []
    with progress_bar("reading attention", len(lengths)) as advance:
        for length in lengths:
            try:
                readings += read_weights(network, taken.input_ids[:, :length], rows)
            except ArgumentError as error:  # such as a position that ends at the training length
                raise ConfigError(f"windows of {length} tokens: {error}", key="lengths") from error
            advance(1)
    return readings


def _write(folder: Path, record: dict[str, Any], plots: Sequence[Plot]) -> None:
    """Plots first, the numbers last: where they are, all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        plot.write(folder)
    record["plots"] = [{"file": p.file, "title": p.title, "caption": p.caption, "alt": p.alt} for p in plots]
    write_atomically(folder / "diagnose.json", json.dumps(finite(record), indent=1, allow_nan=False) + "\n")
