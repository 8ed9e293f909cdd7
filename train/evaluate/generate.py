"""``lmzoo generate``: continue a prompt with a trained run, on the key cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.text import Text

from ...errors import require
from ...layers import Head
from ...layers.common.part import defines
from ...models import sample_tokens
from ..arguments import ExampleFormatter
from ..data.tokenizer_cache import any_tokenizer
from .pretrained import load_pretrained


def main(arguments: list[str]) -> int:
    """Parse, load, print the continuation."""
    parser = ArgumentParser(
        prog="lmzoo generate",
        description="Continue a prompt with a trained run, or with any folder of a Hugging Face causal model whose "
        "weights are safetensors and that wants no code of its own.\n"
        "Example:\n  lmzoo generate runs/tiny/seed-0 --prompt 'The function returns'",
        formatter_class=ExampleFormatter,
    )
    parser.add_function_arguments(generate, as_positional=True, as_group=False, skip={"allow_classes"})
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    a = parser.parse_args(arguments)
    text = generate(**a.as_dict())
    Console(highlight=False, soft_wrap=True).print(Text.assemble((a.prompt, "dim"), text))
    return 0


def generate(
    run: str | Path,
    prompt: str = "",
    *,
    max_new_tokens: int = 100,
    temperature: float = 0.8,
    top_k: int = 50,
    top_p: float = 1.0,
    seed: int = 0,
    allow_classes: bool = False,
) -> str:
    """The continuation of ``prompt``: sampled under ``seed``, or greedy when ``temperature`` is 0.

    A run of ours begins a document with the separator, as in training; other models begin as their tokenizer has it.
    Weights are read from safetensors files only, and code that comes with a model is never run.

    Args:
        run: folder of a finished run, or of a model
        prompt: text to continue; empty starts a new document
        max_new_tokens: tokens to add at most
        temperature: 0 takes the likeliest token each time
        top_k: sample among the k likeliest tokens; 0 is all
        top_p: sample among the likeliest tokens of this total mass
        seed: seed of the sampling
        allow_classes: a run of ours may name parts from outside lmzoo, which are imported

    Raises:
        ConfigError: ``run`` holds no model that can be loaded so.
        ArgumentError: a number is out of range; its tokenizer cannot be loaded; the prompt is empty for a model that
            wants a first token.
    """
    require(max_new_tokens > 0, "max_new_tokens", "1 or more", max_new_tokens)
    require(temperature >= 0, "temperature", "0 or more", temperature)
    require(top_k >= 0, "top_k", "0 or more", top_k)
    require(0 < top_p <= 1, "top_p", "in (0, 1]", top_p)
    model = load_pretrained(run, allow_classes=allow_classes)
    tokenizer = any_tokenizer(str(run))
    ids = _prompt_ids(model, tokenizer, prompt)
    torch.manual_seed(seed)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    head = getattr(getattr(model, "decoder", None), "head", None)
    if temperature > 0 and top_k == 0 and top_p == 1.0 and defines(head, Head.sample):
        # the whole distribution is asked for, which such a head draws from without a column for each token
        how: dict[str, Any] = {"eos_token_id": model.generation_config.eos_token_id, "temperature": temperature}
        output = sample_tokens(model.decoder, torch.tensor([ids]), max_new_tokens=max_new_tokens, **how)
    else:
        with torch.no_grad():
            output = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **(sampling if temperature > 0 else {"do_sample": False}),
            )
    return str(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))


def _prompt_ids(model: Any, tokenizer: Any, prompt: str) -> list[int]:
    ids: list[int] = list(tokenizer(prompt)["input_ids"])
    bos = tokenizer.bos_token_id
    if model.config.model_type == "lmzoo" and bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    require(bool(ids), "prompt", "some text: this model's tokenizer begins a document with no token", prompt)
    return ids
