"""``lmzoo analyze``: its figures are those of a dense computation and of the texts that it writes down."""

import json
import math

import lmzoo.models
import numpy as np
import pytest
import torch
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.config import load_yaml, write_yaml
from lmzoo.train.evaluate.analyze.command import analyze
from lmzoo.train.evaluate.analyze.continuations import (
    continue_prompts,
    distinct,
    frequent_types,
    sequence_repetition,
    take_pieces,
)
from lmzoo.train.evaluate.analyze.run import AnalysisSettings, code_record
from lmzoo.train.storage import read_lines
from transformers import AutoModelForCausalLM, AutoTokenizer

SETTINGS = AnalysisSettings(prompts=5, prompt_tokens=4, new_tokens=10)


@pytest.fixture
def fitted(tiny, write, tmp_path):
    """Train a run; returns its folder."""

    def fit(name="run", **model):
        tiny["model"] |= model
        folder = tmp_path / name
        words = ["--run_dir", str(folder), "--checkpoint_every_n_steps", "12"]
        assert main(["fit", "--config", str(write(tiny, f"{name}.yaml")), *words]) == 0
        return folder

    return fit


def records_of(folder, kind):
    return [record for record in read_lines(folder / "analysis.jsonl") if record["kind"] == kind]


def or_none(value):
    """What JSON holds of it."""
    return None if math.isnan(value) else value


class Split:
    """A tokenised split of which only what matters here is there."""

    def __init__(self, *lengths):
        self.split = "test"
        self.separator = 0
        self.separators = np.cumsum([0, *lengths[:-1]])
        self.length = sum(lengths)
        self.tokens = np.arange(self.length) + 100
        self.tokens[self.separators] = 0


def test_pieces_lie_inside_documents_and_follow_the_seed():
    split = Split(7, 30, 3, 12)
    pieces = take_pieces(split, 7, 2, 3, seed=0)
    # 7: one piece of 5, 30: six, 3: none, 12: two
    assert set(pieces.starts) < {0, 7, 12, 17, 22, 27, 32, 40, 45}
    assert pieces.starts == sorted(set(pieces.starts))
    whole = torch.cat([pieces.prompts, pieces.human], dim=1)
    assert (pieces.prompts.shape, pieces.human.shape) == ((7, 2), (7, 3))
    assert not (whole[:, 1:] == 0).any(), "a separator only at the beginning of a piece"
    for start, row in zip(pieces.starts, whole.tolist(), strict=True):
        assert row == split.tokens[start : start + 5].tolist()
    assert take_pieces(split, 7, 2, 3, seed=0).starts == pieces.starts
    assert {tuple(take_pieces(split, 3, 2, 3, seed=s).starts) for s in range(8)} != {tuple(pieces.starts[:3])}
    assert take_pieces(split, 9, 2, 3, seed=1).starts == [0, 7, 12, 17, 22, 27, 32, 40, 45]
    with pytest.raises(ConfigError, match=r"prompts: expected at most 9, the pieces of 2 \+ 3 tokens .* got 10"):
        take_pieces(split, 10, 2, 3, seed=0)


def test_continuations_are_those_of_one_step_at_a_time_without_the_separator():
    torch.manual_seed(0)
    decoder = lmzoo.models.Decoder(17, 16, 2, 2).eval()
    torch.nn.init.normal_(decoder.embedding.weight)
    model = lmzoo.models.LMZooForCausalLM.from_decoder(decoder).eval()
    prompts = torch.randint(1, 17, (40, 3))
    separator = int(
        decoder(prompts)[:, -1].argmax(-1).mode().values
    )  # what greedy decoding would begin with most often
    told = []
    how = {"separator": separator, "seed": 0}
    greedy = continue_prompts(model, prompts, 6, decoding="greedy", advance=told.append, **how)
    assert sum(told) == 40
    ids = prompts
    with torch.no_grad():
        for _ in range(6):
            logits = decoder(ids)[:, -1]
            logits[:, separator] = -math.inf
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(greedy, ids[:, 3:])

    before = torch.get_rng_state()
    sampled = continue_prompts(model, prompts, 6, decoding="sampled", **how)
    assert torch.equal(torch.get_rng_state(), before)
    assert sampled.shape == (40, 6)
    assert not (sampled == separator).any()
    torch.manual_seed(99)
    assert torch.equal(continue_prompts(model, prompts, 6, decoding="sampled", **how), sampled)
    other = continue_prompts(model, prompts, 6, decoding="sampled", separator=separator, seed=1)
    assert not torch.equal(other, sampled)


def test_sampling_is_from_the_whole_distribution_at_temperature_1():
    decoder = lmzoo.models.Decoder(60, 8, 1, 1).eval()  # more ids than generate()'s own top 50
    torch.nn.init.zeros_(decoder.embedding.weight)  # all logits are 0
    model = lmzoo.models.LMZooForCausalLM.from_decoder(decoder).eval()
    sampled = continue_prompts(model, torch.ones(64, 1).long(), 100, decoding="sampled", separator=0, seed=0)
    counts = torch.bincount(sampled.flatten(), minlength=60)[1:].double()
    expected = 6400 / 59
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 106, "58 degrees of freedom: passed by all but one seed in ten thousand"


