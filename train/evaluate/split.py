"""``lmzoo validate`` and ``lmzoo test``: scoring a trained run, as it was trained and not otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConfigError
from ..config import differing_keys, load_yaml
from ..fit.checkpoint import LOSS_FILE, read_log_weight
from ..fit.lightning_cli import TrainingCLI
from ..fit.records import show_records, split_record
from ..storage import append_record
from .loaded_run import load_weights


def main(split_command: str, arguments: Sequence[str]) -> int:
    """``lmzoo validate`` and ``lmzoo test``: the record of one split, shown and added to ``evaluations.jsonl``."""
    cli = TrainingCLI(split_command, arguments)
    refuse_other_model(cli)
    load_weights(cli.model, cli.datamodule, cli.run, cli.config.init_from)
    log_weight = read_log_weight(cli.run.folder) if cli.config.debias else None
    if cli.config.debias and log_weight is None:
        message = (
            f"expected a finished run whose loss weighs tokens, which leaves {LOSS_FILE}; {cli.run.folder} has none"
        )
        raise ConfigError(message, key="--debias")
    split = "validation" if split_command == "validate" else "test"
    record = split_record(cli, split, log_weight=log_weight)
    if cli.trainer.is_global_zero:
        append_record(cli.run.folder / "evaluations.jsonl", record)
        show_records([record])
    return 0


# what may be asked of a trained model: other text, other evaluation windows, another machine
_MAY_DIFFER = (
    "trainer",
    "data.source",
    "data.raw",
    "data.detokenize",
    "data.arithmetic",
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
