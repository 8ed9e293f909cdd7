"""What a part promises in a configuration."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from unittest import SkipTest

from ..layers.testing import Candidate, Promise
from ..models.contract import described, sizes_of
from .config import write_yaml
from .training_cli import TrainingCLI

# byte-level vocabularies have at least the bytes
_FEWEST_TOKENS = 300


def check_yaml(slot: str, candidate: Candidate) -> None:
    """A YAML file that names the class builds it with its arguments, and what the run would store is the same again."""
    if slot == "norm":
        raise SkipTest("a configuration has no key for the norm")
    part = described(candidate)
    d_model, n_heads = sizes_of(candidate)
    vocab_size = max(_FEWEST_TOKENS, int(candidate.arguments.get("vocab_size", 0)))
    config = {
        "model": {"d_model": d_model, "n_heads": n_heads, "n_layers": 1, slot: part},
        "data": {"source": "python-docs", "vocab_size": vocab_size, "context_length": 16, "batch_size": 2},
        "trainer": {"accelerator": "cpu", "max_steps": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.yaml"
        write_yaml(file, config)
        cli = TrainingCLI("fit", ["--config", str(file), "--allow_classes"])
    cli.model.configure_model()
    modules = [cli.model.loss] if slot == "loss" else list(cli.model.network.modules())
    assert any(type(module) is candidate.part for module in modules), "the model that was built does not hold the part"
    resolved = cli.resolved()
    stored = resolved["model"][slot]
    assert stored["class_path"] == part["class_path"], f"{part['class_path']} was stored as {stored['class_path']}"
    for name, value in part["init_args"].items():
        kept = stored.get("init_args", {}).get(name, "nothing")
        same = kept == value or isinstance(value, dict)  # a part in a part is stored with its defaults
        assert same, f"the argument {name} was {value!r} in the file and {kept!r} in what the run stores"
    again = TrainingCLI("fit", ["--allow_classes"], config=resolved).resolved()
    assert again == resolved, "what the run stores gives another configuration when it is read"


def yaml_promise(slot: str) -> Promise:
    """The promise about configurations of a part of this slot."""
    return Promise(
        "yaml",
        "A YAML file with its class_path and init_args builds it",
        "Neither lmzoo fit nor lmzoo compare can use the part.",
        "Give every constructor argument a type hint (int, float, bool, str, a list of these, or a part) and a default "
        "that has this type; what needs data or a device belongs into a method that is called later, since a model is "
        "first built on torch's meta device, to count its parameters.",
        partial(check_yaml, slot),
    )
