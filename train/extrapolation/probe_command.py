"""``lmzoo probe``: what a model does with its context."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.table import Table
from transformers import PreTrainedTokenizerBase

from ...errors import nearest, require
from ...models import Decoder, LMZooForCausalLM, count_built
from ...tokenization import tokenizer_sha256
from ..arguments import check_device, read_lengths
from ..config import ConfigError, finite, write_atomically
from ..console import console, say
from ..data.corpus import SPLITS, Corpus
from ..data.facts import TextHash
from ..data.sources import load_source
from ..data.tokenizer_cache import load_tokenizer
from ..diagnose_run import open_run
from ..environment import commit, versions
from ..pretrained import load_pretrained
from ..report.canvas import Plot
from .interventions import add_intervention_arguments, intervention_from
from .position_changes import train_length_of
from .probe import Record
from .probe_plots import probe_plots
from .probes import PROBES, run_probes
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
    parser = ArgumentParser(prog="lmzoo probe", description=_DESCRIPTION)
    parser.add_argument("model", type=str, help="folder of a run, finished or not, or of a Hugging Face causal model")
    parser.add_argument("--lengths", type=str, required=True, help="in tokens, such as 256,512,1024")
    parser.add_argument("--probe", type=str, default="copy,passkey", help=f"some of {', '.join(PROBES)}")
    parser.add_argument("--samples", type=int, default=32, help="sequences a figure is of; documents at most")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    parser.add_argument("--source", type=str | None, default=None, help="text of 'start'; the run's own if not given")
    parser.add_argument("--split", type=str, default="test", help="its split: train, validation or test")
    parser.add_argument("--output", type=str | None, default=None, help="folder to write; MODEL/probe if not given")
    parser.add_argument("--batch_tokens", type=int, default=1 << 14, help="tokens of a batch; less needs less memory")
    parser.add_argument(
        "--device", type=str, default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    add_intervention_arguments(parser)
    a = parser.parse_args(list(arguments))
    names = [word.strip() for word in a.probe.split(",")]
    for name in names:
        require(name in PROBES, "probe", f"some of {', '.join(PROBES)} (nearest: {nearest(name, PROBES)[0]})", name)
    require(a.split in SPLITS, "split", " or ".join(SPLITS), a.split)
    lengths = read_lengths(a.lengths)
    check_device(a.device)
    change = intervention_from(a)
    model, tokenizer, corpus, known = _open(a.model, allow_classes=a.allow_classes)
    if a.source is not None:
        corpus = load_source(a.source)
    card = {**_passport(model, tokenizer), **known}
    documents: list[str] | None = None
    if StartProbe.name in names:
        if corpus is None:
            raise ConfigError("give the text of the start probe: --source wikitext-2", key="source")
        documents = list(corpus.documents(a.split))
        card |= {"corpus": corpus.name, "split": a.split, "text_sha256": _sha256(documents)}
    records = run_probes(
        model.to(a.device),
        tokenizer,
        lengths=lengths,
        probes=names,
        documents=documents,
        samples=a.samples,
        seed=a.seed,
        intervention=change,
        batch_tokens=a.batch_tokens,
        passport=card,
    )
    slug = "" if change is None else "-" + re.sub(r"[^A-Za-z0-9.]+", "-", change.describe())
    folder = Path(a.model) / f"probe{slug}" if a.output is None else Path(a.output)
    _write(folder, records, probe_plots(records, card["train_length"]))
    _show(records, "" if change is None else f" with {change.describe()}")
    say(f"written to {folder}")
    return 0


def _open(place: str, *, allow_classes: bool) -> tuple[Any, PreTrainedTokenizerBase, Corpus | None, Record]:
    """Model, tokenizer, the text of a run, and what a run knows of its training."""
    if (Path(place) / "checkpoints").is_dir() or (Path(place) / "metrics.jsonl").is_file():
        cli, _ = open_run(place, allow_classes=allow_classes)
        data = cli.datamodule
        known = {"train_length": int(data.context_length), "train_seed": cli.config.seed_everything}
        model = LMZooForCausalLM.from_decoder(cli.model.network, train_length=data.context_length).eval()
        return model, data.tokenizer, load_source(data.source, raw=data.raw, detokenize=data.detokenize), known
    return load_pretrained(place), load_tokenizer(place), None, {}


def _passport(model: Any, tokenizer: PreTrainedTokenizerBase) -> Record:
    decoder = model.decoder if isinstance(model, LMZooForCausalLM) else model
    counts = count_built(decoder) if isinstance(decoder, Decoder) else None
    return {
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "train_length": train_length_of(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in model.parameters()) if counts is None else counts.total,
        "embedding_parameters": None if counts is None else counts.embedding,
        "head_parameters": None if counts is None else counts.head,
        "versions": versions(),
        "commit": commit(),
    }


def _sha256(documents: Sequence[str]) -> str:
    text = TextHash()
    for document in documents:
        text.add(document.encode("utf-8"))
    return text.hexdigest()


def _write(folder: Path, records: Sequence[Record], plots: Sequence[Plot]) -> None:
    """Plots first, the numbers last: where they are, all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        temporary = folder / f".{plot.file}.{os.getpid()}.tmp"
        temporary.write_bytes(plot.light)
        temporary.replace(folder / plot.file)
    lines = [json.dumps(finite(record), allow_nan=False) for record in records]
    write_atomically(folder / "probes.jsonl", "".join(f"{line}\n" for line in lines))


_COLUMNS = {
    "copy": ("distance", "accuracy", "chance_accuracy", "loss", "first_loss"),
    "passkey": ("depth", "accuracy", "ranked_first", "chance_ranked_first", "margin"),
    "start": ("first_index", "last_index", "documents", "tokens", "loss"),
}


def _show(records: Sequence[Record], change: str) -> None:
    for name, columns in _COLUMNS.items():
        own = [record for record in records if record["probe"] == name]
        if not own:
            continue
        table = Table(title=f"{name}{change}: {PROBES[name]}", title_justify="left")
        for column in ("length", *columns):
            table.add_column(column.replace("_", " "), justify="right")
        for record in own:
            table.add_row(f"{record['length']:,}", *(_cell(record, column) for column in columns))
        console.print(table)


def _cell(record: Record, column: str) -> str:
    value = record[column]
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    low, high = record.get(f"{column}_low"), record.get(f"{column}_high")
    return f"{value:.3g}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
