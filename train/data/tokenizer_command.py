"""``lmzoo tokenizer train`` and ``lmzoo tokenizer inspect``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from ...errors import ConfigError
from ...tokenization import NUMBER_SCHEMES, train_tokenizer
from ...tokenization.bpe import check_vocab_size
from ...tokenization.schemes import DEFAULT_GROUP, number_scheme
from ...tokenization.structure import marker_names
from .cache import cache_root
from .sources import load_source
from .tokenizer_cache import TokenizerOptions, corpus_tokenizer, load_tokenizer

_SCHEMES = f"Number schemes: {', '.join(NUMBER_SCHEMES)}."
_COLOURS = ("bright_cyan", "bright_yellow")


def main(arguments: list[str]) -> int:
    """Parse and carry out one of the two sub-commands."""
    parser = ArgumentParser(
        prog="lmzoo tokenizer",
        description="Train a byte-level BPE with a number scheme, or see how schemes and tokenizers split a text. "
        "Example: lmzoo tokenizer inspect all 'It grew by 12345678 people, or 3.14159 %, in 2015.'",
    )
    commands = parser.add_subcommands()
    train_parser = ArgumentParser(
        description=f"Train on the training split of a source and save as a Hugging Face tokenizer. {_SCHEMES}"
    )
    source = "python-docs, wikitext-2, wikitext-103, a file, a folder, hub:owner/name"
    train_parser.add_argument("source", type=str, help=source)
    train_parser.add_argument("output", type=str, help="folder to write; must not exist yet")
    options = train_parser.add_class_arguments(TokenizerOptions, as_group=False)
    undone = "WikiText with its spacing undone: 1,000 for 1 @,@ 000"
    train_parser.add_argument("--detokenize", type=bool, default=False, help=undone)
    commands.add_subcommand("train", train_parser, help="train a tokenizer and save it")
    inspect_parser = ArgumentParser(
        description="Show the tokens of a text in alternating colours, and how many there are; a magnitude marker is "
        f"shown as ‹k› after its digits. Several tokenizers are shown side by side. {_SCHEMES}"
    )
    inspect_parser.add_function_arguments(inspect, as_group=False, as_positional=True)
    commands.add_subcommand("inspect", inspect_parser, help="see how a text is split")
    a = parser.parse_args(arguments)
    if a.subcommand == "train":
        t = a.train
        _train(t.source, Path(t.output), TokenizerOptions(**{name: t[name] for name in options}), t.detokenize)
    else:
        inspect(**a.inspect)
    return 0


def _train(source: str, output: Path, options: TokenizerOptions, detokenize: bool) -> None:
    if output.exists():
        raise ConfigError(f"{output} exists already; give a new folder", key="output")
    check_vocab_size(**asdict(options))
    documents = load_source(source, detokenize=detokenize).documents("train")
    tokenizer = train_tokenizer(documents, **asdict(options))
    temporary = output.with_name(f".{output.name}.tmp")
    tokenizer.save_pretrained(temporary)
    temporary.replace(output)
    Console(highlight=False).print(f"{len(tokenizer):,} tokens, written to {output}")


def inspect(
    tokenizer: str,
    text: str,
    *,
    source: str = "python-docs",
    vocab_size: int = 4096,
    group: int = DEFAULT_GROUP,
    pad_fraction: bool = False,
) -> None:
    """Print how each tokenizer splits a text.

    Args:
        tokenizer: folder of a tokenizer or of a finished run; a number scheme, for which a small tokenizer is trained
            once and kept in the cache; several of these with commas between them; or all, for every scheme
        text: the text to split
        source: text that small tokenizers are trained on
        vocab_size: number of token ids of small tokenizers
        group: digits in a group, for the schemes that group: 1, 2 or 3
        pad_fraction: zeros at the end of a fraction, in schemes with magnitudes

    Raises:
        ConfigError: a name is neither a scheme nor the folder of a tokenizer.
        ArgumentError: an option does not fit.
    """
    names = [scheme for name in tokenizer.split(",") for scheme in (NUMBER_SCHEMES if name == "all" else (name,))]
    for name in names:
        if name not in NUMBER_SCHEMES and not (Path(name) / "tokenizer.json").is_file():
            expected = f"expected a folder with a tokenizer.json in it, all, or one of {', '.join(NUMBER_SCHEMES)}"
            raise ConfigError(f"{expected}, got {name}", key="tokenizer")
    tokenizers = {name: _tokenizer(name, source, vocab_size, group, pad_fraction) for name in names}
    ids = {name: tokenizer(text)["input_ids"] for name, tokenizer in tokenizers.items()}
    console = Console(highlight=False, soft_wrap=len(names) == 1)
    separator = "|" if console.color_system is None else ""
    shown = {name: coloured(tokenizer, text, separator) for name, tokenizer in tokenizers.items()}
    size = f"{len(text.encode())} bytes"
    if len(names) == 1:
        (name,) = names
        console.print(shown[name])
        console.print(f"{len(ids[name])} tokens, {size}: {' '.join(map(str, ids[name]))}")
        return
    table = Table("tokenizer", box=None, padding=(0, 2, 0, 0))
    table.add_column("tokens", justify="right")
    table.add_column("text", overflow="fold")
    for name in tokenizers:
        table.add_row(name, str(len(ids[name])), shown[name])
    console.print(table)
    console.print(size, style="dim")


def coloured(tokenizer: PreTrainedTokenizerBase, text: str, separator: str = "") -> Text:
    """The text with every token in another colour than its neighbours, and the names of magnitude markers after them.

    Args:
        tokenizer: a fast tokenizer.
        text: any text.
        separator: put between tokens, for output without colours.
    """
    markers = marker_names(tokenizer)
    encoded = tokenizer(text, return_offsets_mapping=True)
    shown = Text()
    end = 0
    for i, (token_id, (_, stop)) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"])):
        style = f"black on {_COLOURS[i % 2]}"
        if separator and i:
            shown.append(separator, style="dim")
        # a character split over several tokens is shown once, with the first of them
        shown.append(text[end:stop].replace("\n", "↵\n"), style=style)
        marker = markers.get(tokenizer.convert_ids_to_tokens(token_id)[-1])
        if marker is not None:
            shown.append(f"‹{marker}›", style=f"bold {style}")
        end = max(end, stop)
    return shown


def _tokenizer(name: str, source: str, vocab_size: int, group: int, pad_fraction: bool) -> PreTrainedTokenizerBase:
    if name not in NUMBER_SCHEMES:
        return load_tokenizer(name)
    scheme = number_scheme(name)
    options = TokenizerOptions(
        vocab_size,
        numbers=name,
        group=group if scheme.takes_group else DEFAULT_GROUP,
        pad_fraction=pad_fraction and scheme.marker != "none",
    )
    return corpus_tokenizer(load_source(source), cache_root(), options)
