"""What several commands read alike from the command line."""

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.train.arguments import check_device, read_lengths
from lmzoo.train.cli import main


def test_lengths_are_numbers_with_commas():
    assert read_lengths("256,512, 1024") == read_lengths("[256,512,1024]") == [256, 512, 1024]
    for text in ("", "256;512", "256,", "2.5"):
        with pytest.raises(ArgumentError, match="whole numbers with commas"):
            read_lengths(text)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "meta", "CPU"])
def test_a_device_of_another_name_is_refused(name):
    with pytest.raises(ArgumentError, match="expected cpu, cuda or cuda:N, got"):
        check_device(name)


@pytest.mark.parametrize(("gpus", "good"), [(0, ["cpu"]), (2, ["cpu", "cuda", "cuda:0", "cuda:1"])])
def test_a_device_has_to_be_there(monkeypatch, gpus, good):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "cuda:2"):
        if name in good:
            assert check_device(name) == name
        else:
            with pytest.raises(ArgumentError, match="GPU"):
                check_device(name)


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "softplus"],
        ["extrapolate", "nowhere", "--lengths", "8"],
        ["probe", "nowhere", "--lengths", "8"],
    ],
    ids=lambda words: words[0],
)
def test_commands_tell_a_wrong_device_before_they_work(words, capsys):
    assert main([*words, "--device", "gpu"]) == 2
    assert "device: expected cpu, cuda or cuda:N, got 'gpu'" in capsys.readouterr().err
