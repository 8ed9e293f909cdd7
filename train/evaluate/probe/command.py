"""``lmzoo probe``: what a model does with its context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....errors import nearest, require
from ...arguments import read_lengths, say
from ...figures.formats import NONE
from ...runs.evaluation_files import ORIGIN, PROBES_FILE
from ...storage import Record, write_records
from ..extrapolate.passport import model_passport, origin_of, text_passport
from ..extrapolate.stream import text_stream
from ..frame import add_subject_arguments, check_subject_arguments, parser_of, show_table
from ..interventions import add_intervention_arguments, intervention_from, slug
from ..subject import label_of, load_asked, load_text
from .plots import probe_plots
from .run import PROBES, VERSION, run_probes
from .start_probe import StartProbe

_DESCRIPTION = """Probe what a model does with its context, at lengths up to and beyond those of training.
'copy': a random segment comes again at a distance; the share of its tokens that the model continues rightly.
'passkey': a number is told once, at a depth of the text, and asked for at the end; whether the model answers it, and
whether it holds it for likelier than numbers that were not told.
'start': the loss of real text by distance to the document's start.
Every figure stands beside what chance would give and a 95 % interval. Writes probes.jsonl and plots (PNG).
Examples:
  lmzoo probe runs/tiny/seed-0 --lengths 128,256,512,1024
  lmzoo probe runs/tiny/seed-0 --lengths 512 --probe start,copy --window 128"""


def main(arguments: Sequence[str]) -> int:
    """Parse, probe, write, show."""
    parser = parser_of("probe", _DESCRIPTION)
    parser.add_argument("model", type=str, help="folder of a run or of a saved model, or a name on the hub")
    parser.add_argument("--lengths", type=str, required=True, help="in tokens, such as 256,512,1024")
    parser.add_argument("--probe", type=str, default="copy,passkey", help=f"some of {', '.join(PROBES)}")
    parser.add_argument("--samples", type=int, default=32, help="sequences a figure is of; documents at most")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    parser.add_argument("--output", type=str | None, default=None, help="folder to write; RUN/probe if not given")
    parser.add_argument("--batch_tokens", type=int, default=1 << 14, help="tokens of a batch; less needs less memory")
    add_subject_arguments(parser)
    add_intervention_arguments(parser)
    a = parser.parse_args(list(arguments))
    names = [word.strip() for word in a.probe.split(",")]
    for name in names:
        require(name in PROBES, "probe", f"some of {', '.join(PROBES)} (nearest: {nearest(name, PROBES)[0]})", name)
    check_subject_arguments(a)
    lengths = read_lengths(a.lengths)
    change = intervention_from(a)
    subject = load_asked(a, a.model, label_of(a.model), lengths)
    card = model_passport(subject.model, subject.tokenizer, train_length=subject.train_length, seed=subject.seed)
    documents: Sequence[str] | None = None
    if StartProbe.name in names:  # the others make texts of their own
        text = load_text(subject, split=a.split, source=a.source, raw=a.raw, detokenize=a.detokenize)
        stream = text_stream(subject.tokenizer, text)
        documents = text.documents
        card |= text_passport(stream, text) | {ORIGIN: origin_of(subject.weights_sha256, VERSION, text, stream)}
    else:
        card[ORIGIN] = origin_of(subject.weights_sha256, VERSION)
    records = run_probes(
        subject.model,
        subject.tokenizer,
        lengths=lengths,
        probes=names,
        documents=documents,
        samples=a.samples,
        seed=a.seed,
        intervention=change,
        batch_tokens=a.batch_tokens,
        passport=card,
    )
    home = subject.home / PROBES_FILE.parent
    folder = home.with_name(f"{home.name}{slug(change)}") if a.output is None else Path(a.output)
    folder.mkdir(parents=True, exist_ok=True)
    # plots first, the numbers last: where they are, all is there
    for plot in [] if a.no_figure else probe_plots(records, card["train_length"]):
        plot.write(folder)
    write_records(folder / PROBES_FILE.name, records)
    _show(records, "" if change is None else f" with {change.describe()}")
    say(f"written to {folder}")
    return 0


_COLUMNS = {
    "copy": ("distance", "accuracy", "chance_accuracy", "loss", "first_loss"),
    "passkey": ("depth", "accuracy", "ranked_first", "chance_ranked_first", "margin"),
    "start": ("first_index", "last_index", "documents", "tokens", "loss"),
}


def _show(records: Sequence[Record], change: str) -> None:
    for name, columns in _COLUMNS.items():
        rows = [
            (f"{record['length']:,}", *(_cell(record, column) for column in columns))
            for record in records
            if record["probe"] == name
        ]
        if rows:
            title = f"{name}{change}: {PROBES[name]}"
            show_table(title, [column.replace("_", " ") for column in ("length", *columns)], rows, left=0)


def _cell(record: Record, column: str) -> str:
    value = record[column]
    if value is None:
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    low, high = record.get(f"{column}_low"), record.get(f"{column}_high")
    return f"{value:.3g}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
