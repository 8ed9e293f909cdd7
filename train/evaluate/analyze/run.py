"""All the numbers of a run's analysis: what is asked, the records, and whether they are there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ....errors import ArgumentError, ConfigError, require
from ....layers import Head, Loss
from ....layers.common.corpus_statistics import CorpusStatistics
from ....models import LMZooForCausalLM
from ...runs.load import ANALYSIS_FILE
from ...storage import Record, write_records
from ..frame import KnownTexts, Settings, progress_bar
from ..loaded_run import LoadedRun, check_split, load_run
from .continuations import (
    BATCH_SIZE,
    DECODINGS,
    FREQUENT_TYPES,
    HUMAN,
    RULE,
    Pieces,
    continuation_record,
    continue_prompts,
    decoded,
    frequent_types,
    take_pieces,
)
from .deciles import DEFINITION, score_by_type

VERSION = 1
"""Of the figures: raised by hand when the code gives others, so that comparisons make theirs anew."""

CONTINUATIONS_FILE = "continuations.jsonl"
# A full context of a small model is often 128 or 256 tokens; both parts fit into either.
PROMPT_TOKENS = 32
NEW_TOKENS = 96


@dataclass(frozen=True)
class AnalysisSettings(Settings):
    """Settings of ``lmzoo analyze``, and of a comparison file's ``analyze:``.

    Args:
        split: text to score and to cut prompts from.
        prompts: how many continuations; 0 leaves them out.
        prompt_tokens: tokens of a prompt; 32 if None, or a quarter of the training length where that is less.
        new_tokens: tokens of a continuation; 96 if None, or what the training length leaves after the prompt where
            that is less, so that a model is not judged at lengths it was not trained for.
        seed: of the prompts' places and of sampling.

    Raises:
        ArgumentError: a value is out of range.
    """

    command: ClassVar[str] = "analyze"
    version: ClassVar[int] = VERSION
    split: str = "test"
    prompts: int = 64
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.split in ("validation", "test"), "split", "validation or test", self.split)
        require(type(self.prompts) is int and self.prompts >= 0, "prompts", "0 or more", self.prompts)
        for name in ("prompt_tokens", "new_tokens"):
            value = getattr(self, name)
            require(value is None or (type(value) is int and value >= 1), name, "null, or 1 or more", value)
        require(type(self.seed) is int and self.seed >= 0, "seed", "0 or more", self.seed)

    def lengths(self, train_length: int) -> tuple[int, int]:
        """Tokens of a prompt and of its continuation, for a model trained on contexts of ``train_length``."""
        prompt = self.prompt_tokens or max(1, min(PROMPT_TOKENS, train_length // 4))
        return prompt, self.new_tokens or max(1, min(NEW_TOKENS, train_length - prompt))

    def missing(self, run: Path, texts: KnownTexts | None = None) -> int:
        """1 unless the run's folder holds the analysis of its present weights and text under these settings."""
        file = run / ANALYSIS_FILE
        if not file.is_file():
            return 1
        with file.open(encoding="utf-8") as stream:
            header = json.loads(stream.readline())
        stands = self.standing(run, lambda data, _: {self.split: data, "train": data}, texts)
        return int(not (header.get("settings") == self.as_dict() and stands(header)))


def code_record(head: nn.Module, token_counts: npt.NDArray[np.int64]) -> Record | None:
    """Sizes of the codes of a head that holds a buffer ``mapping`` (V), token id to code; None for any other head.

    ``sizes`` are the token ids of each code and ``training_tokens`` the training labels among them, by code id. A code
    without ids never gets any probability; one whose ids training never saw is never a target of training.
    """
    mapping = next((b for name, b in head.named_buffers() if name.rpartition(".")[2] == "mapping"), None)
    if mapping is None:
        return None
    code_of = mapping.cpu().numpy()
    codes = max(int(getattr(head, "codebook_size", 0)), int(code_of.max()) + 1)
    sizes = np.bincount(code_of, minlength=codes)
    used = np.zeros(codes, dtype=np.int64)
    np.add.at(used, code_of, token_counts[: len(code_of)])
    return {
        "kind": "codes",
        "head": type(head).__name__,
        "codebook_size": codes,
        "vocab_size": len(code_of),
        "largest": int(sizes.max()),
        "singletons": int((sizes == 1).sum()),
        "without_ids": int((sizes == 0).sum()),
        "without_training_tokens": int((used == 0).sum()),
        "sizes": sizes.tolist(),
        "training_tokens": used.tolist(),
    }


