"""All the numbers of a run's analysis."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from torch import nn

from ....errors import ArgumentError, ConfigError
from ....layers import Head, Loss
from ....layers.common.corpus_statistics import CorpusStatistics
from ....models import LMZooForCausalLM
from ...fit.lightning_cli import TrainingCLI
from ...fit.records import passport
from ...runs.load import ANALYSIS_FILE
from ...storage import finite, write_atomically
from ..subject import open_run
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
from .settings import AnalysisSettings


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


Record = dict[str, Any]

CONTINUATIONS_FILE = "continuations.jsonl"


def analyze_run(
    run: str | Path, settings: AnalysisSettings, progress: Progress, *, device: str = "cpu", allow_classes: bool = False
) -> list[Record]:
    """Analyse one run and write ``analysis.jsonl`` and ``continuations.jsonl`` into its folder; returns the records.

    Everything is computed in float32, whatever the run was trained in, and summed in float64.

    Raises:
        ConfigError: ``run`` holds no run with weights, its corpus no such split or too few pieces for the prompts, or
            its position ends before the continuations do.
    """
    cli, weights = open_run(run, allow_classes=allow_classes)
    data, network = cli.datamodule, cli.model.network
    if settings.split not in data.splits:
        raise ConfigError(f"the run's corpus has {', '.join(data.splits)} text, got {settings.split!r}", key="split")
    # cut before the long work, which a number that does not fit would waste
    pieces = _pieces(cli, settings) if settings.prompts else None
    network.to(device)
    card = passport(cli, settings.split) | {
        "train_text_sha256": data.prepared("train").meta["text_sha256"],
        "device": torch.device(device).type,
    }
    header = {"kind": "settings", "settings": settings.as_dict(), "weights": weights, "weights_sha256": None}
    file = Path(run) / weights
    if file.is_file():
        header["weights_sha256"] = _sha256(file)
    records = [header, *_decile_records(cli, settings.split, card, progress)]
    if pieces is not None:
        found, texts = _continuations(cli, settings, pieces, progress)
        records += [{**record, "passport": card} for record in found]
        _write_lines(Path(run) / CONTINUATIONS_FILE, texts)
    codes = code_record(network.head, data.prepared("train").counts(network.vocab_size))
    if codes is not None:
        records.append({**codes, "passport": card})
    _write_lines(Path(run) / ANALYSIS_FILE, records)
    return records


def is_analyzed(run: Path, settings: AnalysisSettings) -> bool:
    """Whether a run's folder holds the analysis of its present weights under these settings."""
    file, weights = run / ANALYSIS_FILE, run / "model.safetensors"
    if not (file.is_file() and weights.is_file()):
        return False
    with file.open(encoding="utf-8") as stream:
        header = json.loads(stream.readline())
    return bool(header.get("settings") == settings.as_dict() and header.get("weights_sha256") == _sha256(weights))


def _pieces(cli: TrainingCLI, settings: AnalysisSettings) -> Pieces:
    prompt_tokens, new_tokens = settings.lengths(cli.datamodule.context_length)
    try:
        # the last token is never fed back
        cli.model.check_length(prompt_tokens + new_tokens - 1, "new_tokens")
    except ArgumentError as error:
        raise ConfigError(f"prompts of {prompt_tokens} and continuations of {new_tokens} tokens: {error}") from None
    prepared = cli.datamodule.prepared(settings.split)
    return take_pieces(prepared, settings.prompts, prompt_tokens, new_tokens, settings.seed)


def _decile_records(cli: TrainingCLI, split: str, card: Record, progress: Progress) -> list[Record]:
    """One record a set of logits: as the head gives them and, after a loss that shifts them, debiased."""
    data, network = cli.datamodule, cli.model.network
    counts = data.prepared("train").counts(network.vocab_size)
    heads = {"plain": network.head, **_debiased(network.head, cli.model.loss, counts)}
    data.setup("validate" if split == "validation" else "test")
    batches = data.val_dataloader() if split == "validation" else data.test_dataloader()
    task = progress.add_task(f"{cli.run.folder}: loss by decile", total=len(batches))
    sums = score_by_type(network, heads, batches, lambda n: progress.advance(task, n))
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


def _continuations(
    cli: TrainingCLI, settings: AnalysisSettings, pieces: Pieces, progress: Progress
) -> tuple[list[Record], list[Record]]:
    """The records of the human, the greedy and the sampled continuations, and their texts, one row a prompt."""
    data, network = cli.datamodule, cli.model.network
    model = LMZooForCausalLM.from_decoder(network).eval()
    written = {HUMAN: pieces.human}
    for decoding in DECODINGS:
        task = progress.add_task(f"{cli.run.folder}: {decoding} continuations", total=settings.prompts)
        written[decoding] = continue_prompts(
            model,
            pieces.prompts,
            pieces.human.size(1),
            decoding=decoding,
            separator=data.prepared(settings.split).separator,
            seed=settings.seed,
            advance=lambda n, task=task: progress.advance(task, n),  # type: ignore[misc]
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


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_lines(file: Path, records: list[Record]) -> None:
    lines = [json.dumps(finite(record), allow_nan=False, ensure_ascii=False) for record in records]
    write_atomically(file, "".join(f"{line}\n" for line in lines))
