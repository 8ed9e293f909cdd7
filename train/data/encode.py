"""From text to a tokenised split in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from ...errors import ArgumentError
from ...tokenization import tokenizer_sha256
from ..arguments import say
from ..storage import read_json, write_json
from .cache import build_once, fingerprint
from .corpus import Corpus, CorpusError, TextFacts, TextMeter, WordRule, count_words, text_facts

FORMAT_VERSION = 1

META = "meta.json"
TOKENS = "tokens.bin"
BYTES = "bytes.bin"
WORDS = "words.bin"
SEPARATORS = "separators.bin"

BYTES_DTYPE = np.dtype("<u2")
WORDS_DTYPE = np.dtype("u1")
POSITION_DTYPE = np.dtype("<i8")

BATCH_CHARACTERS = 1 << 21
"""Text encoded at once: enough to keep many cores busy, small beside any machine's memory."""

BATCH_DOCUMENTS = 4096


class SplitEncoder:
    """Writes ids, and where asked for the bytes and words of every token, of a stream of documents.

    Documents are encoded in batches, which the ``tokenizers`` library spreads over the cores; a document is never cut
    for that, so its ids are those of a plain call.

    Args:
        tokenizer: a fast tokenizer; a copy of its pipeline is used, with special tokens in the text taken as text and
            truncation and padding off.
        word_rule: how words are counted.
        counted: whether to write bytes and words of every token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, word_rule: WordRule, *, counted: bool) -> None:
        self._pipeline = text_pipeline(tokenizer)
        self.separator = separator_id(tokenizer)
        self.word_rule = word_rule
        self.counted = counted
        largest = max(self._pipeline.get_vocab(with_added_tokens=True).values())
        self.dtype = np.dtype("<u2" if largest < 1 << 16 else "<u4")

    def write(self, documents: Iterable[str], folder: Path, advance: Callable[[int], None]) -> dict[str, Any]:
        """Write the files of a split into ``folder``.

        Args:
            documents: the text.
            folder: an existing folder.
            advance: told the bytes of text done after each batch.

        Returns:
            length (in tokens, separators included), separator, dtype, and what was met of the text: text_sha256,
            documents, words, bytes.
        """
        meter = TextMeter(self.word_rule)
        length = 0
        with ExitStack() as stack:
            names = [TOKENS, SEPARATORS, *([BYTES, WORDS] if self.counted else [])]
            files = {name: stack.enter_context((folder / name).open("wb")) for name in names}
            for batch in _batches(documents):
                encode = self._pipeline.encode_batch if self.counted else self._pipeline.encode_batch_fast
                before = meter.bytes
                for text, encoding in zip(batch, encode(batch, add_special_tokens=False)):
                    meter.add(text)
                    ids = np.array([self.separator, *encoding.ids], dtype=self.dtype)
                    if ids.size == 1:
                        raise ArgumentError("tokenizer", "one that gives every text tokens", f"none for {text[:40]!r}")
                    ids.tofile(files[TOKENS])
                    np.array([length], dtype=POSITION_DTYPE).tofile(files[SEPARATORS])
                    if self.counted:
                        token_bytes, token_words = self._token_counts(text, encoding)
                        token_bytes.tofile(files[BYTES])
                        token_words.tofile(files[WORDS])
                    length += ids.size
                advance(meter.bytes - before)
        return {"length": length, "separator": self.separator, "dtype": self.dtype.str, **asdict(meter.facts())}

    def _token_counts(
        self, text: str, encoding: Encoding
    ) -> tuple[npt.NDArray[np.unsignedinteger[Any]], npt.NDArray[np.unsignedinteger[Any]]]:
        """Bytes and words of the separator and of every token, (1 + n,) each; see :func:`prepare_split`."""
        points = codepoints(text)
        ends = np.array([0, 0, *(end for _, end in encoding.offsets)])
        ends[-1] = len(points)
        ends = np.maximum.accumulate(ends)
        token_bytes = np.diff(cumulative_bytes(points)[ends])
        token_words = np.diff(cumulative_words(points, self.word_rule)[ends])
        whole = (len(text.encode("utf-8")), count_words(text, self.word_rule))
        if (int(token_bytes.sum()), int(token_words.sum())) != whole:
            raise AssertionError(f"bytes and words by token do not add up to those of the document {text[:40]!r}")
        return _narrow(token_bytes, BYTES_DTYPE, "bytes"), _narrow(token_words, WORDS_DTYPE, "words")


def text_pipeline(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of a fast tokenizer's pipeline that takes special tokens in a text as text, and cuts and pads nothing."""
    backend: Any = tokenizer.backend_tokenizer
    pipeline = Tokenizer.from_str(backend.to_str())
    pipeline.no_truncation()
    pipeline.no_padding()
    pipeline.encode_special_tokens = True
    return pipeline


