"""``lmzoo generate``: continue a prompt with a trained run, on the key cache."""

from __future__ import annotations

from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.text import Text

from ..errors import require
from .config import ConfigError


def main(arguments: list[str]) -> int:
    """Parse, load, print the continuation."""
    parser = ArgumentParser(
        prog="lmzoo generate",
        description="Continue a prompt with a trained run (or any Hugging Face causal model folder). "
        "Example: lmzoo generate runs/tiny/seed-0 --prompt 'The function returns'",
    )
    parser.add_argument("run", type=str, help="folder of a finished run")
    parser.add_argument("--prompt", type=str, default="", help="text to continue; empty starts a new document")
    parser.add_argument("--max_new_tokens", type=int, default=100, help="tokens to add at most")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token each time")
    parser.add_argument("--top_k", type=int, default=50, help="sample among the k likeliest tokens; 0 is all")
    parser.add_argument("--top_p", type=float, default=1.0, help="sample among the likeliest tokens of this total mass")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")
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
) -> str:
    """The continuation of ``prompt``: sampled under ``seed``, or greedy when ``temperature`` is 0.

    Raises:
        ConfigError: ``run`` is no folder of a finished run.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .. import models  # noqa: F401 - registers our models with the Auto classes
    from .progress import quiet_libraries

    quiet_libraries()

    folder = Path(run)
    if not (folder / "model.safetensors").is_file():
        raise ConfigError(
            f"expected the folder of a finished run, with a model.safetensors in it, got {folder}", key="run"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.eval()
    ids = [tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]]  # as in training: a document begins with it
    torch.manual_seed(seed)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
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
