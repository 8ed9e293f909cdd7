"""``lmzoo fit``: train, score, export, write the records."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping

from ...errors import ArgumentError, ConfigError
from ..arguments import console, say
from ..runs.matching import sizes
from ..storage import Record, write_json
from .checkpoint import RunInterrupted, export_log_weight, export_model
from .lightning_cli import TrainingCLI
from .measure import MemoryMeter
from .optimization import TrainingStopped
from .processes import lost_connection
from .records import final_records, show_records


def main(arguments: Sequence[str]) -> int:
    """``lmzoo fit``: returns 0 when the run is finished, 1 when it stopped, 130 when it was interrupted."""
    cli = TrainingCLI("fit", arguments)
    with cli.run.held() if cli.trainer.global_rank == 0 else contextlib.nullcontext():
        return _fit(cli)


def _fit(cli: TrainingCLI) -> int:
    run, model, data = cli.run, cli.model, cli.datamodule
    # the first process begins the run before it starts the others
    checkpoint = run.begin(cli.resolved()) if cli.trainer.is_global_zero else run.newest_checkpoint()
    if run.finished:
        say(f"{run.folder} is finished already; its records:")
        show_records(run.results()["records"])
        return 0
    counts = model.counts
    say(f"{counts.total:,} parameters (embedding {counts.embedding:,}, head {counts.head:,}); run folder {run.folder}")
    try:
        memory = prepare(cli)
        announce_start(cli, checkpoint)
        with cli.checkpoint.stopping_on_signals(cli.trainer):
            cli.trainer.fit(model, data, ckpt_path=checkpoint)
            if cli.trainer.fast_dev_run:
                say("fast_dev_run: it runs; nothing is recorded")
                return 0
            if cli.trainer.global_step < model.total_steps() and not stopped_early(cli):
                reason = f"the run ended at step {cli.trainer.global_step} of {model.total_steps()} (max_time?)"
                run.fail(reason, step=cli.trainer.global_step)
                say(f"{reason}; the run is incomplete; run the same command again to resume it")
                return 1
            peak = memory.peak_mb()
            model.gather()
            records = final_records(cli)
        if cli.trainer.is_global_zero:
            export(cli)
    except TrainingStopped as stop:
        run.fail(stop.reason, step=stop.step, layer=stop.layer)
        if cli.trainer.is_global_zero:
            console.print(f"[bold red]{stop}[/bold red]")
        return 1
    except (RunInterrupted, SystemExit):  # Lightning leaves by the latter at a second Ctrl-C
        say("interrupted; run the same command again to go on")
        return 130
    except ArgumentError as error:  # such as a batch size that the text is too short for
        raise cli.check.explain(error) from None
    except ConfigError:
        raise
    except Exception as error:
        place = "" if cli.trainer.world_size == 1 else f"process {cli.trainer.global_rank}: "
        if cli.trainer.is_global_zero or not lost_connection(error):
            run.fail(f"{place}{type(error).__name__}: {error}")
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


def export(cli: TrainingCLI) -> None:
    """Leave the model, and what its loss has shifted, in the run's folder."""
    log_weight = cli.model.loss.log_weight()
    if log_weight is not None:
        export_log_weight(log_weight, cli.run.folder)
    data = cli.datamodule
    export_model(cli.model.network, data.tokenizer, cli.run.folder, context_length=data.context_length)


def announce_start(cli: TrainingCLI, checkpoint: Path | None) -> None:
    """Say what the run goes on from; write down what it takes over from a trained model, if it starts from one."""
    cli.model.resuming = checkpoint is not None
    if checkpoint is not None:
        say(f"resuming from {checkpoint.name}")
        return
    if cli.model.initial is None:
        return
    model, transfer = cli.model.initial
    say(f"starting from {model.folder}: {len(transfer.loaded)} tensors loaded")
    for names, what in ((transfer.afresh, "start afresh"), (transfer.left_out, "of that model are left out")):
        if names:
            say(f"  {', '.join(names)} {what}")
    if cli.trainer.is_global_zero:
        content = {"folder": model.folder, "sha256": model.sha256, **asdict(transfer)}
        write_json(cli.run.origin_file, content, sort_keys=False)


def stopped_early(cli: TrainingCLI) -> bool:
    """Whether an EarlyStopping callback ended the run, which is an end like any other."""
    trainer = cli.trainer
    return any(isinstance(c, EarlyStopping) and (c.stopped_epoch or trainer.should_stop) for c in trainer.callbacks)


def results(cli: TrainingCLI, records: list[Record], peak_memory_mb: float, memory_kind: str) -> dict[str, Any]:
    """The content of ``results.json``."""
    counts, log, length = cli.model.counts, cli.log, cli.datamodule.context_length
    spent = counts.with_head(cli.model.network.head)  # which was counted before it knew the training text
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
        "flops_per_token": spent.training_flops_per_token(length),
        "body_flops_per_token": spent.training_flops_per_token(length, head=False),
        "sizes": sizes(cli.model.network),
        "records": records,
    }
