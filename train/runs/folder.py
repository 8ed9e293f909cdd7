"""The folder a run leaves behind, and whether it can be begun, resumed or is finished.

====================== ==============================================================================
file                   holds
====================== ==============================================================================
``config.yaml``        the resolved configuration: every key with its value
``environment.json``   versions, commit, machine of the latest start
``metrics.jsonl``      training and validation rows (:mod:`lmzoo.train.fit.metrics_log`)
``checkpoints/``       the newest full training states
``logs/``              the same rows for TensorBoard and as CSV
``model.safetensors``  weights, with ``config.json`` and the tokenizer: a Hugging Face model folder
``results.json``       final records with passports; written last, so it marks a finished run
``init_from.json``     the model that training started from, if any, and which of its tensors were loaded
``loss.safetensors``   log weights of a loss that weighs tokens, for ``lmzoo validate --debias``
``failure.json``       why a run stopped, if it did
====================== ==============================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from ...errors import ConfigError
from ..config import Config, differing_keys, first_of, load_yaml, write_yaml
from ..storage import finite, held, is_held, write_atomically
from .environment import environment

_NAME = re.compile(r"step-(\d+)\.ckpt")


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The complete checkpoints of a folder, oldest first; leftovers of a killed write have other names."""
    found = [(int(m[1]), p) for p in Path(folder).glob("*.ckpt") if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found)]


def sweep(folder: str | os.PathLike[str]) -> None:
    """Delete what a killed write has left behind."""
    for leftover in Path(folder).glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


# what may change between a run's start and its resumption without changing its numbers
HARMLESS = (
    "run_dir",
    "checkpoint_every_n_steps",
    "data.num_workers",
    "data.cache_dir",
    "trainer.enable_progress_bar",
    "trainer.default_root_dir",
)


class RunFolder:
    """One run's folder.

    Args:
        folder: made when the run begins.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.config_file = self.folder / "config.yaml"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.results_file = self.folder / "results.json"
        self.failure_file = self.folder / "failure.json"
        self.origin_file = self.folder / "init_from.json"
        self.checkpoint_folder = self.folder / "checkpoints"
        self.log_folder = self.folder / "logs"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end and its records are written."""
        return self.results_file.is_file()

    def results(self) -> dict[str, Any]:
        return self._read(self.results_file, "; delete it to finish the run again")

    def origin(self) -> dict[str, Any]:
        return self._read(self.origin_file)

    @staticmethod
    def _read(file: Path, remedy: str = "") -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}{remedy}", place=str(file)) from None
        return content

    def begin(self, config: Config) -> Path | None:
        """Make or take up the folder; returns the checkpoint to resume from, or None at the start.

        Raises:
            ConfigError: the folder holds a run of another configuration.
        """
        if self.config_file.exists():
            if self._has_begun():
                self._refuse_other(config)
        elif self.folder.exists() and any(p.name not in ("log.txt", ".lock") for p in self.folder.iterdir()):
            raise ConfigError(f"{self.folder} is not empty and holds no run; give another --run_dir", key="run_dir")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_yaml(self.config_file, config)
        write_atomically(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
        self.failure_file.unlink(missing_ok=True)
        sweep(self.checkpoint_folder)
        return self.newest_checkpoint()

    def _has_begun(self) -> bool:
        """Whether there is anything to lose: a start that failed on its data or arguments leaves nothing."""
        return self.finished or bool(checkpoints(self.checkpoint_folder)) or bool(read_text(self.metrics_file))

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Hold the folder, so that two processes never write into one run. Raises ConfigError if another holds it."""
        message = f"another process is at work in {self.folder}; wait for it, or give another --run_dir"
        return held(self.folder, ConfigError(message, key="run_dir"))

    @property
    def in_use(self) -> bool:
        """Whether a process holds the folder; see :func:`lmzoo.train.storage.is_held`."""
        return is_held(self.folder)

    def _refuse_other(self, config: Config) -> None:
        other = load_yaml(self.config_file)
        keys = differing_keys(other, config, ignore=HARMLESS)
        if keys:
            shown = first_of(keys)
            raise ConfigError(
                f"{self.folder} holds a run of another configuration (differs in {shown}); give another --run_dir",
                key="run_dir",
            )

    def newest_checkpoint(self) -> Path | None:
        """The newest checkpoint that loads; a damaged one is passed over with a warning."""
        for path in reversed(checkpoints(self.checkpoint_folder)):
            try:
                torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except Exception as error:  # whatever is wrong with it, the one before may be right
                warnings.warn(f"{path} cannot be read ({error}); trying the one before", stacklevel=2)
            else:
                return path
        return None

    def fail(self, reason: str, **details: Any) -> None:
        """Leave word of why the run stopped.

        The first word since the run began stays: where one process of several fails, the others lose their connection.
        """
        if self.failure_file.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.failure_file, json.dumps({"reason": reason, **details}, indent=2) + "\n")

    def finish(self, results: dict[str, Any]) -> None:
        """Write the final records; the run is finished from here on."""
        text = json.dumps(finite(results), indent=2, allow_nan=False)
        # a list of numbers, such as the sums of documents, stands on one line
        text = re.sub(r"\[\s+([^\[\]{}\"]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
        write_atomically(self.results_file, f"{text}\n")


def read_text(file: Path) -> str:
    """A file's text; empty if there is no such file."""
    return file.read_text(encoding="utf-8") if file.is_file() else ""
