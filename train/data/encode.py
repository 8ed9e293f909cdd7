"""From text to a tokenised split in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
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
from ..storage import write_json
from .cache import build_once, fingerprint
from .corpus import (
    Corpus,
    CorpusError,
    TextFacts,
    TextHash,
    WordRule,
    codepoints,
    count_words,
    cumulative_bytes,
    cumulative_words,
    text_facts,
)
from .prepared import (
    BYTES,
    BYTES_DTYPE,
    FORMAT_VERSION,
    META,
    POSITION_DTYPE,
    SEPARATORS,
    TOKENS,
    WORDS,
    WORDS_DTYPE,
    PreparedSplit,
    is_prepared,
)

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
        text_hash = TextHash()
        length = count = words = size = 0
        with ExitStack() as stack:
            names = [TOKENS, SEPARATORS, *([BYTES, WORDS] if self.counted else [])]
            files = {name: stack.enter_context((folder / name).open("wb")) for name in names}
            for batch in _batches(documents):
                encode = self._pipeline.encode_batch if self.counted else self._pipeline.encode_batch_fast
                done = 0
                for text, encoding in zip(batch, encode(batch, add_special_tokens=False)):
                    encoded = text.encode("utf-8")
                    text_hash.add(encoded)
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
                    count += 1
                    words += count_words(text, self.word_rule)
                    done += len(encoded)
                size += done
                advance(done)
        return {
            "length": length,
            "separator": self.separator,
            "dtype": self.dtype.str,
            "text_sha256": text_hash.hexdigest(),
            "documents": count,
            "words": words,
            "bytes": size,
        }

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