def separator_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that parts documents: eos, else bos."""
    for token in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        if isinstance(token, int):
            return token
    raise ArgumentError("tokenizer", "a tokenizer with an eos or bos token to part documents", type(tokenizer).__name__)


def _narrow(counts: npt.NDArray[np.int64], dtype: np.dtype[Any], unit: str) -> npt.NDArray[np.unsignedinteger[Any]]:
    most = np.iinfo(dtype).max
    if int(counts.max()) > most:
        raise ArgumentError("tokenizer", f"at most {most} {unit} in a token", int(counts.max()))
    return counts.astype(dtype)


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for document in documents:
        if batch and (characters + len(document) > BATCH_CHARACTERS or len(batch) >= BATCH_DOCUMENTS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += len(document)
    if batch:
        yield batch


_ASCII_SPACE = np.zeros(128, dtype=bool)
_ASCII_SPACE[[ord(c) for c in " \t\n\r\x0b\x0c"]] = True


def codepoints(text: str) -> npt.NDArray[np.uint32]:
    """The text as an array of Unicode code points, (C,)."""
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def cumulative_words(points: npt.NDArray[np.uint32], rule: WordRule) -> npt.NDArray[np.int64]:
    """Words begun before each position, (C + 1,); the last entry is the text's word count.

    A word is counted at its first character, the end-of-line word at its newline, so counts over neighbouring pieces
    of a text add up to that of the whole.
    """
    is_space = _ASCII_SPACE[np.minimum(points, 127)] & (points < 128)
    begins = ~is_space
    begins[1:] &= is_space[:-1]
    counted = begins.astype(np.int64)
    if rule == "whitespace+eol":
        counted += points == ord("\n")
    return np.concatenate([[0], np.cumsum(counted)])


def cumulative_bytes(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """UTF-8 bytes before each position, (C + 1,); the last entry is the text's size in bytes."""
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return np.concatenate([[0], np.cumsum(sizes)])


