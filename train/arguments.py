"""Words of the command line that several commands read alike."""

from __future__ import annotations

from itertools import groupby

import torch
from jsonargparse import DefaultHelpFormatter
from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console

from ..errors import ArgumentError, require


def read_lengths(text: str) -> list[int]:
    """``256,512,1024`` as numbers, also in brackets.

    Raises:
        ArgumentError: a word is no whole number.
    """
    try:
        return [int(word) for word in text.strip("[] ").split(",")]
    except ValueError:
        raise ArgumentError("lengths", "whole numbers with commas between them, such as 256,512,1024", text) from None


def check_device(name: str) -> str:
    """The name of a device, if torch can compute there.

    Raises:
        ArgumentError: it is not cpu, cuda or cuda:N, or this machine has no such GPU.
    """
    kind, colon, index = name.partition(":")
    known = name == "cpu" or (kind == "cuda" and (not colon or (index.isascii() and index.isdigit())))
    require(known, "device", "cpu, cuda or cuda:N", name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda":
        require(gpus > 0, "device", "cpu: this machine has no GPU that torch can use", name)
        require(int(index or 0) < gpus, "device", f"cuda:N with N below {gpus}, the GPUs of this machine", name)
    return name


DESCRIPTIONS = {
    "fit": "Train a model from a YAML file. Run the same command again to resume a run that was interrupted.",
    "validate": "Perplexity of a trained run on the validation split.",
    "test": "Perplexity of a trained run on the test split.",
}

USAGE = {
    "fit": """lmzoo fit --config FILE [--run_dir FOLDER] [--KEY VALUE ...]

examples:
  lmzoo fit --config configs/python-docs/tiny.yaml
  lmzoo fit --config configs/python-docs/tiny.yaml --model.position ALiBi --trainer.max_steps 50
  lmzoo fit --config configs/wikitext-2/1m.yaml --run_dir runs/mine     (again: resumes)
  lmzoo fit --config configs/wikitext-2/1m.yaml --print_config          (every key with its value)
  lmzoo fit --config configs/wikitext-2/power-law-decay.yaml --init_from runs/1m/seed-0     (fine-tuning)
  lmzoo fit --model.attention.help SoftmaxAttention                     (the arguments of a part)""",
    "validate": "lmzoo validate --run_dir FOLDER [--debias] [--KEY VALUE ...]",
    "test": "lmzoo test --run_dir FOLDER [--debias] [--KEY VALUE ...]",
}


class ExampleFormatter(DefaultHelpFormatter):
    """Fills a description as usual, but leaves its examples, indented below ``Examples:``, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for is_kept, lines in groupby(text.splitlines(), _is_kept):
            block = "\n".join(lines)
            filled.append(block if is_kept else super()._fill_text(block, width, indent))
        return "\n".join(filled)


def _is_kept(line: str) -> bool:
    return line.startswith("  ") or line in ("", "Example:", "Examples:")


# Lightning's "int = so many batches, float = this share": the parser reads 1 as 1.0 where typing has cached the other
# order of the two, so whole numbers are put back.
WHOLE_OR_FRACTION = tuple(
    f"trainer.{key}"
    for key in (
        "limit_val_batches",
        "limit_test_batches",
        "limit_train_batches",
        "overfit_batches",
        "val_check_interval",
    )
)

TRAINER_DEFAULTS = {
    "log_every_n_steps": 10,
    "val_check_interval": 0.25,
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # the data module deals out samples by rank itself
    "enable_model_summary": False,
    "enable_checkpointing": True,
}

console = Console(highlight=False)


@rank_zero_only
def say(message: str) -> None:
    """Tell the user what is going on, once however many processes there are."""
    console.print(message, soft_wrap=True, markup=False)
