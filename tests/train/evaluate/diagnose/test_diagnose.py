"""``lmzoo diagnose``: its numbers are those of a dense computation from the exported weights."""

import json
import math
import struct

import lmzoo.models
import numpy as np
import pytest
import torch
from lmzoo.errors import ArgumentError, ConfigError
from lmzoo.layers import SoftplusAttention, reference
from lmzoo.train.cli import main
from lmzoo.train.evaluate.diagnose.command import diagnose
from lmzoo.train.evaluate.diagnose.record import histograms
from lmzoo.train.evaluate.diagnose.weights import read_weights, sampled_rows, surviving_share
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

LENGTH = 24


@pytest.fixture
def fitted(tiny, write, tmp_path):
    """Train a run with an attention part; returns its folder."""

    def fit(attention: str, *more: str):
        tiny["model"]["attention"] = attention
        folder = tmp_path / attention
        words = ["--run_dir", str(folder), "--checkpoint_every_n_steps", "12", *more]
        assert main(["fit", "--config", str(write(tiny, f"{attention}.yaml")), *words]) == 0
        return folder

    return fit


def report(folder, **options):
    out = diagnose(folder, **options)
    return out, json.loads((out / "diagnose.json").read_text())


def windows(folder, corpus, starts, length):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer((corpus / "validation.txt").read_text())["input_ids"]
    stream = [tokenizer.bos_token_id, *ids]
    return torch.tensor([stream[start : start + length] for start in starts])


