"""Carrying out a run: train, evaluate, export, write the records."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from rich.table import Table
from safetensors.torch import load_model

from ..errors import ArgumentError
from ..models import LMZooForCausalLM
from .config import ConfigError
from .console import console, say
from .environment import commit, peak_memory_mb, versions
from .export import export_model
from .fit import TrainingCLI
from .guard import TrainingStopped

Record = dict[str, Any]


def fit(arguments: Sequence[str]) -> int:
    """``lmzoo fit``: returns 0 when the run is finished, 1 when it stopped."""
    cli = TrainingCLI("fit", arguments)
    run, model, data = cli.run, cli.model, cli.datamodule
    config = cli.resolved()
    checkpoint = run.begin(config)
    if run.finished:
        say(f"{run.folder} is finished already; its records:")
        show_records(run.results()["records"])
        return 0
    counts = model.counts
    say(f"{counts.total:,} parameters (embedding {counts.embedding:,}, head {counts.head:,}); run folder {run.folder}")
    if checkpoint:
        say(f"resuming from {checkpoint.name}")
    if cli.default_loggers:
        cli.trainer.loggers = cli.loggers()
    try:
        cli.trainer.fit(model, data, ckpt_path=checkpoint)
        if cli.trainer.interrupted:
            raise KeyboardInterrupt
        records = final_records(cli)
        if cli.trainer.is_global_zero:
            export_model(model.network, data.tokenizer, run.folder, context_length=data.context_length)
    except TrainingStopped as stop:
        run.fail(stop.reason, step=stop.step, layer=stop.layer)
        console.print(f"[bold red]{stop}[/bold red]")
        return 1
    except ArgumentError as error:  # such as a batch size that the text is too short for
        raise cli.explain(error) from None
    except Exception as error:
        run.fail(f"{type(error).__name__}: {error}")
        raise
    if cli.trainer.is_global_zero:
        run.finish(results(cli, records))
        show_records(records)
        say(f"written to {run.folder}")
    return 0


def evaluate(split_command: str, arguments: Sequence[str]) -> int:
    """``lmzoo validate`` and ``lmzoo test``: the record of one split, shown and added to ``evaluations.jsonl``."""
    cli = TrainingCLI(split_command, arguments)
    cli.model.configure_model()
    load_weights(cli)
    split = "validation" if split_command == "validate" else "test"
    record = split_record(cli, split)
    if cli.trainer.is_global_zero:
        with (cli.run.folder / "evaluations.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        show_records([record])
    return 0


def load_weights(cli: TrainingCLI) -> None:
    """The exported weights of a finished run, else those of its newest checkpoint."""
    exported = cli.run.folder / "model.safetensors"
    if exported.is_file():
        load_model(LMZooForCausalLM.from_decoder(cli.model.network), exported)
        return
    newest = cli.run.newest_checkpoint()
    if newest is None:
        raise ConfigError(f"{cli.run.folder} holds neither model.safetensors nor a checkpoint", key="run_dir")
    console.print(f"the run is not finished; evaluating its checkpoint {newest.name}")
    cli.model.load_state_dict(torch.load(newest, map_location="cpu", weights_only=True)["state_dict"])


def split_record(cli: TrainingCLI, split: str) -> Record:
    """Score one split with the model's present weights; the record carries its passport."""
    validated = cli.log.validated
    if split == "validation" and validated and validated[0] == cli.trainer.global_step:
        figures = validated[1]  # training ended with this very evaluation
    else:
        run_split = cli.trainer.validate if split == "validation" else cli.trainer.test
        run_split(cli.model, cli.datamodule, verbose=False)
        figures = cli.model.perplexity.compute()
    return {
        "split": split,
        "protocol": "non_overlapping",
        "length": cli.datamodule.eval_context_length,
        "stride": None,
        **figures,
        "passport": passport(cli, split),
    }


def final_records(cli: TrainingCLI) -> list[Record]:
    """Validation and test records of the final weights."""
    records = []
    for split in ("validation", "test"):
        if split in cli.datamodule.splits:
            records.append(split_record(cli, split))
            if split == "validation":
                cli.log.write_validation(cli.trainer, records[-1])
        else:
            console.print(f"this corpus has no {split} split; it is left out of the records")
    return records


def passport(cli: TrainingCLI, split: str) -> dict[str, Any]:
    """What has to stand beside a figure for it to be compared: corpus, tokenizer, model, precision, code."""
    counts = cli.model.counts
    return {
        **cli.datamodule.passport(split),
        "train_length": cli.datamodule.context_length,
        "dtype": str(cli.trainer.precision),
        "seed": cli.config.seed_everything,
        "parameters": counts.total,
        "embedding_parameters": counts.embedding,
        "head_parameters": counts.head,
        "versions": versions(),
        "commit": commit(),
    }


def results(cli: TrainingCLI, records: list[Record]) -> dict[str, Any]:
    """The content of ``results.json``."""
    counts, log = cli.model.counts, cli.log
    memory, memory_kind = peak_memory_mb()
    return {
        "finished": True,
        "steps": cli.trainer.global_step,
        "train_tokens": log.tokens,
        "seconds": log.seconds,
        "tokens_per_second": statistics.median(log.rates) if log.rates else None,
        "peak_memory_mb": memory,
        "peak_memory_is": memory_kind,
        "parameters": counts.as_dict(),
        "flops_per_token": counts.training_flops_per_token(cli.datamodule.context_length),
        "records": records,
    }


def show_records(records: Sequence[Record]) -> None:
    """Print the three figures of each split."""
    table = Table(title=None)
    for column in ("split", "tokens", "token perplexity", "word perplexity", "bits per byte"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for r in records:
        table.add_row(
            r["split"],
            f"{r['tokens']:,}",
            f"{r['token_perplexity']:.2f}",
            f"{r['word_perplexity']:.2f}",
            f"{r['bits_per_byte']:.4f}",
        )
    console.print(table)
