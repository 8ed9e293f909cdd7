"""The records of a model on whole splits, each with its passport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from torch import Tensor

from ..arguments import console, say
from ..runs import environment
from ..storage import Record
from .lightning_cli import TrainingCLI

_COUNTED = ("tokens", "words", "bytes")

# of a second scoring, whose names begin so, with the shift of the loss taken back
DEBIASED = "debiased_"

FIGURES = {"token_perplexity": 2, "word_perplexity": 2, "bits_per_byte": 4}  # shown, with their decimals


def split_record(cli: TrainingCLI, split: str, *, log_weight: Tensor | None = None) -> Record:
    """Score a whole split with the model's present weights; the record carries its passport.

    With ``log_weight`` (V) the split is scored once more with the shift of the loss taken back, and the figures of
    that stand beside the plain ones as ``debiased_nll``, ``debiased_word_perplexity`` and so on.
    """
    validated = cli.log.validated
    card = passport(cli, split)
    at_end = split == "validation" and validated is not None and validated[0] == cli.trainer.global_step
    if validated is not None and at_end and validated[1]["tokens"] == card["tokens"]:
        figures = validated[1]  # training ended with this very evaluation
    else:
        figures = _score(cli, split)
    _check(figures, card)
    debiased = {}
    if log_weight is not None:
        with cli.model.debiased(log_weight):
            debiased = _score(cli, split)
        _check(debiased, card)
    return {
        "split": split,
        "protocol": "non_overlapping",
        "length": cli.datamodule.eval_context_length,
        "stride": None,
        **figures,
        **{f"{DEBIASED}{name}": figure for name, figure in debiased.items() if name not in _COUNTED},
        "passport": card,
    }


def _score(cli: TrainingCLI, split: str) -> dict[str, Any]:
    # a record is of a whole split, whatever was limited during training
    cli.trainer.limit_val_batches = cli.trainer.limit_test_batches = 1.0
    run_split = cli.trainer.validate if split == "validation" else cli.trainer.test
    run_split(cli.model, cli.datamodule, verbose=False)
    figures: dict[str, Any] = cli.model.perplexity.compute()
    return figures


def _check(figures: dict[str, Any], card: dict[str, Any]) -> None:
    for name in _COUNTED:
        if figures[name] != card[name]:
            raise RuntimeError(f"{figures[name]} {name} of the {card['split']} split were scored, not its {card[name]}")


def final_records(cli: TrainingCLI) -> list[Record]:
    """Validation and test records of the final weights; validation is left out where the run was told to.

    After a loss that shifts what the model learns, each has its debiased figures too.
    """
    log_weight = cli.model.loss.log_weight()
    wanted = [s for s in ("validation", "test") if s == "test" or cli.trainer.limit_val_batches != 0]
    records = []
    for split in wanted:
        if split in cli.datamodule.splits:
            records.append(split_record(cli, split, log_weight=log_weight))
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
    start = cli.run.origin() if cli.config.init_from is not None else None
    length, precision = cli.datamodule.context_length, str(cli.trainer.precision)
    seed = cli.config.seed_everything
    return environment.model_passport(cli.model.counts, train_length=length, dtype=precision, seed=seed, start=start)


def show_records(records: Sequence[Record]) -> None:
    """Print the three figures of each split."""
    table = Table(title=None)
    for column in ("split", "tokens", "token perplexity", "word perplexity", "bits per byte"):
        table.add_column(column, justify="left" if column == "split" else "right", no_wrap=column == "split")
    for r in records:
        for prefix, name in (("", r["split"]), (DEBIASED, f"{r['split']}, debiased")):
            figures = [(r.get(prefix + key), digits) for key, digits in FIGURES.items()]
            if prefix and f"{prefix}nll" not in r:
                continue
            shown = (f"{value:,.{digits}f}" if value is not None else "too large" for value, digits in figures)
            table.add_row(name, f"{r['tokens']:,}", *shown)
    console.print(table)
