"""Loading a causal language model that somebody has saved, without running code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .config import ConfigError

# As Hugging Face names them: in one file, or the list of the files they are spread over.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def load_pretrained(place: str | Path, *, hub: bool = False) -> Any:
    """A causal model in evaluation mode, from a folder with safetensors files or, with ``hub``, by its name there.

    Raises:
        ConfigError: there is no such model, it wants to run code of its own, or its files lack weights.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from .. import models  # noqa: F401 - registers our models with the Auto classes

    folder = Path(place)
    if not (hub and not folder.exists()) and not any((folder / name).is_file() for name in _WEIGHTS):
        raise ConfigError(f"expected a folder with {' or '.join(_WEIGHTS)} in it, got {folder}", key="run")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            str(place), trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except ArgumentError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"expected a causal model that loads without code of its own, which is never run, got {place} ({reason})",
            key="run",
        ) from error
    if info["missing_keys"]:  # the library would draw them at random
        raise ConfigError(f"{place} lacks weights of its model: {sorted(info['missing_keys'])}", key="run")
    return model.eval()
