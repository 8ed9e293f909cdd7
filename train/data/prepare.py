"""From text to a tokenised split in the cache."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedTokenizerBase

from ...tokenization import tokenizer_sha256
from ..arguments import say
from ..storage import write_json
from .cache import build_once, fingerprint
from .corpus import Corpus, CorpusError
from .encode import SplitEncoder
from .facts import TextFacts, text_facts
from .prepared import FORMAT_VERSION, META, PreparedSplit, is_prepared


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
