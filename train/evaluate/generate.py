"""``lmzoo generate``: continue a prompt with a trained run, on the key cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.text import Text

from ...errors import require
from ..arguments import ExampleFormatter, quiet_libraries


def main(arguments: list[str]) -> int:
    """Parse, load, print the continuation."""
    parser = ArgumentParser(
        prog="lmzoo generate",
        description="Continue a prompt with a trained run, or with any folder of a Hugging Face causal model whose "
        "weights are safetensors and that wants no code of its own.\n"
        "Example:\n  lmzoo generate runs/tiny/seed-0 --prompt 'The function returns'",
        formatter_class=ExampleFormatter,
    )
    parser.add_argument("run", type=str, help="folder of a finished run, or of a model")
    parser.add_argument("--prompt", type=str, default="", help="text to continue; empty starts a new document")
    parser.add_argument("--max_new_tokens", type=int, default=100, help="tokens to add at most")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token each time")
    parser.add_argument("--top_k", type=int, default=50, help="sample among the k likeliest tokens; 0 is all")
    parser.add_argument("--top_p", type=float, default=1.0, help="sample among the likeliest tokens of this total mass")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")
    parser.add_argument(
        "--allow_classes", action="store_true", help="allow class paths outside lmzoo, which runs the code they name"
    )
    a = parser.parse_args(arguments)
    require(a.max_new_tokens > 0, "max_new_tokens", "1 or more", a.max_new_tokens)
    require(a.temperature >= 0, "temperature", "0 or more", a.temperature)
    require(a.top_k >= 0, "top_k", "0 or more", a.top_k)
    require(0 < a.top_p <= 1, "top_p", "in (0, 1]", a.top_p)
    text = generate(
        a.run,
        a.prompt,
        max_new_tokens=a.max_new_tokens,
        temperature=a.temperature,
        top_k=a.top_k,
        top_p=a.top_p,
        seed=a.seed,
        allow_classes=a.allow_classes,
    )
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
    Weights are read from safetensors files only, and code that comes with a model is never run. With ``allow_classes``
    a run of ours may name parts from outside lmzoo, which are imported.

    Raises:
        ConfigError: ``run`` holds no model that can be loaded so.
        ArgumentError: its tokenizer cannot be loaded; the prompt is empty for a model that wants a first token.
    """
    from ...models import sample_tokens
    from ..data.tokenizer_cache import any_tokenizer
    from .subject import load_pretrained

    quiet_libraries()
    model = load_pretrained(Path(run), allow_classes=allow_classes)
    tokenizer = any_tokenizer(str(run))
    ids = _prompt_ids(model, tokenizer, prompt)
    torch.manual_seed(seed)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    head = getattr(getattr(model, "decoder", None), "head", None)
    if temperature > 0 and top_k == 0 and top_p == 1.0 and hasattr(head, "sample"):
        # the whole distribution is asked for, which such a head draws from without a column for each token
        given = torch.tensor([ids])
        eos = model.generation_config.eos_token_id
        how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        drawn = sample_tokens(model.decoder, given, eos_token_id=eos, **how)
        return str(tokenizer.decode(drawn[0, len(ids) :], skip_special_tokens=True))
    with torch.no_grad():
        output = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            **(sampling if temperature > 0 else {"do_sample": False}),
        )
    text: str = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    return text


def _prompt_ids(model: Any, tokenizer: Any, prompt: str) -> list[int]:
    ids: list[int] = list(tokenizer(prompt)["input_ids"])
    bos = tokenizer.bos_token_id
    if model.config.model_type == "lmzoo" and bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    require(bool(ids), "prompt", "some text: this model's tokenizer begins a document with no token", prompt)
    return ids
