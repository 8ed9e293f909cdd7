"""The structured start through the ordinary training path, with the structure of a made-up tokenizer."""

import pytest
import torch
from lmzoo.errors import ArgumentError, ConfigError
from lmzoo.models import Decoder
from lmzoo.train.fit.command import prepare
from lmzoo.train.fit.init_from import check_number_embedding, start_from_structure
from lmzoo.train.fit.lightning_cli import TrainingCLI

# two triads with two magnitudes each
STRUCTURE = ([260, 261, 262, 263], [0, 0, 1, 1], [0, 1, 0, 1])


def test_bare_groups_alone_are_no_structure(monkeypatch):
    monkeypatch.setattr("lmzoo.tokenization.triad_structure", lambda tokenizer: ([3, 4], [0, 1], [0, 0]), raising=False)
    with pytest.raises(ArgumentError, match="number_embedding: expected independent for a tokenizer without marked"):
        start_from_structure(Decoder(9, 8, 1, 2), None, 0)


@pytest.fixture
def started(tiny, tmp_path, monkeypatch):
    """The embedding with which training of a run begins."""
    monkeypatch.setattr("lmzoo.tokenization.triad_structure", lambda tokenizer: STRUCTURE, raising=False)
    monkeypatch.setattr("lmzoo.train.fit.init_from._WITH_TRIADS", ("bpe",))

    def start(number_embedding: str, name: str) -> torch.Tensor:
        config = tiny | {"model": tiny["model"] | {"number_embedding": number_embedding, "learning_rate": 1e-30}}
        config["model"]["weight_decay"] = 0.0
        cli = TrainingCLI("fit", ["--run_dir", str(tmp_path / name), "--trainer.max_steps", "1"], config=config)
        prepare(cli)
        cli.trainer.fit(cli.model, cli.datamodule)
        return cli.model.network.embedding.weight.detach().clone()

    return start


def test_training_starts_from_shared_parts(started):
    independent, structured = started("independent", "a"), started("structured", "b")
    ids = torch.tensor(STRUCTURE[0])
    a, b, c, d = structured[ids]
    torch.testing.assert_close(b - a, d - c)
    first, second, third, fourth = independent[ids]
    assert not torch.allclose(second - first, fourth - third)
    others = torch.ones(len(structured), dtype=torch.bool)
    others[ids] = False
    assert torch.equal(structured[others], independent[others])
    assert torch.equal(structured, started("structured", "c"))


def test_a_tokenizer_without_triads_is_refused_before_anything_is_read(tiny, tmp_path):
    tiny["model"]["number_embedding"] = "structured"
    with pytest.raises(ConfigError, match=r"model\.number_embedding: expected independent, or data\.numbers: triadic"):
        TrainingCLI("fit", ["--run_dir", str(tmp_path / "run")], config=tiny)
    tiny["model"]["number_embedding"] = "sorted"
    with pytest.raises(ConfigError, match=r"model\.number_embedding: expected independent or structured"):
        TrainingCLI("fit", ["--run_dir", str(tmp_path / "run")], config=tiny)


def test_what_can_be_known_before_a_tokenizer_is_there():
    check_number_embedding("independent", "bpe", None)
    check_number_embedding("structured", "triadic", None)
    check_number_embedding("structured", "bpe", "some/folder")  # it brings a scheme of its own
    with pytest.raises(ArgumentError, match="numbers=triadic_suffix has no triad tokens"):
        check_number_embedding("structured", "triadic_suffix", None)