def test_the_frequent_types_are_those_seen_most():
    counts = np.zeros(300, dtype=np.int64)
    counts[200:] = 5
    counts[7] = 4
    assert frequent_types(counts).tolist() == list(range(200, 300))
    counts[200:290] = 0
    assert frequent_types(counts).tolist() == [*range(290, 300), 7]


def test_a_run_from_the_command_line(fitted, corpus, capsys):
    run = fitted()
    words = ["--prompts", "5", "--prompt_tokens", "4", "--new_tokens", "10", "--device", "cpu"]
    assert main(["analyze", str(run), *words]) == 0
    said = capsys.readouterr().out
    assert "decile of training frequency" in said
    (deciles,) = records_of(run, "deciles")

    # the same figures from the exported model and the text
    tokenizer = AutoTokenizer.from_pretrained(run)
    bos = tokenizer.bos_token_id
    ids = {s: [bos, *tokenizer((corpus / f"{s}.txt").read_text())["input_ids"]] for s in ("train", "test")}
    model = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float64).eval()
    counts = np.bincount(ids["train"][1:], minlength=model.config.vocab_size)
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], i))
    begin = dict(zip(order, np.cumsum([0, *counts[order]]), strict=False))
    nll, tokens = [0.0] * 11, [0] * 11
    for first in range(0, len(ids["test"]) - 1, 16):
        window = torch.tensor([ids["test"][first : first + 17]])
        with torch.no_grad():
            log_p = model(window[:, :-1]).logits.log_softmax(-1)[0]
        for t, target in enumerate(window[0, 1:].tolist()):
            k = 10 if counts[target] == 0 else int(10 * begin[target] // counts.sum())
            nll[k] -= float(log_p[t, target])
            tokens[k] += 1
    assert [b["tokens"] for b in deciles["buckets"]] == tokens
    for bucket, total in zip(deciles["buckets"], nll, strict=True):
        assert bucket["nll"] == pytest.approx(total, rel=1e-5)
    assert deciles["nll"] == sum(b["nll"] for b in deciles["buckets"])
    results = json.loads((run / "results.json").read_text())
    test_record = next(r for r in results["records"] if r["split"] == "test")
    assert deciles["nll"] == pytest.approx(test_record["nll"], rel=1e-6)
    assert [deciles[k] for k in ("tokens", "words", "bytes")] == [test_record[k] for k in ("tokens", "words", "bytes")]
    for key in ("text_sha256", "tokenizer_sha256", "train_length", "parameters", "versions", "commit", "dtype", "seed"):
        assert key in deciles["passport"], key

    # the statistics are those of the texts
    texts = [json.loads(line) for line in (run / "continuations.jsonl").read_text().splitlines()]
    assert len(texts) == 5
    stream = ids["test"]
    for row in texts:
        assert tokenizer.decode(stream[row["start"] : row["start"] + 4]) == row["prompt"]
        assert tokenizer.decode(stream[row["start"] + 4 : row["start"] + 14]) == row["human"]
    records = {r["source"]: r for r in records_of(run, "continuations")}
    assert set(records) == {"human", "greedy", "sampled"}
    for source, record in records.items():
        assert record["tokens"] == 50
        written = [row[source].split() for row in texts]
        assert record["words"] == sum(map(len, written))
        for n in (1, 2, 3):
            assert record[f"word_distinct_{n}"] == or_none(distinct(written, n))
        value, over = sequence_repetition(written)
        assert record["word_seq_rep_4_over"] == over
        assert record["word_seq_rep_4"] == or_none(value)
        assert record["seq_rep_4_over"] == 5
    assert (records["human"]["sampling"], records["greedy"]["sampling"]) == (None, {"do_sample": False})
    assert records["sampled"]["sampling"]["temperature"] == 1.0
    human = [stream[row["start"] + 4 : row["start"] + 14] for row in texts]
    frequent = set(order[:100])
    assert records["human"]["distinct_2"] == distinct(human, 2)
    assert records["human"]["rare_share"] == sum(t not in frequent for row in human for t in row) / 50
    prompt = torch.tensor([stream[row["start"] : row["start"] + 4] for row in texts])
    suppressed = continue_prompts(model, prompt, 10, decoding="greedy", separator=bos, seed=0)
    assert [tokenizer.decode(row) for row in suppressed.tolist()] == [row["greedy"] for row in texts]
    assert (run / "analysis" / "loss-by-decile.png").read_bytes()[:4] == b"\x89PNG"


def test_an_analysis_is_repeated_to_the_last_byte_and_known_to_be_there(fitted):
    run = fitted()
    assert SETTINGS.missing(run)
    analyze([run], SETTINGS, device="cpu")
    first = [(run / name).read_bytes() for name in ("analysis.jsonl", "continuations.jsonl")]
    torch.manual_seed(1234)
    analyze([run], SETTINGS, device="cpu")
    assert [(run / name).read_bytes() for name in ("analysis.jsonl", "continuations.jsonl")] == first
    assert not SETTINGS.missing(run)
    assert AnalysisSettings(prompts=6, prompt_tokens=4, new_tokens=10).missing(run)
    with (run / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    assert SETTINGS.missing(run)


def test_several_runs_are_drawn_together(fitted, tmp_path):
    runs = [fitted("a"), fitted("b", position="ALiBi")]
    out = analyze(runs, AnalysisSettings(split="validation", prompts=0), output=tmp_path / "plots", device="cpu")
    assert {f.name for f in out.iterdir()} == {"loss-by-decile.png", "loss-by-decile-difference.png"}
    for run in runs:
        assert [r["kind"] for r in read_lines(run / "analysis.jsonl")] == ["settings", "deciles"]
        assert not (run / "continuations.jsonl").exists()


def test_a_loss_that_shifts_the_logits_is_also_scored_without_the_shift(fitted, corpus):
    run = fitted()
    # what the weights were trained with is no matter here
    config = load_yaml(run / "config.yaml")
    config["model"]["loss"] = {"class_path": "lmzoo.layers.PowerLawDecay", "init_args": {"alpha": 0.5}}
    write_yaml(run / "config.yaml", config)
    analyze([run], AnalysisSettings(prompts=0), device="cpu")
    plain, debiased = records_of(run, "deciles")
    assert (plain["logits"], debiased["logits"]) == ("plain", "debiased")
    tokenizer = AutoTokenizer.from_pretrained(run)
    ids = tokenizer((corpus / "train.txt").read_text())["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float64).eval()
    counts = torch.bincount(torch.tensor(ids), minlength=model.config.vocab_size)
    log_weight = -0.5 * (counts + 1 + 1e-7).double().log()
    stream = torch.tensor([tokenizer.bos_token_id, *tokenizer((corpus / "test.txt").read_text())["input_ids"]])
    total = 0.0
    for first in range(0, len(stream) - 1, 16):
        window = stream[first : first + 17]
        with torch.no_grad():
            logits = model(window[None, :-1]).logits[0] - log_weight
        total += float(torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum"))
    assert debiased["nll"] == pytest.approx(total, rel=1e-5)
    assert debiased["nll"] != pytest.approx(plain["nll"], rel=1e-3)
    assert [b["tokens"] for b in debiased["buckets"]] == [b["tokens"] for b in plain["buckets"]]


def test_code_sizes_are_read_from_the_heads_buffer():
    class Codes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mapping", torch.tensor([0, 2, 2, 0, 2, 1]))

    head = torch.nn.Module()
    head.codebook_size, head.codes = 4, Codes()
    record = code_record(head, np.array([5, 1, 0, 2, 0, 0]))
    assert record["sizes"] == [2, 1, 3, 0]
    assert record["training_tokens"] == [7, 0, 1, 0]
    assert (record["largest"], record["singletons"], record["without_ids"]) == (3, 1, 1)
    assert record["without_training_tokens"] == 2
    assert code_record(lmzoo.layers.LinearHead(4, 6), np.ones(6, dtype=np.int64)) is None


def test_what_it_refuses(fitted, capsys, tmp_path):
    run = str(fitted(position={"class_path": "LearnedPosition", "init_args": {"max_length": 16}}))
    for words, said in (
        ([run, "--split", "dev"], "split: expected validation or test"),
        ([run, "--prompts", "-1"], "prompts: expected 0 or more"),
        ([run, "--prompts", "100000"], "prompts: expected at most"),
        ([run, "--new_tokens", "0"], "new_tokens: expected null, or 1 or more"),
        ([run, "--new_tokens", "400"], "at most 16, the position's max_length"),
        ([run, "--device", "tpu"], "device: expected auto, cpu or cuda"),
        ([run, run], "a run is given twice"),
        ([str(tmp_path)], "expected the folder of a run"),
    ):
        capsys.readouterr()
        assert main(["analyze", *words]) == 2, words
        assert said in capsys.readouterr().err, words
    assert not (tmp_path / "run" / "analysis.jsonl").exists()


def test_lengths_stay_within_the_training_length_unless_asked_for():
    assert AnalysisSettings().lengths(256) == (32, 96)
    assert AnalysisSettings().lengths(64) == (16, 48)
    assert AnalysisSettings().lengths(2) == (1, 1)
    assert AnalysisSettings(prompt_tokens=8, new_tokens=500).lengths(64) == (8, 500)
    assert AnalysisSettings(prompts=3).as_words() == ["--split", "test", "--prompts", "3", "--seed", "0"]
