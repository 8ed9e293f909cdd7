"""Probes give the figures that are known of a perfect copier, of a model that knows nothing, and of brute force."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import LearnedPosition
from lmzoo.models import Decoder, LMZooForCausalLM
from lmzoo.train.evaluate.interventions import parse_interventions
from lmzoo.train.evaluate.probe.copy_probe import CopyProbe
from lmzoo.train.evaluate.probe.passkey_probe import PasskeyProbe
from lmzoo.train.evaluate.probe.probe import ProbeModel
from lmzoo.train.evaluate.probe.run import run_probes
from lmzoo.train.evaluate.probe.start_probe import StartProbe
from lmzoo.train.figures.statistics.spread import mean_interval, share_interval
from scipy.stats import binomtest, ttest_1samp
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from .conftest import TEXT

LENGTHS = [100, 157]
DOCUMENTS = [TEXT[3 * i :] for i in range(5)] + ["short", TEXT[:200]]


def gpt2(vocab: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=160, **ends)).eval()


def llama(vocab: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab, initializer_range=0.3, **sizes)).eval()


def test_a_perfect_copier(copier: Any, tokenizer: Any) -> None:
    probes = [CopyProbe(6), PasskeyProbe(3, depths=(0.0, 0.4, 1.0), distractors=3)]
    records = run_probes(copier(), tokenizer, lengths=LENGTHS, probes=probes)
    copies = [r for r in records if r["probe"] == "copy"]
    assert [(r["length"], r["distance"]) for r in copies] == [
        (100, 16), (100, 32), (100, 64), (100, 83),
        (157, 16), (157, 32), (157, 64), (157, 128), (157, 140),
    ]  # fmt: skip
    for r in copies:
        assert r["accuracy"] == 1.0
        assert 0.5 < r["accuracy_low"] < 1.0 == r["accuracy_high"]
        assert r["loss"] < 1e-6
        assert r["first_loss"] == pytest.approx(math.log(len(tokenizer)), rel=1e-4)
        assert r["scored_tokens"] == 6 * 12
    found = [r for r in records if r["probe"] == "passkey"]
    assert [(r["length"], r["depth"]) for r in found] == [(n, d) for n in LENGTHS for d in (0.0, 0.4, 1.0)]
    for r in found:
        assert (r["accuracy"], r["ranked_first"]) == (1.0, 1.0)
        assert r["key_loss"] < 1e-4
        assert r["margin"] > 30.0


def test_a_copier_of_short_reach(copier: Any, tokenizer: Any) -> None:
    probes = [CopyProbe(4), PasskeyProbe(2, depths=(0.0, 1.0))]
    records = run_probes(copier(80), tokenizer, lengths=[220], probes=probes)
    assert {r["distance"]: r["accuracy"] for r in records[:5]} == {16: 1.0, 32: 1.0, 64: 1.0, 128: 0.0, 203: 0.0}
    far, near = records[5:]
    assert far["accuracy"] == 0.0
    assert near["accuracy"] == 1.0


def test_a_model_that_knows_nothing(uniform: Decoder, tokenizer: Any) -> None:
    probes = [CopyProbe(5), PasskeyProbe(5, distractors=3), StartProbe(DOCUMENTS)]
    records = run_probes(uniform, tokenizer, lengths=LENGTHS, probes=probes)
    nothing = math.log(len(tokenizer))
    for r in records:
        if r["probe"] == "copy":
            assert r["accuracy"] == 0.0  # it would choose token 0, the separator, which is not drawn
            assert r["accuracy_low"] == 0.0 < r["accuracy_high"] < 0.6
            assert r["loss"] == pytest.approx(nothing, rel=1e-6)
            assert r["first_loss"] == pytest.approx(nothing, rel=1e-6)
            assert r["chance_loss"] == pytest.approx(math.log(1 / r["chance_accuracy"]))
        elif r["probe"] == "passkey":
            assert r["ranked_first"] == r["chance_ranked_first"] == 0.25
            assert r["margin"] == pytest.approx(0.0, abs=1e-9)
            assert r["key_loss"] == pytest.approx(r["key_tokens"] * nothing, rel=1e-6)
            assert (r["accuracy"], r["chance_accuracy"]) == (0.0, 1e-5)
        else:
            assert r["loss"] == pytest.approx(nothing, rel=1e-6)
    assert next(r for r in records if r["probe"] == "copy")["chance_accuracy"] == 1 / (len(tokenizer) - 1)


def test_copies_stand_where_they_should(tokenizer: Any) -> None:
    probe = CopyProbe(4, segment=9, cue=2)
    probe.prepare(tokenizer, [60])
    assert probe.distances(60) == [9, 18, 36, 50]
    for distance in probe.distances(60):
        ids = probe.sequences(60, distance, 7)
        assert ids.shape == (4, 60)
        assert torch.equal(ids[:, 51:], ids[:, 51 - distance : 60 - distance])
        assert (ids[:, 0] == tokenizer.eos_token_id).all()
        assert not (ids[:, 1:] == tokenizer.eos_token_id).any()
        assert not torch.equal(ids, probe.sequences(60, distance, 8))


def test_numbers_stand_where_they_should(tokenizer: Any) -> None:
    probe = PasskeyProbe(6, digits=3, distractors=2)
    probe.prepare(tokenizer, [150])
    n = probe.key_tokens
    starts = []
    for depth in (0.0, 0.5, 1.0):
        prefixes, answers = probe.texts(150, depth, 3)
        assert prefixes.shape == (6, 150 - n)
        assert answers.shape == (3, 6, n)
        for i, text in enumerate(tokenizer.batch_decode(prefixes[:, 1:])):
            told, other = (tokenizer.decode(answers[k, i]) for k in (0, 1))
            assert told.strip().isdigit()
            assert len(told.strip()) == 3
            assert told != other
            assert text.count(f"the code of the safe is{told}. It will") == 1
            assert text.endswith("The code of the safe is")
            assert len(set(map(tuple, answers[:, i].tolist()))) == 3
        starts.append(tokenizer.decode(prefixes[0, 1:]).index(" Keep this"))
    assert starts[0] == 0 < starts[1] < starts[2]
    assert tokenizer.decode(prefixes[0]).endswith(
        "It will be asked for later. What is the code of the safe? The code of the safe is"
    )


def test_the_start_of_documents_by_brute_force(drawn: Decoder, tokenizer: Any) -> None:
    drawn = drawn.double().eval()
    records = run_probes(drawn, tokenizer, lengths=[13, 2000], probes=["start"], documents=DOCUMENTS, batch_tokens=20)
    short = [r for r in records if r["length"] == 13]
    assert [(r["first_index"], r["last_index"]) for r in short] == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 13)]
    rows = [torch.tensor([tokenizer.eos_token_id, *tokenizer(d)["input_ids"][:13]]) for d in DOCUMENTS]
    rows = [row for row in rows if len(row) == 14]
    assert {r["documents"] for r in short} == {len(rows)} == {6}
    with torch.no_grad():
        nll = torch.stack(
            [nn.functional.cross_entropy(drawn(row[None, :-1])[0], row[1:], reduction="none") for row in rows]
        )
    for r in short:
        part = nll[:, r["first_index"] - 1 : r["last_index"]]
        assert r["tokens"] == part.numel()
        assert r["loss"] == pytest.approx(float(part.mean()), rel=1e-9)
        interval = ttest_1samp(part.mean(dim=1).tolist(), 0.0).confidence_interval(0.95)
        assert (r["loss_low"], r["loss_high"]) == pytest.approx((interval.low, interval.high))
    (nothing,) = (r for r in records if r["length"] == 2000)
    assert (nothing["documents"], nothing["tokens"], nothing["loss"]) == (0, 0, None)


def test_fewer_documents_are_drawn_by_the_seed(uniform: Decoder, tokenizer: Any) -> None:
    probe = StartProbe(DOCUMENTS, samples=2)
    (first, *_) = run_probes(uniform, tokenizer, lengths=[8], probes=[probe])
    assert first["documents"] == 2


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9])
def test_ranges_are_every_index_once(length: int, uniform: Decoder, tokenizer: Any) -> None:
    records = run_probes(uniform, tokenizer, lengths=[length], probes=["start"], documents=[TEXT])
    indices = [i for r in records for i in range(r["first_index"], r["last_index"] + 1)]
    assert indices == list(range(1, length + 1))


@pytest.mark.parametrize("kind", ["decoder", "wrapped", "gpt2", "llama", "keeps nothing"])
def test_scores_by_brute_force(kind: str, drawn: Decoder, copier: Any, tokenizer: Any) -> None:
    vocab = len(tokenizer)
    makers = {
        "decoder": drawn.eval,
        "wrapped": lambda: LMZooForCausalLM.from_decoder(drawn).eval(),
        "gpt2": lambda: gpt2(vocab),
        "llama": lambda: llama(vocab),
        "keeps nothing": copier,
    }
    model = makers[kind]()
    ids = torch.randint(vocab, (3, 50), generator=torch.Generator().manual_seed(2))
    ids[:, 40:] = ids[:, 20:30]
    with torch.no_grad():
        out = model(ids)
        logits = (out if kind == "decoder" else out.logits).double()
    nll, hit = -logits.log_softmax(-1), logits.argmax(-1)
    positions = torch.tensor([1, 7, 30, 48, 49])
    given = ProbeModel(model, 60).score(ids, positions)
    expected = torch.stack([nll[:, p - 1].gather(1, ids[:, p, None])[:, 0] for p in positions.tolist()], dim=1)
    assert given.nll.dtype == torch.float64
    torch.testing.assert_close(given.nll, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(given.hit, torch.stack([hit[:, p - 1] == ids[:, p] for p in positions.tolist()], dim=1))
    for n in (1, 4):
        candidates = torch.stack([ids[:, 40 : 40 + n], (ids[:, 40 : 40 + n] + 1) % vocab])
        scores = ProbeModel(model).continuations(ids[:, :40], candidates)
        for candidate, c_nll, c_hit in zip(candidates, *scores):
            whole = torch.cat([ids[:, :40], candidate], dim=1)
            plain = ProbeModel(model).score(whole, torch.arange(40, 40 + n))
            torch.testing.assert_close(c_nll, plain.nll, rtol=1e-4, atol=1e-5)
            assert torch.equal(c_hit, plain.hit)


@pytest.mark.parametrize("kind", ["ours", "gpt2"])
def test_records_repeat_and_do_not_depend_on_their_company(kind: str, drawn: Decoder, tokenizer: Any) -> None:
    model = drawn if kind == "ours" else gpt2(len(tokenizer))
    probes = ["copy", "passkey", "start"]
    how = {"probes": probes, "documents": DOCUMENTS, "samples": 3, "seed": 5}
    both = run_probes(model, tokenizer, lengths=LENGTHS, **how)
    json.dumps(both, allow_nan=False)
    assert both == run_probes(model, tokenizer, lengths=LENGTHS[::-1], **how)
    assert [r for r in both if r["length"] == 157] == run_probes(model, tokenizer, lengths=[157], **how)
    other = run_probes(model, tokenizer, lengths=LENGTHS, **{**how, "seed": 6})
    assert [r["loss"] for r in other[:4]] != [r["loss"] for r in both[:4]]
    one_at_a_time = run_probes(model, tokenizer, lengths=LENGTHS, batch_tokens=1, **how)
    for a, b in zip(both, one_at_a_time, strict=True):
        numbers = {k: v for k, v in a.items() if isinstance(v, float)}
        assert {k: b[k] for k in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-5)


def test_interventions_and_passports_stand_in_the_records(drawn: Decoder, tokenizer: Any) -> None:
    drawn.train()
    drawn.norm.eval()
    how = {"lengths": [100], "probes": [CopyProbe(2)]}
    plain = run_probes(drawn, tokenizer, **how)
    window = parse_interventions({"window": 8})
    changed = run_probes(drawn, tokenizer, intervention=window, passport={"commit": "abc"}, **how)
    assert {r["intervention"] for r in plain} == {None}
    assert "passport" not in plain[0]
    assert {r["intervention"] for r in changed} == {"window=8"}
    assert {r["passport"]["commit"] for r in changed} == {"abc"}
    assert all(a["loss"] != b["loss"] for a, b in zip(plain, changed))
    assert drawn.training
    assert not drawn.norm.training
    assert run_probes(drawn, tokenizer, **how) == plain


def test_a_table_of_positions_that_ends(tokenizer: Any) -> None:
    ours = Decoder(len(tokenizer), 16, 1, 2, position=LearnedPosition(max_length=120))
    for model in (gpt2(len(tokenizer)), ours):
        for probe in (CopyProbe(1), PasskeyProbe(1)):
            run_probes(model, tokenizer, lengths=[110], probes=[probe])
            with pytest.raises(ArgumentError, match=r"165|164|120"):
                run_probes(model, tokenizer, lengths=[165], probes=[probe])


@pytest.mark.parametrize(
    ("more", "argument"),
    [
        ({"lengths": []}, "lengths"),
        ({"lengths": [0]}, "lengths"),
        ({"lengths": [20]}, "lengths"),
        ({"lengths": [40], "probes": ["passkey"]}, "lengths"),
        ({"probes": ["copie"]}, "probes"),
        ({"probes": []}, "probes"),
        ({"probes": ["start"]}, "documents"),
        ({"samples": 0}, "samples"),
        ({"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_bad_arguments(more: dict[str, Any], argument: str, uniform: Decoder, tokenizer: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        run_probes(uniform, tokenizer, **{"lengths": [100], **more})
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    "make",
    [
        lambda: CopyProbe(1, segment=3, cue=3),
        lambda: PasskeyProbe(1, depths=(1.1,)),
        lambda: PasskeyProbe(1, digits=1),
        lambda: StartProbe([]),
    ],
)
def test_bad_settings(make: Any) -> None:
    with pytest.raises(ArgumentError):
        make()


@pytest.mark.parametrize(("hits", "n"), [(0, 8), (3, 8), (8, 8), (17, 40)])
def test_intervals_of_shares(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert share_interval(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_intervals_of_means() -> None:
    values = [1.0, 2.0, 4.0, 4.5]
    interval = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((2.875, interval.low, interval.high))
    assert mean_interval([2.0]) == (2.0, None, None)
