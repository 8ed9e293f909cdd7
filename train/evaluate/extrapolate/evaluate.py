"""``extrapolate``: one model on one text, by protocol and length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ....errors import nearest, require
from ...fit.perplexity import figures
from ...runs.evaluation_files import (
    ORIGIN,
    RECORDS_FILE,
    SETTINGS,
    has_origin,
    identity,
    known_records,
    read_records,
)
from ...storage import Record, append_record
from ..frame import Advance, KnownTexts, Settings, progress_bar
from ..interventions import Intervention
from .conventions import CONVENTIONS, fairseq_stream, fairseq_windows, lm_eval_stream, lm_eval_windows
from .passport import check_lengths, model_passport, origin_of, text_passport
from .protocols import PROTOCOLS, Windows, Within, fixed_target, non_overlapping, sliding
from .scorers import score, scorer_for
from .stream import Text, TextStream, text_stream
from .sums import by_document, by_position, interval

VERSION = 1
"""Of the figures: raised by hand when the code gives others, so that comparisons make theirs anew."""

DEFAULT_TARGETS = 16384
_BATCH_TOKENS = {"cpu": 1 << 13, "cuda": 1 << 16}
_PROBE_TOKENS = 16


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


@dataclass(frozen=True)
class LengthSettings(Settings):
    """What a comparison asks by its ``lengths:``: every protocol at each of them.

    Args:
        lengths: of the windows, in tokens.
    """

    command: ClassVar[str] = "extrapolate"
    version: ClassVar[int] = VERSION
    lengths: Sequence[int]

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.lengths) * len(PROTOCOLS)

    def as_words(self) -> list[str]:
        return ["--lengths", ",".join(map(str, self.lengths)), "--no_figure"]

    def missing(self, run: Path, texts: KnownTexts | None = None) -> int:
        """How many of the records a run's folder lacks."""
        stands = self.standing(run, lambda data, known: {known.usual_split(data): data}, texts)
        made = [
            {key: record[key] for key in SETTINGS}
            for record in read_records(run / RECORDS_FILE)
            if record["passport"]["dtype"] == "float32" and stands(record["passport"].get(ORIGIN))
        ]
        wanted = [_settings(name, length, self.lengths) for name in PROTOCOLS for length in self.lengths]
        return sum(settings not in made for settings in wanted)


@dataclass(frozen=True)
class Job:
    """One record to make: its settings, its text, its windows on that and its passport."""

    settings: dict[str, Any]
    stream: TextStream
    windows: Windows
    passport: Record


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
    weights_sha256: str | None = None,
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
        weights_sha256: of the file of weights that the model was loaded from, if it is as it was loaded: by it
            ``lmzoo compare`` knows that the records are of a run's weights.
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
    # protocols share a stream, and conventions have streams of their own
    makers = {"lm-eval": lm_eval_stream, "fairseq": fairseq_stream}
    streams = {make: make(tokenizer, text) for make in dict.fromkeys(makers.get(name, text_stream) for name in names)}
    said = None if intervention is None else intervention.describe()
    card = model_passport(model, tokenizer, train_length=train_length, seed=seed)
    jobs = []
    for name in names:
        stream = streams[makers.get(name, text_stream)]
        origin = origin_of(weights_sha256, VERSION, text, stream)
        passport = {**text_passport(stream, text), **card, ORIGIN: origin}
        for length in sorted(lengths):
            settings = _settings(
                name, length, lengths, stride=stride, targets=targets, within=within, intervention=said
            )
            jobs.append(Job(settings, stream, _windows(stream, settings), passport))
    file = None if output is None else Path(output)
    known = {
        key: record
        for key, record in known_records(file).items()
        if has_origin(record["passport"].get(ORIGIN), jobs[0].passport[ORIGIN], text_known=False)
    }
    device = next(model.parameters()).device
    size = batch_tokens or _BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cuda"])
    records = []
    keys = [identity(job.settings, job.passport) for job in jobs]
    pending = sum(job.windows.inputs for job, key in zip(jobs, keys) if key not in known)
    with evaluating(model, intervention), progress_bar("", pending) as advance:
        for job, key in zip(jobs, keys):
            record = known.get(key)
            if record is None:
                advance(0, f"{job.settings['protocol']} {job.settings['length']:,}")
                record = _record(model, job, size, advance)
                if file is not None:
                    append_record(file, record)
            records.append(record)
            if on_record is not None:
                on_record(record, key not in known)
    return records


def _record(model: nn.Module, job: Job, batch_tokens: int, advance: Advance) -> Record:
    stream, device = job.stream, next(model.parameters()).device
    scorer = scorer_for(model, torch.from_numpy(stream.tokens[None, :_PROBE_TOKENS]).to(device))
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
        "passport": job.passport,
    }


def _settings(
    protocol: str,
    length: int,
    lengths: Sequence[int],
    *,
    stride: int | None = None,
    targets: int | None = DEFAULT_TARGETS,
    within: Within = "text",
    intervention: str | None = None,
) -> dict[str, Any]:
    """What a record is asked to be, with what was not given spelt out."""
    fixed = protocol == "fixed_target"
    if protocol in ("sliding", "fixed_target") and stride is None:
        stride = max(1, (min(lengths) if fixed else length) // 2)
    return {
        "protocol": protocol,
        "length": length,
        "stride": stride if protocol in _STRIDING else None,
        "longest": max(lengths) if fixed else None,
        "within": within if fixed else None,
        "targets": targets if fixed else None,
        "intervention": intervention,
    }


_STRIDING = ("sliding", "fixed_target", "fairseq")


def _windows(stream: TextStream, settings: dict[str, Any]) -> Windows:
    length, stride = settings["length"], settings["stride"]
    match settings["protocol"]:
        case "non_overlapping":
            return non_overlapping(stream, length)
        case "sliding":
            return sliding(stream, length, stride)
        case "fixed_target":
            more = {key: settings[key] for key in ("stride", "targets", "within")}
            return fixed_target(stream, length, settings["longest"], **more)
        case "lm-eval":
            return lm_eval_windows(stream, length)
        case _:
            return fairseq_windows(stream, length, stride)


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
        uses = any(name in _STRIDING for name in names)
        require(uses, "stride", f"None: in {names[0]} windows do not advance by a stride", stride)
        expected = f"a number from 1 to the smallest length {min(lengths)}"
        require(1 <= stride <= min(lengths), "stride", expected, stride)
