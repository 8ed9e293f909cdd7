"""A small corpus and configuration that train in seconds, shared by the tests of training."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

WORDS = "the model of a small text that we make here is read by rows and words come again in other orders".split()


def sentences(n: int, seed: int) -> str:
    draw = random.Random(seed)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(5, 14))) + "." for _ in range(n)]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A folder with one text file for each split."""
    folder = tmp_path_factory.mktemp("corpus")
    for i, (split, n) in enumerate({"train": 160, "validation": 40, "test": 40}.items()):
        (folder / f"{split}.txt").write_text(sentences(n, i))
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny(corpus, cache) -> dict:
    """A run configuration of about 10 thousand parameters."""
    return {
        "seed_everything": 3,
        "model": {"d_model": 16, "n_layers": 2, "n_heads": 2, "learning_rate": 0.01, "warmup_steps": 5},
        "data": {
            "source": {split: str(corpus / f"{split}.txt") for split in ("train", "validation", "test")},
            "vocab_size": 270,
            "context_length": 16,
            "batch_size": 4,
            "cache_dir": str(cache),
        },
        "trainer": {"max_steps": 12, "log_every_n_steps": 1, "val_check_interval": 6, "accelerator": "cpu"},
    }


@pytest.fixture
def write(tmp_path):
    """Write a mapping as YAML; returns the path."""

    def _write(config: dict, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    return _write


@pytest.fixture
def lmzoo(cache):
    """Run the ``lmzoo`` command in a child process, as a user does."""

    def run(*words, code: int | None = 0, program: str | None = None) -> subprocess.CompletedProcess:
        start = [sys.executable, "-c", program] if program else [sys.executable, "-m", "lmzoo.train"]
        environment = {**os.environ, "LMZOO_CACHE": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        done = subprocess.run(
            [*start, *map(str, words)], capture_output=True, text=True, env=environment, timeout=240, check=False
        )
        if code is not None:
            assert done.returncode == code, done.stdout + done.stderr
        return done

    return run
