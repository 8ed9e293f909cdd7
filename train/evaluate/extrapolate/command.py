"""``lmzoo extrapolate``: perplexity beyond the training length, as a table, a figure and records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....errors import ConfigError, require
from ...arguments import read_lengths, say
from ...figures.formats import NONE, amount, duration, perplexity_digits, plain
from ...runs.evaluation_files import unchanged
from ...storage import Record, write_records
from ..frame import add_subject_arguments, check_subject_arguments, parser_of, show_table
from ..interventions import add_intervention_arguments, intervention_from, slug
from ..subject import label_of, load_asked, load_text
from .conventions import CONVENTIONS
from .evaluate import DEFAULT_TARGETS, extrapolate
from .plots import extrapolation_plots
from .protocols import PROTOCOLS
from .tables import Scored, extrapolation_tables

_DESCRIPTION = """Score models on windows longer than those of training, in three protocols:
non_overlapping: windows side by side; longer ones lower the loss by themselves, since fewer tokens have little context.
sliding: windows overlap and only the last 'stride' tokens of each are scored, all with nearly the full context.
fixed_target: one fixed set of tokens at every length: does a longer context help? This is the honest test.
Documents follow each other with a separator before each, which is context and never scored. Every record says which
corpus, how many tokens, words and bytes it is of, with a 95 % interval from resampling documents. Records are added to
extrapolation.jsonl as they are made; the same command again makes only what is missing. A model may be changed for the
time of its evaluation, as by --window 256; such records are kept apart, and drawn beside those of the model as it is.
Examples:
  lmzoo extrapolate runs/tiny/seed-0 --lengths 128,256,512,1024,2048
  lmzoo extrapolate runs/attention/*/seed-0 --lengths 256,512,1024 --protocol sliding --stride 64
  lmzoo extrapolate runs/tiny/seed-0 --lengths 128,256,512,1024 --rotary_extension yarn:4
  lmzoo extrapolate gpt2 --lengths 1024 --as lm-eval --source wikitext-2 --raw"""


def main(arguments: Sequence[str]) -> int:
    """Parse, score every model, show."""
    parser = parser_of("extrapolate", _DESCRIPTION)
    parser.add_argument("models", type=str, nargs="+", help="folders of runs or of saved models, or names on the hub")
    parser.add_argument("--lengths", type=str, required=True, help="window lengths in tokens, such as 256,512,1024")
    parser.add_argument("--protocol", type=str, default="all", help=f"all, {', '.join(PROTOCOLS)}")
    parser.add_argument("--stride", type=int | None, default=None, help="tokens scored in each overlapping window")
    parser.add_argument(
        "--targets", type=int, default=DEFAULT_TARGETS, help="tokens that fixed_target scores, about; 0 is all"
    )
    parser.add_argument(
        "--within", type=str, default="text", help="text or document: where fixed_target's context has to lie"
    )
    parser.add_argument(
        "--as",
        dest="convention",
        type=str | None,
        default=None,
        help=f"{' or '.join(CONVENTIONS)}: a published convention for WikiText instead of a protocol. lm-eval: page by "
        "page, detokenised, words and bytes of the original. fairseq: lines with their ends scored, blocks of --stride "
        "tokens after the rest of the length as context window",
    )
    parser.add_argument("--output", type=str | None, default=None, help="folder of records and figure")
    parser.add_argument("--batch_tokens", type=int | None, default=None, help="tokens read at once; by device if unset")
    add_subject_arguments(parser)
    add_intervention_arguments(parser)
    a = parser.parse_args(list(arguments))
    check_subject_arguments(a)
    require(a.targets >= 0, "targets", "0 (all) or more", a.targets)
    require(a.convention in (None, *CONVENTIONS), "as", " or ".join(CONVENTIONS), a.convention)
    lengths = read_lengths(a.lengths)
    protocol = a.convention or a.protocol
    change = intervention_from(a)
    scored: list[Scored] = []
    for place, label in zip(a.models, _labels(a.models)):
        subject = load_asked(a, place, label, lengths)
        text = load_text(subject, protocol, split=a.split, source=a.source, raw=a.raw, detokenize=a.detokenize)
        file = subject.records_file(a.output)
        say(f"{label}: {text.corpus}, {text.more['split']} split; records in {file}")
        records = extrapolate(
            subject.model,
            subject.tokenizer,
            text,
            lengths=lengths,
            protocol=protocol,
            stride=a.stride,
            targets=a.targets or None,
            within=a.within,
            intervention=change,
            train_length=subject.train_length,
            seed=subject.seed,
            weights_sha256=subject.weights_sha256,
            batch_tokens=a.batch_tokens,
            output=file,
            on_record=_tell,
        )
        _show_one(label if change is None else f"{label}, {change.describe()}", records)
        # a change is looked at beside the model without it, where that was scored
        before = [] if change is None else unchanged(file, records)
        scored += [Scored(label, 0, record) for record in (*before, *records)]
    if len(a.models) > 1:
        _show_all(scored)
    if not a.no_figure:
        alone = file.parent if len(a.models) == 1 else Path("runs") / "extrapolation"
        _write(Path(a.output) if a.output else alone, scored, slug(change))
    return 0


def _tell(record: Record, is_new: bool) -> None:
    what = f"{record['protocol']} {record['length']:,}"
    if not is_new:
        say(f"  {what}: known already")
        return
    rate = record["input_tokens"] / max(record["seconds"], 1e-9)
    say(f"  {what}: {record['tokens']:,} tokens scored in {duration(record['seconds'])} ({rate:,.0f} tokens/s read)")


def _show_one(label: str, records: Sequence[Record]) -> None:
    figures = ("nats per token", "95 %", "token ppl", "word ppl", "bits per byte")
    columns = ("protocol", "length", "stride", "tokens", *figures)
    show_table(f"{label}: intervals from resampling documents", columns, map(_row, records), narrow=True)
    if any(r["documents"] < 2 for r in records):
        say("one document: nothing to resample, so no interval")


def _row(record: Record) -> list[str]:
    r = {key: math.nan if value is None and key != "stride" else value for key, value in record.items()}
    interval = (plain(r[f"cross_entropy_{end}"], 3) for end in ("low", "high"))
    return [
        str(r["protocol"]),
        f"{r['length']:,}",
        NONE if r["stride"] is None else f"{r['stride']:,}",
        f"{r['tokens']:,}",
        plain(r["cross_entropy"], 3),
        NONE if r["documents"] < 2 else "–".join(interval),
        plain(r["token_perplexity"], perplexity_digits(r["token_perplexity"])),
        _large(r["word_perplexity"]),
        plain(r["bits_per_byte"], 4),
    ]


def _large(perplexity: float) -> str:
    """A word perplexity, which of a small model may have many digits."""
    return plain(perplexity, perplexity_digits(perplexity)) if perplexity < 1e5 else amount(perplexity)


def _show_all(scored: Sequence[Scored]) -> None:
    variants = list(dict.fromkeys(one.variant for one in scored))
    for content in extrapolation_tables(scored, variants, variants[0]):
        rows = [(row.variant, *map(str, row.cells)) for row in content.rows]
        show_table(content.title, ("model", *content.columns), rows)
        say(f"{content.sentence}\n")


def _write(folder: Path, scored: Sequence[Scored], change: str) -> None:
    """The figures, and beside them the records that they were drawn from."""
    variants = list(dict.fromkeys(one.variant for one in scored))
    folder.mkdir(parents=True, exist_ok=True)
    for plot in extrapolation_plots(scored, variants, variants[0]):
        own = replace(plot, file=plot.file.replace("extrapolation", f"extrapolation{change}", 1))
        own.write(folder)
        say(f"figure: {folder / own.file}")
    if len(variants) > 1:
        records = ({"model": one.variant, **one.record} for one in scored)
        write_records(folder / f"extrapolation-records{change}.jsonl", records)


def _labels(places: Sequence[str]) -> list[str]:
    labels = [label_of(place) for place in places]
    if len(set(places)) < len(places):
        raise ConfigError("expected different models, got one twice", key="models")
    return labels if len(set(labels)) == len(labels) else list(places)
