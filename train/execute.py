"""Carrying out a run: train, evaluate, export, write the records."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from rich.table import Table
from safetensors.torch import load_model

from ..errors import ArgumentError
from ..models import LMZooForCausalLM
from ..tokenization import tokenizer_sha256
from .checkpoint import RunInterrupted
from .config import ConfigError, differing_keys, finite, load_yaml
from .console import console, say
from .data.tokenizer_cache import load_tokenizer
from .environment import MemoryMeter, commit, versions
from .export import export_model
from .fit import TrainingCLI
from .guard import TrainingStopped

Record = dict[str, Any]

FIGURES = {"token_perplexity": 2, "word_perplexity": 2, "bits_per_byte": 4}  # shown, with their decimals


def fit(arguments: Sequence[str]) -> int:
    """``lmzoo fit``: returns 0 when the run is finished, 1 when it stopped, 130 when it was interrupted."""
    cli = TrainingCLI("fit", arguments)
    with cli.run.held() if cli.trainer.global_rank == 0 else contextlib.nullcontext():
        return _fit(cli)


def _fit(cli: TrainingCLI) -> int:
    run, model, data = cli.run, cli.model, cli.datamodule
    checkpoint = run.begin(cli.resolved())
    if run.finished:
        say(f"{run.folder} is finished already; its records:")
        show_records(run.results()["records"])
        return 0
    counts = model.counts
    say(f"{counts.total:,} parameters (embedding {counts.embedding:,}, head {counts.head:,}); run folder {run.folder}")
    try:
        memory = prepare(cli)
        if checkpoint:
            say(f"resuming from {checkpoint.name}")
        with cli.checkpoint.stopping_on_signals():
            cli.trainer.fit(model, data, ckpt_path=checkpoint)
        if cli.trainer.fast_dev_run:
            say("fast_dev_run: it runs; nothing is recorded")
            return 0
        if cli.trainer.global_step < model.total_steps() and not stopped_early(cli):
            reason = f"the run ended at step {cli.trainer.global_step} of {model.total_steps()} (max_time?)"
            run.fail(reason, step=cli.trainer.global_step)
            say(f"{reason}; it is not finished, and goes on when the same command is run again")
            return 1
        peak = memory.peak_mb()
        records = final_records(cli)
        if cli.trainer.is_global_zero:
            export_model(model.network, data.tokenizer, run.folder, context_length=data.context_length)
    except TrainingStopped as stop:
        run.fail(stop.reason, step=stop.step, layer=stop.layer)
        console.print(f"[bold red]{stop}[/bold red]")
        return 1
    except (RunInterrupted, SystemExit):  # Lightning leaves by the latter at a second Ctrl-C
        say("interrupted; run the same command again to go on")
        return 130
    except ArgumentError as error:  # such as a batch size that the text is too short for
        raise cli.explain(error) from None
    except ConfigError:
        raise
    except Exception as error:
        run.fail(f"{type(error).__name__}: {error}")
        raise
    if cli.trainer.is_global_zero:
        run.finish(results(cli, records, peak, memory.kind))
        show_records(records)
        say(f"written to {run.folder}")
    return 0


def prepare(cli: TrainingCLI) -> MemoryMeter:
    """Everything between a checked configuration and training: the text, the loggers, the meter."""
    data, trainer = cli.datamodule, cli.trainer
    data.trainer = trainer  # for the number of processes; Lightning does the same when training starts
    for split in ("train", "validation"):
        if split == "train" or trainer.limit_val_batches != 0:
            data.prepared(split)
    batches = data.run_batches()
    if isinstance(trainer.val_check_interval, int) and trainer.val_check_interval > batches:
        trainer.val_check_interval = batches  # a run shorter than the interval is validated at its end
    steps = -(-batches // trainer.accumulate_grad_batches)
    if cli.model.warmup_steps >= steps:
        say(f"note: warm-up takes {cli.model.warmup_steps} steps and the run {steps}: the learning rate never peaks")
    if cli.default_loggers:
        trainer.loggers = cli.loggers()
    return MemoryMeter(trainer.strategy.root_device)


def stopped_early(cli: TrainingCLI) -> bool:
    """Whether an EarlyStopping callback ended the run, which is an end like any other."""
    return any(isinstance(c, EarlyStopping) and c.stopped_epoch for c in cli.trainer.callbacks) or (
        cli.trainer.should_stop and any(isinstance(c, EarlyStopping) for c in cli.trainer.callbacks)
    )


def evaluate(split_command: str, arguments: Sequence[str]) -> int:
    """``lmzoo validate`` and ``lmzoo test``: the record of one split, shown and added to ``evaluations.jsonl``."""
    cli = TrainingCLI(split_command, arguments)
    refuse_other_model(cli)
    cli.model.configure_model()
    load_weights(cli)
    split = "validation" if split_command == "validate" else "test"
    record = split_record(cli, split)
    if cli.trainer.is_global_zero:
        with (cli.run.folder / "evaluations.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(finite(record), allow_nan=False) + "\n")
        show_records([record])
    return 0


# what may be asked of a trained model: other text, other evaluation windows, another machine
_MAY_DIFFER = (
    "trainer",
    "data.source",
    "data.raw",
    "data.detokenize",
    "data.eval_context_length",
    "data.eval_batch_size",
    "data.num_workers",
    "data.cache_dir",
    "checkpoint_every_n_steps",
)


def refuse_other_model(cli: TrainingCLI) -> None:
    """Raise unless the configuration is that of the run but for :data:`_MAY_DIFFER`."""
    keys = differing_keys(load_yaml(cli.run.config_file), cli.resolved(), ignore=_MAY_DIFFER)
    if keys:
        raise ConfigError(f"this run was trained otherwise, and what it was trained with cannot be changed now: {keys}")


def load_weights(cli: TrainingCLI) -> None:
    """The exported weights and tokenizer of a finished run, else the weights of its newest checkpoint.

    Raises:
        ConfigError: there are none, or the text's tokenizer is not the one that the checkpoint was trained with.
    """
    exported = cli.run.folder / "model.safetensors"
    if exported.is_file():
        load_model(LMZooForCausalLM.from_decoder(cli.model.network), exported)
        cli.datamodule.use_tokenizer(load_tokenizer(str(cli.run.folder)))
        return
    newest = cli.run.newest_checkpoint()
    if newest is None:
        raise ConfigError(f"{cli.run.folder} holds neither model.safetensors nor a checkpoint", key="run_dir")
    say(f"the run is not finished; evaluating its checkpoint {newest.name}")
    loaded = torch.load(newest, map_location="cpu", weights_only=True)
    cli.model.load_state_dict(loaded["state_dict"])
    trained_with = loaded[type(cli.datamodule).__qualname__]["tokenizer_sha256"]
    if tokenizer_sha256(cli.datamodule.tokenizer) != trained_with:
        raise ConfigError("the text gives another tokenizer than the run was trained with; finish the run first")


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


def results(cli: TrainingCLI, records: list[Record], peak_memory_mb: float, memory_kind: str) -> dict[str, Any]:
    """The content of ``results.json``."""
    counts, log = cli.model.counts, cli.log
    return {
        "finished": True,
        "steps": cli.trainer.global_step,
        "planned_steps": cli.model.total_steps(),
        "train_tokens": log.tokens,
        "seconds": log.seconds,
        "tokens_per_second": statistics.median(log.rates) if log.rates else None,
        "peak_memory_mb": peak_memory_mb,
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
            *(f"{r[k]:,.{n}f}" if r[k] is not None else "too large" for k, n in FIGURES.items()),
        )
    console.print(table)
