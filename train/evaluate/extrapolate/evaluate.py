"""``extrapolate``: one model on one text, by protocol and length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn
from transformers import PreTrainedTokenizerBase

from ....errors import nearest, require
from ...fit.perplexity import figures
from ...runs.evaluation_files import identity, known_records
from ...storage import Record, append_record
from ..interventions import Intervention
from .conventions import CONVENTIONS, convention_stream, fairseq_windows, lm_eval_windows
from .interval import interval
from .passport import check_lengths, model_passport, text_passport
from .protocols import PROTOCOLS, Windows, Within, fixed_target, non_overlapping, sliding
from .scorers import scorer_for
from .stream import Text, TextStream, text_stream
from .sums import by_document, by_position, score


@contextmanager
def evaluating(model: nn.Module, intervention: Intervention | None) -> Iterator[None]:
    """In evaluation mode and with the intervention, if any; every module is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with nullcontext() if intervention is None else intervention(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


def progress_bar() -> Progress:
    """A bar on a terminal with the time that is left, nothing elsewhere; gone when it is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)


DEFAULT_TARGETS = 16384
_BATCH_TOKENS = {"cpu": 1 << 13, "cuda": 1 << 16}
_PROBE_TOKENS = 16


@dataclass(frozen=True)
class Job:
    """One record to make: its settings and its windows."""

    settings: dict[str, Any]
    windows: Windows


def extrapolate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    text: str | Sequence[str] | Text,
    *,
    lengths: Sequence[int],
    protocol: str = "all",
    stride: int | None = None,
    targets: int | None = DEFAULT_TARGETS,
    within: Within = "text",
    intervention: Intervention | None = None,
    train_length: int | None = None,
    seed: int | None = None,
    batch_tokens: int | None = None,
    output: str | Path | None = None,
    on_record: Callable[[Record, bool], None] | None = None,
) -> list[Record]:
    """Perplexity of a causal model at several window lengths, with passports: one record a protocol and length.

    Documents follow each other with a separator (eos, else bos) before each, the first included, as in training; it is
    context and never scored, so that the first token of a text has something to be predicted from. Sums are float64
    and divided once; ``tokens``, ``words`` and ``bytes`` count exactly what was scored.

    A record holds ``protocol``, ``length``, ``stride``, ``nll``, ``tokens``, ``words``, ``bytes``, ``cross_entropy``,
    ``token_perplexity``, ``word_perplexity`` and ``bits_per_byte``, the last four each with ``_low`` and ``_high``: a
    95 % interval from resampling documents, None for a single one. Beside them ``eligible`` (the tokens of which those
    scored were taken), ``loss_by_position``, ``by_document`` (sums, for paired comparisons), ``scorer``, ``seconds``,
    ``input_tokens`` and ``passport``.

    Args:
        model: a :class:`Decoder`, :class:`LMZooForCausalLM` or a causal model of ``transformers``, on its device and in
            its precision; it is in evaluation mode meanwhile.
        tokenizer: the model's, a fast one.
        text: a document or several; a :class:`Text` also carries the corpus's name and how words are counted.
        lengths: windows, in tokens that the model reads.
        protocol: ``non_overlapping``, ``sliding``, ``fixed_target``, ``all`` of these, or a convention, ``lm-eval`` or
            ``fairseq``; see :mod:`.protocols` and :mod:`.conventions`.
        stride: tokens that a window scores where windows overlap; length // 2 in ``sliding`` and half the smallest
            length in ``fixed_target`` if not given. No context window in ``fairseq`` if not given.
        targets: about how many tokens ``fixed_target`` scores, spread evenly; None is all.
        within: ``fixed_target``'s context has to lie in the ``text`` or in the target's own ``document``.
        intervention: a change of the model for this evaluation.
        train_length: for the passport; what the model's configuration says if not given.
        seed: of the training run, for the passport.
        batch_tokens: tokens read at once; 8192 on a CPU and 65536 on a GPU if not given. A longer window goes alone.
        output: a JSON Lines file: records in it with like settings and passport are not made again, new ones are added
            as soon as they are there.
        on_record: told every record, and whether it was made now.

    Raises:
        ArgumentError: before any scoring: an argument is out of range, the model's positions end before the longest
            window, the text is too short for ``fixed_target``, or the tokenizer cannot serve.
    """
    check_lengths(model, lengths)
    text = text if isinstance(text, Text) else Text([text] if isinstance(text, str) else list(text))
    names = _protocols(protocol)
    _check_numbers(stride, targets, batch_tokens, lengths, names)
    require(within in ("text", "document"), "within", "text or document", within)
    streams = {name: _stream(name, tokenizer, text) for name in dict.fromkeys(map(_stream_name, names))}
    said = None if intervention is None else intervention.describe()
    jobs = [
        _job(name, streams[_stream_name(name)], length, lengths, stride, targets, within, said)
        for name in names
        for length in sorted(lengths)
    ]
    own = model_passport(model, tokenizer, train_length=train_length, seed=seed)
    cards = {
        name: {**text_passport(stream, corpus=text.corpus, more=text.more), **own} for name, stream in streams.items()
    }
    file = None if output is None else Path(output)
    known = known_records(file)
    keys = [identity(job.settings, cards[_stream_name(job.settings["protocol"])]) for job in jobs]
    device = next(model.parameters()).device
    size = batch_tokens or _BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cuda"])
    records = []
    pending = sum(job.windows.inputs for job, key in zip(jobs, keys) if key not in known)
    with evaluating(model, intervention), progress_bar() as progress:
        task = progress.add_task("", total=pending)
        for job, key in zip(jobs, keys):
            name = _stream_name(job.settings["protocol"])
            record = known.get(key)
            if record is None:
                progress.update(task, description=f"{job.settings['protocol']} {job.settings['length']:,}")
                made = _record(model, streams[name], job, size, lambda n: progress.advance(task, n))
                record = {**made, "passport": cards[name]}
                if file is not None:
                    append_record(file, record)
            records.append(record)
            if on_record is not None:
                on_record(record, key not in known)
    return records


def _record(
    model: nn.Module, stream: TextStream, job: Job, batch_tokens: int, advance: Callable[[int], None]
) -> Record:
    device = next(model.parameters()).device
    probe = torch.from_numpy(stream.tokens[None, :_PROBE_TOKENS]).to(device)
    scorer = scorer_for(model, probe)
    start = time.perf_counter()
    scores = score(scorer, stream, job.windows, device=device, batch_tokens=batch_tokens, advance=advance)
    seconds = time.perf_counter() - start
    if len(scores.nll) != len(np.unique(scores.target)):
        raise RuntimeError("a token was scored twice")
    if job.settings["protocol"] != "fixed_target" and len(scores.nll) != job.windows.eligible:
        raise RuntimeError(f"{len(scores.nll)} tokens were scored, not the text's {job.windows.eligible}")
    words, size = int(stream.words[scores.target].sum()), int(stream.bytes[scores.target].sum())
    documents = by_document(stream, scores)
    return {
        **job.settings,
        **figures(float(scores.nll.sum()), len(scores.nll), words, size),
        **interval(documents),
        "eligible": job.windows.eligible,
        "documents": len(documents["document"]),
        "loss_by_position": by_position(scores),
        "by_document": documents,
        "scorer": scorer.method,
        "seconds": seconds,
        "input_tokens": job.windows.inputs,
    }


def _job(
    name: str,
    stream: TextStream,
    length: int,
    lengths: Sequence[int],
    stride: int | None,
    targets: int | None,
    within: Within,
    intervention: str | None,
) -> Job:
    fixed = name == "fixed_target"
    match name:
        case "non_overlapping":
            windows = non_overlapping(stream, length)
        case "sliding":
            windows = sliding(stream, length, stride)
        case "fixed_target":
            step = max(1, min(lengths) // 2) if stride is None else stride
            windows = fixed_target(stream, length, max(lengths), stride=step, targets=targets, within=within)
        case "lm-eval":
            windows = lm_eval_windows(stream, length)
        case _:
            windows = fairseq_windows(stream, length, stride)
    settings = {
        "protocol": name,
        "length": length,
        "stride": windows.stride,
        "longest": max(lengths) if fixed else None,
        "within": within if fixed else None,
        "targets": targets if fixed else None,
        "intervention": intervention,
    }
    return Job(settings, windows)


def _protocols(protocol: str) -> tuple[str, ...]:
    known = ("all", *PROTOCOLS, *CONVENTIONS)
    expected = f"one of {', '.join(known)} (nearest: {nearest(str(protocol), known)[0]})"
    require(protocol in known, "protocol", expected, protocol)
    return PROTOCOLS if protocol == "all" else (protocol,)


def _check_numbers(
    stride: int | None, targets: int | None, batch_tokens: int | None, lengths: Sequence[int], names: Sequence[str]
) -> None:
    require(targets is None or targets >= 1, "targets", "None or 1 or more", targets)
    require(batch_tokens is None or batch_tokens >= 1, "batch_tokens", "None or 1 or more", batch_tokens)
    if stride is not None:
        uses = any(name in ("sliding", "fixed_target", "fairseq") for name in names)
        require(uses, "stride", f"None: in {names[0]} windows do not advance by a stride", stride)
        expected = f"a number from 1 to the smallest length {min(lengths)}"
        require(1 <= stride <= min(lengths), "stride", expected, stride)


def _stream_name(protocol: str) -> str:
    """Protocols that share a stream have one name here."""
    return protocol if protocol in CONVENTIONS else "text"


def _stream(name: str, tokenizer: PreTrainedTokenizerBase, text: Text) -> TextStream:
    if name in CONVENTIONS:
        return convention_stream(name, tokenizer, text.documents)
    return text_stream(tokenizer, text)
