"""Causal models from safetensors files, without running code that comes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from ...errors import ArgumentError, ConfigError
from ...models import LMZooConfig, LMZooForCausalLM
from ..storage import read_json

# As Hugging Face names them: in one file, or the list of the files they are spread over.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def load_pretrained(place: str | Path, *, hub: bool = False, allow_classes: bool = False) -> Any:
    """A causal model in evaluation mode, from a folder with safetensors files or, with ``hub``, by its name there.

    With ``allow_classes`` a model of ours may name parts from outside lmzoo, which are imported. Code that comes with
    a model is not run even then.

    Raises:
        ConfigError: there is no such model, it wants to run code of its own, or its files lack weights.
    """
    folder = Path(place)
    if not (hub and not folder.exists()) and not any((folder / name).is_file() for name in _WEIGHTS):
        raise ConfigError(f"expected a folder with {' or '.join(_WEIGHTS)} in it, got {folder}", key="run")
    transformers.utils.logging.disable_progress_bar()
    try:
        # ours alone are trusted: what allow_classes stands for are class paths, not the code in a model's folder
        ours = allow_classes and (read_json(folder / "config.json") or {}).get("model_type") == LMZooConfig.model_type
        model, info = (LMZooForCausalLM if ours else AutoModelForCausalLM).from_pretrained(
            str(place), trust_remote_code=ours, use_safetensors=True, output_loading_info=True
        )
    except ArgumentError as error:
        if error.argument != "class_path" or allow_classes:
            raise
        raise ConfigError(
            f"{place} holds {error.given}, which is outside lmzoo, and loading it would run its code; "
            "add --allow_classes to the command line if you trust it",
            key="run",
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"expected a causal model that loads without code of its own, which is never run, got {place} ({reason})",
            key="run",
        ) from error
    if info["missing_keys"]:  # the library would draw them at random
        raise ConfigError(f"{place} lacks weights of its model: {sorted(info['missing_keys'])}", key="run")
    return model.eval()
