"""Two published conventions for perplexity on WikiText, so that figures can be put beside those of other papers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ....errors import require
from ...data.corpus import TextHash
from ...data.encode import separator_id
from .protocols import Windows
from .stream import Text, TextStream, check_documents

CONVENTIONS = ("lm-eval", "fairseq")

# (pattern, replacement) in this order: what lm-eval's task does to a page before it is scored.
_LM_EVAL_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"s '", "s'"),
        (r"/' [0-9]/", "/'[0-9]/"),
        *((f" {re.escape(mark)} ", sign) for mark, sign in (("@-@", "-"), ("@,@", ","), ("@.@", "."))),
        *((f" {re.escape(sign)} ", f"{sign} ") for sign in ":;.!?,"),
        (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
        (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
        (r"{\s*([^}]*?)\s*}", r"{\1}"),
        (r'"\s*([^"]*?)\s*"', r'"\1"'),
        (r"'\s*([^']*?)\s*'", r"'\1'"),
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ]
)


def wikitext_pages(text: str) -> Iterator[str]:
    """WikiText cut into pages as lm-eval's data set is: at each line of the form `` = Title = ``, blank lines or not.

    The newline before a title belongs to no page. Blank text before the first title is no page.
    """
    page: list[str] = []
    for line in text.split("\n"):
        title = line.replace("= = =", "===").replace("= =", "==").strip()
        if title.startswith("= ") and title.endswith(" ="):
            if "".join(page).strip():
                yield "\n".join(page)
            page = []
        page.append(line)
    yield "\n".join(page)


def lm_eval_detokenize(page: str) -> str:
    """A page as lm-eval's wikitext task scores it; its words and bytes are counted before this."""
    for pattern, replacement in _LM_EVAL_RULES:
        page = pattern.sub(replacement, page)
    return page


def lm_eval_stream(tokenizer: PreTrainedTokenizerBase, text: Text) -> TextStream:
    """Detokenised documents, which are pages, each after the prefix token (bos, else eos), which is context only.

    Words are the pieces between white space of the page before it was detokenised, empty ones at either end counted,
    bytes those of the same; both stand at a page's first token.
    """
    prefix = tokenizer.bos_token_id if isinstance(tokenizer.bos_token_id, int) else separator_id(tokenizer)
    check_documents(text.documents)
    parts = []
    for page in text.documents:
        ids = _plain_ids(tokenizer, lm_eval_detokenize(page))
        require(bool(ids), "tokenizer", "one that gives every page tokens", f"none for {page[:40]!r}")
        words, size = np.zeros((2, len(ids) + 1), dtype=np.int64)
        words[1], size[1] = len(re.split(r"\s+", page)), len(page.encode("utf-8"))
        parts.append(([prefix, *ids], np.arange(len(ids) + 1) > 0, size, words))
    return _joined(
        text.documents, parts, "lm-eval: white space, empty pieces at the ends included, before detokenisation"
    )


def lm_eval_windows(stream: TextStream, length: int) -> Windows:
    """lm-eval's rolling windows: page by page, disjoint, one token of context at the least.

    The last window of a page of several reaches back to the full ``length``, so that its targets have more context.
    """
    begins, ends, firsts = [], [], []
    starts = np.searchsorted(stream.document, np.arange(stream.documents + 1))
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist()):
        begin = np.arange(start, stop - 1, length)
        firsts.append(begin + 1)
        ends.append(np.minimum(begin + length, stop - 1))
        begins.append(np.maximum(ends[-1] - length, start))
    return Windows(np.concatenate(begins), np.concatenate(ends), np.concatenate(firsts), None, stream.targets)


def fairseq_stream(tokenizer: PreTrainedTokenizerBase, text: Text) -> TextStream:
    """Lines, white space made single spaces, with the separator after each, which is scored like any token.

    Words are those of a line and one for its end, bytes those of the line as it stands; both stand at its end.
    """
    check_documents(text.documents)
    separator = separator_id(tokenizer)
    parts = []
    for i, document in enumerate(text.documents):
        ids: list[int] = [] if i else [separator]  # what the text's first token is predicted from
        at, words, sizes = [], [], []
        for line in re.findall(r"[^\n]*\n|[^\n]+", document):
            ids += [*_plain_ids(tokenizer, " ".join(line.split())), separator]
            at.append(len(ids) - 1)
            words.append(len(line.split()) + 1)
            sizes.append(len(line.encode("utf-8")))
        counts = np.zeros((2, len(ids)), dtype=np.int64)
        counts[:, at] = words, sizes
        parts.append((ids, np.arange(len(ids)) > (0 if i == 0 else -1), counts[1], counts[0]))
    return _joined(text.documents, parts, "whitespace+eol")


def fairseq_windows(stream: TextStream, length: int, stride: int | None) -> Windows:
    """The blocks of fairseq: ``stride`` targets, each after the ``length`` - ``stride`` tokens before it.

    That is ``--sample-break-mode none --tokens-per-sample LENGTH --context-window (LENGTH - STRIDE)``; without a
    stride blocks have no context window.
    """
    step = length if stride is None else stride
    begin = np.arange(0, len(stream) - 1, step)
    end = np.minimum(begin + step, len(stream) - 1)
    return Windows(np.maximum(begin - (length - step), 0), end, begin + 1, stride, stream.targets)


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _joined(documents: Sequence[str], parts: Sequence[tuple[Any, Any, Any, Any]], word_rule: str) -> TextStream:
    text_hash = TextHash()
    for document in documents:
        text_hash.add(document.encode("utf-8"))
    tokens, scored, sizes, words = (np.concatenate(column) for column in zip(*parts))
    return TextStream(
        tokens=tokens.astype(np.int64),
        scored=scored,
        document=np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts]),
        bytes=sizes,
        words=words,
        documents=len(parts),
        text_sha256=text_hash.hexdigest(),
        word_rule=word_rule,
    )