@torch.no_grad()
def dense_weights(folder, ids, weigh):
    """(W, H, N, N) of each layer in float64: ``weigh(layer, query, key, values)`` on the projections, unit values."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    found = []

    def hook(layer, arguments):
        x = arguments[0]
        packed = layer.qkv(x).view(*x.shape[:2], 3 * layer.n_heads, layer.head_width).transpose(1, 2)
        query, key, _ = packed.split(layer.n_heads, dim=1)
        units = torch.eye(x.size(1), dtype=x.dtype).expand(*key.shape[:2], -1, -1)
        found.append(weigh(layer, query, key, units))

    for block in model.decoder.blocks:
        block.attention.register_forward_pre_hook(hook)
    model(ids)
    return found


def mean_entropy(w):
    return float(-torch.xlogy(w, w).sum(-1).mean())


def test_phases_and_entropy_of_complex_attention(fitted, corpus):
    run = fitted("ComplexAttention")
    out, record = report(run, lengths=[8, LENGTH], windows=3)
    assert out == run / "diagnose"
    assert record["weights"] == "model.safetensors"
    assert record["passport"]["split"] == "validation"

    weights = load_file(run / "model.safetensors")
    assert [p["layer"] for p in record["phases"]] == [0, 1]
    for phases in record["phases"]:
        for name in ("delta", "bias"):
            stored = weights[f"decoder.blocks.{phases['layer']}.attention.{name}"]
            np.testing.assert_array_equal(np.float32(phases[name]), stored.numpy())
    for name in ("delta", "bias"):
        histogram = record["phase_histograms"][name]
        assert histogram["layer_and_head"] == [[0, 0], [0, 1], [1, 0], [1, 1]]
        assert [sum(row) for row in histogram["channels"]] == [4] * 4, "every channel of head width 8 is counted"

    def weigh(layer, query, key, units):
        return reference.complex_attention(query, key, units, layer.delta, layer.bias)

    starts = record["window_starts"]
    assert len(starts) == 3
    assert starts[0] == 0
    for length in (8, LENGTH):
        dense = dense_weights(run, windows(run, corpus, starts, length), weigh)
        for layer in (0, 1):
            (own,) = (r for r in record["attention"] if (r["layer"], r["length"]) == (layer, length))
            assert own["sums_to_one"]
            assert own["rows_read"] == length
            assert own["entropy"] == pytest.approx(mean_entropy(dense[layer]), rel=1e-4)
            assert own["uniform_entropy"] == pytest.approx(math.lgamma(length + 1) / length)
            assert own["entropy"] < own["uniform_entropy"]
            by_head = [mean_entropy(dense[layer][:, h]) for h in range(2)]
            assert own["entropy_by_head"] == pytest.approx(by_head, rel=1e-4)
            last = own["by_row"][-1]
            rows = slice(last["first_row"] - 1, last["last_row"])
            assert last["last_row"] == length
            assert last["entropy"] == pytest.approx(mean_entropy(dense[layer][:, :, rows]), rel=1e-4)
            assert sum(g["rows_read"] for g in own["by_row"]) == length

    files = {"delta-by-channel", "delta-histogram", "bias-by-channel", "bias-histogram"}
    files |= {"entropy-by-length", "entropy-by-row"}
    assert {f.name for f in out.iterdir()} == {f"{name}.png" for name in files} | {"diagnose.json"}
    assert {p["file"] for p in record["plots"]} == {f"{name}.png" for name in files}
    for name in files:
        png = (out / f"{name}.png").read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", png[16:20])[0] == 1120, "560 points wide, drawn at 2x"


def test_surviving_keys_of_softplus_attention(fitted, corpus):
    run = fitted("SoftplusAttention")
    _, record = report(run, lengths=[LENGTH], windows=2)

    def weigh(layer, query, key, units, power=None):
        query, key = layer.position.transform(query, key, 0)
        return reference.softplus_attention(query, key, units, power=power)

    ids = windows(run, corpus, record["window_starts"], LENGTH)
    before = dense_weights(run, ids, weigh)
    after = dense_weights(run, ids, lambda *a: weigh(*a, power=15.0))
    count = torch.arange(1, LENGTH + 1, dtype=torch.float64)[:, None]
    kept = [(a * count > (count > 3)).double().sum(-1) / count[:, 0] for a in before]
    for own in record["threshold"]:
        share = kept[own["layer"]]
        assert own["power"] == 15.0
        assert own["free_rows"] == 3
        # one key in a row may stand at the threshold to the last digit of float32
        assert own["surviving_share"] == pytest.approx(float(share.mean()), abs=2e-3)
        assert own["surviving_share_by_head"] == pytest.approx(share.mean((0, 2)).tolist(), abs=4e-3)
        assert 0.05 < own["surviving_share"] < 0.95
        assert own["by_row"][0]["surviving_share"] > own["by_row"][-1]["surviving_share"]
    for own in record["attention"]:
        assert own["entropy"] == pytest.approx(mean_entropy(after[own["layer"]]), rel=1e-2)
    assert {"threshold-by-length.png", "threshold-by-row.png"} <= {p["file"] for p in record["plots"]}


def test_weights_that_do_not_sum_to_one_get_a_total_instead_of_an_entropy(fitted, corpus):
    run = fitted("SigmoidAttention", "--model.attention.init_args.train_length", "16")
    out, record = report(run, lengths=[LENGTH], windows=2)

    def weigh(layer, query, key, units):
        query, key = layer.position.transform(query, key, 0)
        return reference.sigmoid_attention(query, key, units, train_length=layer.train_length)

    dense = dense_weights(run, windows(run, corpus, record["window_starts"], LENGTH), weigh)
    for own in record["attention"]:
        total = dense[own["layer"]].sum(-1)
        assert not own["sums_to_one"]
        assert own["entropy"] is None
        assert own["total_weight"] == pytest.approx(float(total.mean()), rel=1e-4)
        assert own["total_weight_range"] == pytest.approx([float(total.min()), float(total.max())], rel=1e-4)
    assert {f.name for f in out.glob("*.png")} == {"total-weight-by-length.png", "total-weight-by-row.png"}
    assert "phases" not in record
    assert "threshold" not in record


def test_an_unfinished_run_is_read_from_its_newest_checkpoint(fitted, tmp_path):
    run = fitted("SoftmaxAttention")
    options = {"lengths": [LENGTH], "windows": 1}
    _, exported = report(run, output=tmp_path / "exported", **options)
    (run / "model.safetensors").unlink()
    _, checkpoint = report(run, output=tmp_path / "checkpoint", **options)
    assert checkpoint["weights"] == "step-00000012.ckpt"
    assert checkpoint["attention"] == exported["attention"]


def test_the_command_line_and_what_it_refuses(fitted, capsys):
    folder = fitted("SoftmaxAttention")
    run = str(folder)
    assert main(["diagnose", run, "--lengths", "8,16", "--windows", "1", "--rows", "4", "--split", "test"]) == 0
    record = json.loads((folder / "diagnose" / "diagnose.json").read_text())
    assert record["lengths"] == [8, 16]
    assert record["passport"]["split"] == "test"
    assert {r["rows_read"] for r in record["attention"]} == {4}

    for words, said in (
        (["--show", "phases"], "phases needs a ComplexAttention layer"),
        (["--show", "threshold"], "this run has SoftmaxAttention"),
        (["--show", "entropy"], "attention"),
        (["--lengths", "100000"], "the tokens of the validation split"),
        (["--lengths", "8;16"], "such as 256,512,1024"),
        (["--lengths", "0"], "at least 1"),
        (["--split", "dev"], "validation"),
        (["--rows", "0"], "1 or more"),
        (["--windows", "0"], "1 or more"),
    ):
        capsys.readouterr()
        assert main(["diagnose", run, *words]) == 2, words
        assert said in capsys.readouterr().err, words
    assert main(["diagnose", f"{run}/nothing"]) == 2
    assert "config.yaml" in capsys.readouterr().err


def test_a_position_that_ends_is_named_with_the_length(fitted):
    run = fitted("SoftmaxAttention", "--model.position", "LearnedPosition", "--model.position.max_length", "16")
    diagnose(run, lengths=[16], windows=1)
    with pytest.raises(ConfigError, match="windows of 17 tokens"):
        diagnose(run, lengths=[17], windows=1)


def test_sampled_rows():
    assert sampled_rows(5, 8) == [1, 2, 3, 4, 5]
    assert sampled_rows(8, 4) == [2, 4, 6, 8]
    rows = sampled_rows(1000, 50)
    assert len(set(rows)) == 50
    assert sum(rows) / 50 == pytest.approx(500.5, abs=0.6), "the middles of equal parts"


def test_histograms_of_equal_values_have_room():
    record = {"layer": 3, "delta": [[1.0, 1.0], [1.0, 1.0]]}
    histogram = histograms([record], "delta")
    assert histogram["edges"][0] == 0.5
    assert histogram["edges"][-1] == 1.5
    assert [sum(row) for row in histogram["channels"]] == [2, 2]
    assert histogram["layer_and_head"] == [[3, 0], [3, 1]]


def test_keys_survive_where_they_are_above_average():
    layer = SoftplusAttention(8, 1)
    query = torch.zeros(1, 1, 1, 8)
    query[..., 0] = 1.0
    key = torch.zeros(1, 1, 4, 8)
    key[0, 0, :, 0] = torch.tensor([1.0, -1.0, -1.0, -1.0])  # one key along the query, three against it
    assert surviving_share(layer, query, key).item() == 0.25
    assert surviving_share(layer, query, key[:, :, :3]).item() == 1.0, "three keys: a free row"
    assert surviving_share(layer, query, key[:, :, 1:].repeat(1, 1, 2, 1)).item() == 1.0, "equal weights: all stay"
    layer.free_rows = 4
    assert surviving_share(layer, query, key).item() == 1.0


def test_reading_leaves_the_model_as_it_was():
    decoder = lmzoo.models.Decoder(50, 16, 2, 2)
    ids = torch.randint(0, 50, (2, 9))
    before = decoder(ids)
    readings = read_weights(decoder, ids, most_rows=5)
    assert [r.rows for r in readings] == [sampled_rows(9, 5)] * 2
    assert all("attend" not in vars(block.attention) for block in decoder.blocks)
    assert torch.equal(decoder(ids), before)


def test_a_layer_whose_output_is_no_mix_of_values_is_refused():
    class Odd(lmzoo.layers.SoftmaxAttention):
        def attend(self, query, key, value, visibility):
            return super().attend(query, key, value, visibility).tanh() + 1.0

    class Around(lmzoo.layers.SoftmaxAttention):
        def forward(self, x, attention_mask=None, cache=None, layer_index=0):
            return self.output(x)

    ids = torch.randint(0, 50, (1, 9))
    for cls, said in ((Odd, "not the product of weights and values"), (Around, "does not work through attend")):
        decoder = lmzoo.models.Decoder(50, 16, 1, 2, attention=cls)
        with pytest.raises(ConfigError, match=said):
            read_weights(decoder, ids, most_rows=9)
    with pytest.raises(ArgumentError, match="show"):
        diagnose("nowhere", show=["entropy"])
