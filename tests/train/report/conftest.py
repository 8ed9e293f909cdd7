"""Run folders made by hand, as ``lmzoo fit`` leaves them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lmzoo.train.report.document import Document
from lmzoo.train.report.write import write_report


def _record(split: str, nll_per_token: float, seed: int, passport: dict[str, Any], **changes: Any) -> dict[str, Any]:
    tokens, words, n_bytes = 20_000, 12_000, 80_000
    nll = nll_per_token * tokens
    record = {
        "split": split,
        "protocol": "non_overlapping",
        "length": 128,
        "stride": None,
        "nll": nll,
        "tokens": tokens,
        "words": words,
        "bytes": n_bytes,
        "cross_entropy": nll / tokens,
        "token_perplexity": math.exp(nll / tokens),
        "word_perplexity": math.exp(nll / words),
        "bits_per_byte": nll / (math.log(2) * n_bytes),
        "passport": {
            "corpus": "python-docs",
            "text_sha256": "ab" * 32 if split == "validation" else "cd" * 32,
            "tokenizer_sha256": "ef" * 32,
            "detokenize": False,
            "train_length": 128,
            "dtype": "32-true",
            "seed": seed,
            "parameters": 1_312_512,
            "embedding_parameters": 524_288,
            "head_parameters": 0,
            "versions": {"python": "3.11.2", "torch": "2.13.0"},
            "commit": "0123456789abcdef0123456789abcdef01234567",
            **passport,
        },
    }
    return record | changes


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """``make_run(output, variant, seed, loss=..., state=..., passport=..., changes=..., rows=...)``."""

    def make(
        output: Path,
        variant: str,
        seed: int,
        *,
        loss: float = 5.0,
        state: str = "finished",
        passport: dict[str, Any] | None = None,
        changes: dict[str, Any] | None = None,
        results: dict[str, Any] | None = None,
        rows: int = 30,
    ) -> Path:
        folder = output / variant / f"seed-{seed}"
        folder.mkdir(parents=True)
        config = {"seed_everything": seed, "data": {"source": "python-docs"}, "trainer": {"max_steps": 10 * rows}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        environment = {
            "versions": {"torch": "2.13.0"},
            "processor": "x86_64",
            "cores": 2,
            "torch_threads": 2,
            "gpus": [],
        }
        (folder / "environment.json").write_text(json.dumps(environment))
        noise = random.Random(f"{variant}{seed}")
        lines = []
        for i in range(1, rows + 1):
            value = loss + 3.5 * math.exp(-i / (0.2 * rows)) + noise.gauss(0, 0.05)
            lines.append(
                {
                    "split": "train",
                    "step": 10 * i,
                    "tokens": 20_480 * i,
                    "seconds": 3.2 * i,
                    "loss": value,
                    "cross_entropy": value,
                    "learning_rate": 1e-3,
                    "grad_norm": 1.0,
                    "tokens_per_second": 6400.0,
                }
            )
            if i % max(rows // 5, 1) == 0:
                value = loss + 3.5 * math.exp(-i / (0.2 * rows))
                row = {"split": "validation", "step": 10 * i, "tokens_seen": 20_480 * i, "cross_entropy": value}
                lines.append(row | {"token_perplexity": math.exp(value), "bits_per_byte": value})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if state == "failed":
            failure = {"step": 17, "layer": "blocks.1.attention", "reason": "the loss is nan"}
            (folder / "failure.json").write_text(json.dumps(failure))
        if state == "finished":
            record_changes, of_passport = changes or {}, passport or {}
            final = {
                "finished": True,
                "steps": 10 * rows,
                "train_tokens": 20_480 * rows,
                "seconds": 3.2 * rows,
                "tokens_per_second": 6400.0 + 100 * seed,
                "peak_memory_mb": 812.0 + seed,
                "peak_memory_is": "resident memory of the process",
                "parameters": {
                    "total": 1_312_512,
                    "embedding": 524_288,
                    "head": 0,
                    "tied": 524_288,
                    "other": 788_224,
                    "head_table_bytes": 32_768,
                },
                "flops_per_token": 9_876_543.0,
                "records": [
                    _record("validation", loss, seed, of_passport, **record_changes),
                    _record("test", loss + 0.1, seed, of_passport, **record_changes),
                ],
            }
            (folder / "results.json").write_text(json.dumps(final | (results or {})))
        return folder

    return make


@pytest.fixture
def make_comparison(tmp_path: Path) -> Callable[..., Path]:
    """``make_comparison(variants, seeds)`` writes ``comparison.yaml`` and returns the folder; the first is baseline."""

    def make(
        variants: dict[str, Any] | list[str],
        seeds: list[int],
        name: str = "three positions",
        folder: str = "comparison",
    ) -> Path:
        named = (
            variants
            if isinstance(variants, dict)
            else {variant: {"model": {"position": variant}} for variant in variants}
        )
        return _write_comparison(tmp_path / folder, named, seeds, name)

    return make


def _write_comparison(output: Path, variants: dict[str, Any], seeds: list[int], name: str) -> Path:
    output.mkdir()
    asked = {"name": name, "base": {}, "variants": variants, "baseline": next(iter(variants)), "seeds": seeds}
    (output / "comparison.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    return output


@pytest.fixture
def three_by_two(make_comparison: Callable[..., Path], make_run: Callable[..., Path]) -> Path:
    """Three variants, two seeds, all finished: rotary 5.0 and 5.02, alibi 4.9 and 4.96, none 5.2 and 5.16 nats."""
    output = make_comparison(
        {"rotary": None, "alibi": {"model": {"position": "ALiBi"}}, "none": {"model": {"position": "NoPosition"}}},
        [0, 1],
    )
    for variant, losses in {"rotary": (5.0, 5.02), "alibi": (4.9, 4.96), "none": (5.2, 5.16)}.items():
        for seed, loss in enumerate(losses):
            make_run(output, variant, seed, loss=loss)
    return output


@pytest.fixture(scope="session")
def claimed(make_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Path]:
    """The report of three seeds that decides two claims: ``complex`` is better, with the same parameters.

    The other claims of that name are open, and a run of ``alibi`` failed.
    """
    variants = {
        "rotary": None,
        "complex": {"model": {"attention": "ComplexAttention"}},
        "alibi": {"model": {"position": "ALiBi"}},
    }
    output = _write_comparison(tmp_path_factory.mktemp("claimed") / "runs", variants, [0, 1, 2], "attention")
    for seed in range(3):
        make_run(output, "rotary", seed, loss=5.0 + 0.01 * seed)
        make_run(output, "complex", seed, loss=4.9 + 0.012 * seed, results={"tokens_per_second": 5000.0 + 90 * seed})
        make_run(output, "alibi", seed, loss=4.99 + 0.02 * seed, state="failed" if seed == 2 else "finished")
    return write_report(output)
