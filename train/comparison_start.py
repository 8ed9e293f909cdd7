"""The trained models that a comparison's runs start from: of each seed its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .config import Config, ConfigError, Places, merge

SEED = "{seed}"
"""What the seed of each run takes the place of, in ``init_from`` alone."""

_KEY = "init_from"


def of_seed(config: Config, seed: int) -> Config:
    """A run's configuration with its seed where ``init_from`` leaves a place for it."""
    start = config.get(_KEY)
    return config | {_KEY: start.replace(SEED, str(seed))} if isinstance(start, str) else config


def check_starts(base: Config, variants: Mapping[str, Config], raw: Config, places: Places) -> None:
    """Refuse a start that cannot be told for every run, or that has seen what trials of learning rates keep back.

    Args:
        base: with the file's overrides and those of the command line merged in.
        variants: name -> overrides of ``base``.
        raw: the comparison file.
        places: where each key stands.

    Raises:
        ConfigError: naming the key and what was expected.
    """
    for name, overrides in variants.items():
        start = merge(base, overrides).get(_KEY)
        if not start:
            continue
        if re.search(r"[{}]", str(start).replace(SEED, "")):
            message = f"expected a folder, in which {SEED} stands for the seed of each run, got {start!r}"
        elif raw.get("tuning"):
            message = (
                f"expected null where there is tuning, got {start!r}: that model was trained on the documents which "
                "trials keep back to choose a learning rate; leave tuning out, and set model.learning_rate"
            )
        else:
            continue
        written = (f"variants.{name}", raw["variants"][name]), ("overrides", raw.get("overrides"))
        keys = [f"{part}.{_KEY}" for part, mapping in written if _KEY in (mapping or {})]
        raise ConfigError(message, key=keys[0] if keys else _KEY, place=places.find(keys[0]) if keys else None)
