"""Writing a trained decoder and its tokenizer as a Hugging Face model folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ..models import Decoder, LMZooForCausalLM


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