def analyze_run(
    folder: str | Path, settings: AnalysisSettings, *, device: str = "cpu", allow_classes: bool = False
) -> list[Record]:
    """Analyse one run and write ``analysis.jsonl`` and ``continuations.jsonl`` into its folder; returns the records.

    Everything is computed in float32, whatever the run was trained in, and summed in float64.

    Raises:
        ConfigError: ``folder`` holds no run with weights, its corpus no such split or too few pieces for the prompts,
            or its position ends before the continuations do.
    """
    run = load_run(folder, allow_classes=allow_classes)
    check_split(run.data, settings.split)
    # cut before the long work, which a number that does not fit would waste
    pieces = _pieces(run, settings) if settings.prompts else None
    run.network.to(device)
    origin = run.origin(VERSION, (settings.split, "train"))
    card = run.passport(settings.split) | {
        "train_text_sha256": origin["text_sha256"]["train"],
        "device": torch.device(device).type,
    }
    records = [{"kind": "settings", "settings": settings.as_dict(), "weights": run.weights, **origin}]
    records += _decile_records(run, settings.split, card)
    if pieces is not None:
        found, texts = _continuations(run, settings, pieces)
        records += [{**record, "passport": card} for record in found]
        write_records(run.folder / CONTINUATIONS_FILE, texts, ensure_ascii=False)
    codes = code_record(run.network.head, run.data.prepared("train").counts(run.network.vocab_size))
    if codes is not None:
        records.append({**codes, "passport": card})
    write_records(run.folder / ANALYSIS_FILE, records, ensure_ascii=False)
    return records


def _pieces(run: LoadedRun, settings: AnalysisSettings) -> Pieces:
    prompt_tokens, new_tokens = settings.lengths(run.data.context_length)
    try:
        # the last token is never fed back
        run.module.check_length(prompt_tokens + new_tokens - 1, "new_tokens")
    except ArgumentError as error:
        raise ConfigError(f"prompts of {prompt_tokens} and continuations of {new_tokens} tokens: {error}") from None
    prepared = run.data.prepared(settings.split)
    return take_pieces(prepared, settings.prompts, prompt_tokens, new_tokens, settings.seed)


def _decile_records(run: LoadedRun, split: str, card: Record) -> list[Record]:
    """One record a set of logits: as the head gives them and, after a loss that shifts them, debiased."""
    data, network = run.data, run.network
    counts = data.prepared("train").counts(network.vocab_size)
    heads = {"plain": network.head, **_debiased(network.head, run.module.loss, counts)}
    data.setup("validate" if split == "validation" else "test")
    batches = data.val_dataloader() if split == "validation" else data.test_dataloader()
    with progress_bar(f"{run.folder}: loss by decile", len(batches)) as advance:
        sums = score_by_type(network, heads, batches, advance)
    scored = {"split": split, "protocol": "non_overlapping", "length": data.eval_context_length, "stride": None}
    records = []
    for logits, own in sums.items():
        figures = own.record(counts)
        for name in ("tokens", "words", "bytes"):
            if figures[name] != card[name]:
                raise RuntimeError(f"{figures[name]} {name} of the {split} split were scored, not its {card[name]}")
        records.append({"kind": "deciles", "logits": logits, **scored, **figures, "rule": DEFINITION, "passport": card})
    return records


def _debiased(head: Head, loss: Loss, token_counts: npt.NDArray[np.int64]) -> dict[str, Head]:
    """The head without the shift that the loss gives its optimum; none where the loss gives none."""
    loss.use_corpus(CorpusStatistics(torch.from_numpy(token_counts)))
    log_weight = loss.log_weight()
    return {} if log_weight is None else {"debiased": head.debias(log_weight)}


def _continuations(run: LoadedRun, settings: AnalysisSettings, pieces: Pieces) -> tuple[list[Record], list[Record]]:
    """The records of the human, the greedy and the sampled continuations, and their texts, one row a prompt."""
    data, network = run.data, run.network
    model = LMZooForCausalLM.from_decoder(network).eval()
    written = {HUMAN: pieces.human}
    for decoding in DECODINGS:
        with progress_bar(f"{run.folder}: {decoding} continuations", settings.prompts) as advance:
            written[decoding] = continue_prompts(
                model,
                pieces.prompts,
                pieces.human.size(1),
                decoding=decoding,
                separator=data.prepared(settings.split).separator,
                seed=settings.seed,
                advance=advance,
            )
    how = {
        "split": settings.split,
        "prompts": settings.prompts,
        "prompt_tokens": pieces.prompts.size(1),
        "new_tokens": pieces.human.size(1),
        "generation_seed": settings.seed,
        "batch_size": BATCH_SIZE,
        "frequent_types": FREQUENT_TYPES,
    }
    frequent = frequent_types(data.prepared("train").counts(network.vocab_size))
    texts = {source: decoded(data.tokenizer, ids) for source, ids in written.items()}
    records = []
    for source, ids in written.items():
        record = continuation_record(source, ids, texts[source], frequent)
        records.append({**record, **how, "sampling": DECODINGS.get(source), "rule": RULE})
    prompts = decoded(data.tokenizer, pieces.prompts)
    rows = [
        {"start": start, "prompt": prompts[i], **{source: of[i] for source, of in texts.items()}}
        for i, start in enumerate(pieces.starts)
    ]
    return records, rows
