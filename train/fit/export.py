"""Writing a trained decoder and its tokenizer as a Hugging Face model folder, and its loss's weights beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...models import Decoder, LMZooForCausalLM

LOSS_FILE = "loss.safetensors"
_LOG_WEIGHT = "log_weight"


def export_model(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, folder: Path, *, context_length: int) -> None:
    """Write ``model.safetensors``, ``config.json`` and the tokenizer's files into a run's folder.

    Everything is written to a folder of its own first and moved over file by file, the weights last: a model whose
    weights are there is whole.
    """
    temporary = folder / ".export.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    model = LMZooForCausalLM.from_decoder(
        decoder,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        train_length=context_length,
    )
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    for file in sorted(temporary.iterdir(), key=lambda file: file.suffix == ".safetensors"):
        file.replace(folder / file.name)
    temporary.rmdir()


def export_log_weight(log_weight: Tensor, folder: Path) -> None:
    """Write ``loss.safetensors``: log w (V), by which the loss shifted what the model learned.

    It is what ``lmzoo validate --debias`` needs, and could be had from the training text only.
    """
    temporary = folder / ".loss.safetensors.tmp"
    save_file({_LOG_WEIGHT: log_weight.detach().cpu().contiguous()}, temporary)
    temporary.replace(folder / LOSS_FILE)


def read_log_weight(folder: Path) -> Tensor | None:
    """The log w (V) of a run's loss; None where it shifted nothing, or the run is not finished."""
    file = folder / LOSS_FILE
    return load_file(file)[_LOG_WEIGHT] if file.is_file() else None
