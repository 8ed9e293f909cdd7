"""``lmzoo tokenizer train`` and ``lmzoo tokenizer inspect``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.text import Text

from .. import models  # noqa: F401 - so that a run folder, which holds a model too, is recognised
from ..tokenization import train_tokenizer
from .config import ConfigError
from .data import load_source
from .data.tokenizer_cache import load_tokenizer


def main(arguments: list[str]) -> int:
    """Parse and carry out one of the two sub-commands."""
    parser = ArgumentParser(prog="lmzoo tokenizer", description="Train a byte-level BPE, or see how one splits a text.")
    commands = parser.add_subcommands()
    train = ArgumentParser(description="Train on the training split of a source and save as a Hugging Face tokenizer.")
    train.add_argument(
        "source", type=str, help="python-docs, wikitext-2, wikitext-103, a file, a folder, hub:owner/name"
    )
    train.add_argument("output", type=str, help="folder to write; must not exist yet")
    train.add_argument("--vocab_size", type=int, default=8192, help="number of token ids, the separator included")
    train.add_argument("--numbers", type=str, default="bpe", help="how numbers are split")
    commands.add_subcommand("train", train, help="train a tokenizer and save it")
    inspect = ArgumentParser(description="Show the tokens of a text in alternating colours, and how many there are.")
    inspect.add_argument("tokenizer", type=str, help="folder of a tokenizer or of a finished run")
    inspect.add_argument("text", type=str, help="the text to split")
    commands.add_subcommand("inspect", inspect, help="see how a text is split")
    a = parser.parse_args(arguments)
    if a.subcommand == "train":
        return _train(a.train.source, Path(a.train.output), a.train.vocab_size, a.train.numbers)
    return _inspect(a.inspect.tokenizer, a.inspect.text)


def _train(source: str, output: Path, vocab_size: int, numbers: str) -> int:
    if output.exists():
        raise ConfigError(f"{output} exists already; give a new folder", key="output")
    documents = load_source(source).documents("train")
    tokenizer = train_tokenizer(documents, vocab_size, numbers=numbers)
    temporary = output.with_name(f".{output.name}.tmp")
    tokenizer.save_pretrained(temporary)
    temporary.replace(output)
    Console(highlight=False).print(f"{len(tokenizer):,} tokens, written to {output}")
    return 0


def _inspect(folder: str, text: str) -> int:
    if not (Path(folder) / "tokenizer.json").is_file():
        raise ConfigError(f"expected a folder with a tokenizer.json in it, got {folder}", key="tokenizer")
    tokenizer = load_tokenizer(folder)
    encoded = tokenizer(text, return_offsets_mapping=True)
    shown = Text()
    end = 0
    for i, (_, stop) in enumerate(encoded["offset_mapping"]):
        # a character split over several tokens is shown once, with the first of them
        shown.append(text[end:stop], style=f"black on {('bright_cyan', 'bright_yellow')[i % 2]}")
        end = max(end, stop)
    console = Console(highlight=False, soft_wrap=True)
    console.print(shown)
    console.print(
        f"{len(encoded['input_ids'])} tokens, {len(text.encode())} bytes: {' '.join(map(str, encoded['input_ids']))}"
    )
    return 0
