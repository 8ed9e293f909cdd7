"""The tokenizer of a corpus, trained once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ...errors import ArgumentError
from ...tokenization import tokenizer_sha256, train_tokenizer
from ...tokenization.schemes import DEFAULT_GROUP
from ..arguments import say
from ..storage import read_json, write_json
from .cache import build_once, fingerprint
from .corpus import Corpus, text_facts

TOKENIZER_VERSION = 2
_META = "meta.json"


@dataclass(frozen=True)
class TokenizerOptions:
    """What decides a tokenizer beside the text that it is trained on; see :func:`train_tokenizer`.

    Args:
        vocab_size: number of token ids, the separator included
        numbers: how numbers are split: a number scheme
        group: digits in a group: 1, 2 or 3
        pad_fraction: fill the last group of a fraction up with zeros; loses how many digits it had
        all_groups: an entry for every group of digits, however rare
    """

    vocab_size: int = 8192
    numbers: str = "bpe"
    group: int = DEFAULT_GROUP
    pad_fraction: bool = False
    all_groups: bool = False


def corpus_tokenizer(corpus: Corpus, cache: Path, options: TokenizerOptions) -> PreTrainedTokenizerBase:
    """The tokenizer trained on the corpus's training split, which sees no other text; from the cache if it is there.

    Raises:
        CorpusError: the training split is missing.
        ArgumentError: see :func:`train_tokenizer`.
    """
    facts = text_facts(corpus, "train", cache)
    identity = {"version": TOKENIZER_VERSION, "text_sha256": facts.text_sha256, **asdict(options)}
    folder = cache / "tokenizers" / fingerprint(identity)

    def write(partial: Path) -> None:
        say(f"{corpus.name}: training a tokenizer of {options.vocab_size} entries into {folder}")
        tokenizer = train_tokenizer(corpus.documents("train"), **asdict(options))
        tokenizer.save_pretrained(partial)
        write_json(partial / _META, {**identity, "tokenizer_sha256": tokenizer_sha256(tokenizer)})

    build_once(folder, is_valid=_is_whole, write=write)
    return _saved(folder)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A saved fast tokenizer, by the path of its folder or its name on the hub.

    Raises:
        ArgumentError: there is none, it is not a fast one, or it wants to run code of its own.
    """
    tokenizer = any_tokenizer(name)
    tokenizer_sha256(tokenizer)  # refuses one without a `tokenizers` pipeline before any text is read
    return tokenizer


def any_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """As :func:`load_tokenizer`, also without a ``tokenizers`` pipeline. Code that comes with it is never run.

    Raises:
        ArgumentError: there is none, or it wants to run code of its own.
    """
    try:
        # False and not the library's default, which asks on standard input whether to run the code
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        expected = f"a saved tokenizer or one on the hub, without code of its own, which is never run ({reason})"
        raise ArgumentError("tokenizer", expected, name) from error
    return tokenizer


def _saved(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def _is_whole(folder: Path) -> bool:
    meta = read_json(folder / _META)
    if meta is None:
        return False
    try:
        return bool(tokenizer_sha256(_saved(folder)) == meta["tokenizer_sha256"])
    except Exception:  # whatever a damaged file makes the library raise, the folder is not whole
        return False