class PreparedSplit:
    """Tokens of a split as memory maps: a separator before every document, its tokens after it.

    A word counts to the token in which it begins, however many tokens it goes on for; a byte to the token with which
    its character ends.

    The maps are opened at first use and not carried along when the object is pickled for a loader's worker.

    Args:
        folder: where the files are; see :func:`is_prepared`.
        meta: content of its ``meta.json``.
    """

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        self.folder = folder
        self.meta = dict(meta)
        self.corpus: str = meta["corpus"]
        self.split: str = meta["split"]
        self.length: int = meta["length"]
        self.separator: int = meta["separator"]

    @classmethod
    def open(cls, folder: Path) -> PreparedSplit:
        """The split in a folder that is known to be valid."""
        meta = read_json(folder / META)
        assert meta is not None
        return cls(folder, meta)

    @property
    def scored_tokens(self) -> int:
        """Tokens without the separators."""
        return self.length - int(self.meta["documents"])

    @cached_property
    def tokens(self) -> npt.NDArray[Any]:
        """Ids, (length,) uint16 or uint32."""
        return self._map(TOKENS, np.dtype(self.meta["dtype"]))

    @cached_property
    def token_bytes(self) -> npt.NDArray[np.uint16]:
        """UTF-8 bytes of the text that end with each token, (length,); 0 for separators."""
        return self._map(BYTES, BYTES_DTYPE)

    @cached_property
    def token_words(self) -> npt.NDArray[np.uint8]:
        """Words that begin in each token, wherever they end, (length,); 0 for separators."""
        return self._map(WORDS, WORDS_DTYPE)

    @cached_property
    def separators(self) -> npt.NDArray[np.int64]:
        """Positions of the separators, ascending, (documents,)."""
        return self._map(SEPARATORS, POSITION_DTYPE)

    def separators_in(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """Positions of the separators in [first, last)."""
        begin, end = np.searchsorted(self.separators, [first, last])
        return np.asarray(self.separators[begin:end])

    def counts(self, vocab_size: int) -> npt.NDArray[np.int64]:
        """How often each id is a label, (vocab_size,): all tokens but the first, which none precedes."""
        total = np.zeros(vocab_size, dtype=np.int64)
        step = 1 << 24  # bincount works on 8-byte integers; a chunk of them is 128 MiB
        for first in range(1, self.length, step):
            total += np.bincount(self.tokens[first : first + step], minlength=vocab_size)
        return total

    def _map(self, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        return np.memmap(self.folder / name, dtype=dtype, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"], state["meta"])  # type: ignore[misc]


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a split in this format with every file at its full size."""
    meta = read_json(folder / META)
    if meta is None or meta.get("format") != FORMAT_VERSION:
        return False
    length = meta["length"]
    sizes = {TOKENS: length * np.dtype(meta["dtype"]).itemsize, SEPARATORS: meta["documents"] * POSITION_DTYPE.itemsize}
    if meta["counted"]:
        sizes |= {BYTES: length * BYTES_DTYPE.itemsize, WORDS: length * WORDS_DTYPE.itemsize}
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def prepare_split(corpus: Corpus, split: str, tokenizer: PreTrainedTokenizerBase, cache: Path) -> PreparedSplit:
    """Tokenise a split once; later calls with the same text and tokenizer open what is in the cache.

    A separator stands before every document. Validation and test also get the bytes and words of every token: of token
    j with character offsets up to e_j, the bytes up to max(e_1..e_j) less those up to max(e_1..e_{j-1}); so a
    character that several tokens share counts once, and the sums are the document's own counts. Characters past the
    last token's end, which a lossy tokenizer may drop, count to the last token.

    Args:
        corpus: the text.
        split: ``train``, ``validation`` or ``test``.
        tokenizer: a fast tokenizer with an eos or bos token, which becomes the separator. The characters of special
            tokens in the text are encoded as text.
        cache: the cache's root folder.

    Raises:
        CorpusError: the split is missing or empty, or its text changed meanwhile.
        ArgumentError: the tokenizer cannot serve.
    """
    facts = text_facts(corpus, split, cache)
    counted = split != "train"
    identity = {
        "format": FORMAT_VERSION,
        "corpus": corpus.name,
        "split": split,
        "text_sha256": facts.text_sha256,
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "word_rule": corpus.word_rule,
        "counted": counted,
    }
    folder = cache / "tokens" / fingerprint(identity)

    def write(partial: Path) -> None:
        say(f"{corpus.name}: tokenising the {split} split ({facts.bytes:,} bytes) into {folder}")
        encoder = SplitEncoder(tokenizer, corpus.word_rule, counted=counted)
        with _progress() as progress:
            task = progress.add_task(f"{corpus.name} {split}", total=facts.bytes)
            written = encoder.write(corpus.documents(split), partial, lambda size: progress.advance(task, size))
        _check_unchanged(corpus, split, facts, written)
        write_json(partial / META, {**identity, **written})

    build_once(folder, is_valid=is_prepared, write=write)
    return PreparedSplit.open(folder)


def _check_unchanged(corpus: Corpus, split: str, facts: TextFacts, written: dict[str, object]) -> None:
    met = TextFacts(**{name: written[name] for name in TextFacts.__dataclass_fields__})  # type: ignore[arg-type]
    if met != facts:
        raise CorpusError(
            f"the {split} split of {corpus.name} changed: {facts} when it was first read, {met} when it was tokenised."
            " If its files were altered without a change of size and time, remove the cache's folder 'texts'"
        )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    console = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
