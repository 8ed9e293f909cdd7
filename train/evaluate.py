"""``lmzoo validate`` and ``lmzoo test``: scoring a trained run, as it was trained and not otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from safetensors.torch import load_model

from ..models import LMZooForCausalLM
from ..tokenization import tokenizer_sha256
from .config import ConfigError, differing_keys, finite, load_yaml
from .console import say
from .data.tokenizer_cache import load_tokenizer
from .export import LOSS_FILE, read_log_weight
from .records import show_records, split_record
from .training_cli import TrainingCLI


def main(split_command: str, arguments: Sequence[str]) -> int:
    """``lmzoo validate`` and ``lmzoo test``: the record of one split, shown and added to ``evaluations.jsonl``."""
    cli = TrainingCLI(split_command, arguments)
    refuse_other_model(cli)
    cli.model.configure_model()
    load_weights(cli)
    log_weight = read_log_weight(cli.run.folder) if cli.config.debias else None
    if cli.config.debias and log_weight is None:
        message = (
            f"expected a finished run whose loss weighs tokens, which leaves {LOSS_FILE}; {cli.run.folder} has none"
        )
        raise ConfigError(message, key="--debias")
    split = "validation" if split_command == "validate" else "test"
    record = split_record(cli, split, log_weight=log_weight)
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
    if cli.config.init_from is not None:
        cli.datamodule.use_tokenizer(load_tokenizer(cli.config.init_from))
    say(f"the run is not finished; evaluating its checkpoint {newest.name}")
    loaded = torch.load(newest, map_location="cpu", weights_only=True)
    cli.model.load_state_dict(loaded["state_dict"])
    trained_with = loaded[type(cli.datamodule).__qualname__]["tokenizer_sha256"]
    if tokenizer_sha256(cli.datamodule.tokenizer) != trained_with:
        raise ConfigError("the text gives another tokenizer than the run was trained with; finish the run first")
