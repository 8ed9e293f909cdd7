"""``lmzoo tokenizer train`` and ``lmzoo tokenizer inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from . import load_source
from .cache import cache_root
from .tokenizer_cache import corpus_tokenizer, load_tokenizer

_COLOURS = ("bright_cyan", "bright_yellow")


def inspect(
    names: list[str], text: str, *, source: str, vocab_size: int, group: int, pad_fraction: bool = False
) -> int:
    """Print how each tokenizer splits the text; returns the exit code.

    Args:
        names: folders and number schemes; ``all`` stands for every scheme.
        text: the text to split.
        source: what tokenizers of schemes are trained on.
        vocab_size: entries of those.
        group: digits in a group of those, where the scheme groups.
        pad_fraction: fill up fractions, where the scheme has magnitudes.

    Raises:
        ConfigError: a name is neither a scheme nor the folder of a tokenizer.
        ArgumentError: an option does not fit.
    """
    wanted = [scheme for name in names for scheme in (NUMBER_SCHEMES if name == "all" else (name,))]
    for name in wanted:
        if name not in NUMBER_SCHEMES and not (Path(name) / "tokenizer.json").is_file():
            expected = f"expected a folder with a tokenizer.json in it, all, or one of {', '.join(NUMBER_SCHEMES)}"
            raise ConfigError(f"{expected}, got {name}", key="tokenizer")
    tokenizers = {name: _tokenizer(name, source, vocab_size, group, pad_fraction) for name in wanted}
    console = Console(highlight=False, soft_wrap=len(wanted) == 1)
    separator = "|" if console.color_system is None else ""
    if len(wanted) == 1:
        tokenizer = tokenizers[wanted[0]]
        console.print(coloured(tokenizer, text, separator))
        ids = tokenizer(text)["input_ids"]
        console.print(f"{len(ids)} tokens, {len(text.encode())} bytes: {' '.join(map(str, ids))}")
        return 0
    table = Table("tokenizer", box=None, padding=(0, 2, 0, 0))
    table.add_column("tokens", justify="right")
    table.add_column("text", overflow="fold")
    for name, tokenizer in tokenizers.items():
        table.add_row(name, str(len(tokenizer(text)["input_ids"])), coloured(tokenizer, text, separator))
    console.print(table)
    console.print(f"{len(text.encode())} bytes", style="dim")
    return 0


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
    return corpus_tokenizer(
        load_source(source),
        cache_root(),
        vocab_size=vocab_size,
        numbers=name,
        group=group if scheme.takes_group else DEFAULT_GROUP,
        pad_fraction=pad_fraction and scheme.marker != "none",
    )


_SCHEMES = ", ".join(NUMBER_SCHEMES)


def main(arguments: list[str]) -> int:
    """Parse and carry out one of the two sub-commands."""
    parser = ArgumentParser(
        prog="lmzoo tokenizer",
        description="Train a byte-level BPE with a number scheme, or see how schemes and tokenizers split a text. "
        "Example: lmzoo tokenizer inspect all 'It grew by 12345678 people, or 3.14159 %, in 2015.'",
    )
    commands = parser.add_subcommands()
    train = ArgumentParser(description="Train on the training split of a source and save as a Hugging Face tokenizer.")
    train.add_argument(
        "source", type=str, help="python-docs, wikitext-2, wikitext-103, a file, a folder, hub:owner/name"
    )
    train.add_argument("output", type=str, help="folder to write; must not exist yet")
    train.add_argument("--vocab_size", type=int, default=8192, help="number of token ids, the separator included")
    train.add_argument("--numbers", type=str, default="bpe", help=f"how numbers are split: {_SCHEMES}")
    train.add_argument("--group", type=int, default=DEFAULT_GROUP, help="digits in a group: 1, 2 or 3")
    train.add_argument(
        "--pad_fraction",
        type=bool,
        default=False,
        help="fill the last group of a fraction up with zeros; loses how many digits it had",
    )
    train.add_argument(
        "--all_groups", type=bool, default=False, help="an entry for every group of digits, however rare"
    )
    train.add_argument(
        "--detokenize", type=bool, default=False, help="WikiText with its spacing undone: 1,000 for 1 @,@ 000"
    )
    commands.add_subcommand("train", train, help="train a tokenizer and save it")
    shown = ArgumentParser(
        description="Show the tokens of a text in alternating colours, and how many there are; a magnitude marker is "
        "shown as ‹k› after its digits. Several tokenizers are shown side by side."
    )
    shown.add_argument(
        "tokenizer",
        type=str,
        help="folder of a tokenizer or of a finished run; a number scheme, for which a small tokenizer is trained once "
        f"and kept in the cache ({_SCHEMES}); several of these with commas between them; or all, for every scheme",
    )
    shown.add_argument("text", type=str, help="the text to split")
    shown.add_argument("--source", type=str, default="python-docs", help="text that small tokenizers are trained on")
    shown.add_argument("--vocab_size", type=int, default=4096, help="number of token ids of small tokenizers")
    shown.add_argument(
        "--group", type=int, default=DEFAULT_GROUP, help="digits in a group, for the schemes that group: 1, 2 or 3"
    )
    shown.add_argument(
        "--pad_fraction", type=bool, default=False, help="zeros at the end of a fraction, in schemes with magnitudes"
    )
    commands.add_subcommand("inspect", shown, help="see how a text is split")
    a = parser.parse_args(arguments)
    if a.subcommand == "inspect":
        i = a.inspect
        names = i.tokenizer.split(",")
        training = {"vocab_size": i.vocab_size, "group": i.group, "pad_fraction": i.pad_fraction}
        return inspect(names, i.text, source=i.source, **training)
    t = a.train
    options = {"numbers": t.numbers, "group": t.group, "pad_fraction": t.pad_fraction, "all_groups": t.all_groups}
    return _train(t.source, Path(t.output), t.vocab_size, options, detokenize=t.detokenize)


def _train(source: str, output: Path, vocab_size: int, options: dict[str, Any], *, detokenize: bool) -> int:
    if output.exists():
        raise ConfigError(f"{output} exists already; give a new folder", key="output")
    check_vocab_size(vocab_size, **options)
    documents = load_source(source, detokenize=detokenize).documents("train")
    tokenizer = train_tokenizer(documents, vocab_size, **options)
    temporary = output.with_name(f".{output.name}.tmp")
    tokenizer.save_pretrained(temporary)
    temporary.replace(output)
    Console(highlight=False).print(f"{len(tokenizer):,} tokens, written to {output}")
    return 0
