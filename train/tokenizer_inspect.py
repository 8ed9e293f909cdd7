"""How tokenizers split a text, side by side."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from .. import models  # noqa: F401 - so that a run folder, which holds a model too, is recognised
from ..tokenization import NUMBER_SCHEMES
from ..tokenization.schemes import DEFAULT_GROUP, number_scheme
from ..tokenization.structure import marker_names
from .config import ConfigError
from .data import load_source
from .data.cache import cache_root
from .data.tokenizer_cache import corpus_tokenizer, load_tokenizer

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
