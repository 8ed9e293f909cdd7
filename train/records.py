"""The records of a model on whole splits, each with its passport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from .console import console, say
from .environment import commit, versions
from .training_cli import TrainingCLI

Record = dict[str, Any]

FIGURES = {"token_perplexity": 2, "word_perplexity": 2, "bits_per_byte": 4}  # shown, with their decimals


def split_record(cli: TrainingCLI, split: str) -> Record:
    """Score a whole split with the model's present weights; the record carries its passport."""
    validated = cli.log.validated
    card = passport(cli, split)
    at_end = split == "validation" and validated is not None and validated[0] == cli.trainer.global_step
    if validated is not None and at_end and validated[1]["tokens"] == card["tokens"]:
        figures = validated[1]  # training ended with this very evaluation
    else:
        # a record is of a whole split, whatever was limited during training
        cli.trainer.limit_val_batches = cli.trainer.limit_test_batches = 1.0
        run_split = cli.trainer.validate if split == "validation" else cli.trainer.test
        run_split(cli.model, cli.datamodule, verbose=False)
        figures = cli.model.perplexity.compute()
    for name in ("tokens", "words", "bytes"):
        if figures[name] != card[name]:
            raise RuntimeError(f"{figures[name]} {name} of the {split} split were scored, not its {card[name]}")
    return {
        "split": split,
        "protocol": "non_overlapping",
        "length": cli.datamodule.eval_context_length,
        "stride": None,
        **figures,
        "passport": card,
    }


def final_records(cli: TrainingCLI) -> list[Record]:
    """Validation and test records of the final weights; validation is left out where the run was told to."""
    wanted = [s for s in ("validation", "test") if s == "test" or cli.trainer.limit_val_batches != 0]
    records = []
    for split in wanted:
        if split in cli.datamodule.splits:
            records.append(split_record(cli, split))
            if split == "validation":
                cli.log.write_validation(cli.trainer, records[-1])
        else:
            say(f"this corpus has no {split} split; it is left out of the records")
    return records


def passport(cli: TrainingCLI, split: str) -> dict[str, Any]:
    """What has to stand beside a figure for it to be compared: corpus, tokenizer, model, precision, code."""
    return {**cli.datamodule.passport(split), **model_passport(cli)}


def model_passport(cli: TrainingCLI) -> dict[str, Any]:
    """The part of a passport that the text has no say in: model, precision, code."""
    counts = cli.model.counts
    return {
        "train_length": cli.datamodule.context_length,
        "dtype": str(cli.trainer.precision),
        "seed": cli.config.seed_everything,
        "parameters": counts.total,
        "embedding_parameters": counts.embedding,
        "head_parameters": counts.head,
        "versions": versions(),
        "commit": commit(),
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
            *(f"{r[k]:,.{n}f}" if r[k] is not None else "too large" for k, n in FIGURES.items()),
        )
    console.print(table)
