"""Every protocol against a scorer that predicts one token at a time in float64."""

import contextlib
import math

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import LearnedPosition
from lmzoo.models import LMZooForCausalLM
from lmzoo.train import extrapolate
from lmzoo.train.data.corpus import count_words
from lmzoo.train.evaluate.extrapolate.protocols import fixed_target, non_overlapping, sliding
from lmzoo.train.evaluate.extrapolate.stream import Text, text_stream


def contexts_of(protocol, ids, places, length, stride, longest, within):
    """{target: context}, by loops over targets alone."""
    found = {}
    for j in range(1, len(ids)):
        if protocol == "non_overlapping":
            found[j] = (j - 1) % length + 1
        elif protocol == "sliding":
            found[j] = j if j <= length else length - stride + 1 + (j - length - 1) % stride
        else:
            start = 0 if within == "text" else max(p for p in places if p <= j)
            stop = len(ids) if within == "text" else min([p for p in places if p > j] + [len(ids)])
            if j - start >= longest:
                run = (j - start - longest) // stride
                end = min(start + longest + (run + 1) * stride, stop) - 1
                found[j] = length - (end - j)
    return {j: c for j, c in found.items() if j not in places}


@pytest.mark.parametrize(
    ("protocol", "length", "options"),
    [
        ("non_overlapping", 7, {}),
        ("non_overlapping", 1, {}),
        ("non_overlapping", 10_000, {}),
        ("sliding", 12, {}),
        ("sliding", 13, {"stride": 5}),
        ("sliding", 9, {"stride": 9}),
        ("sliding", 6, {"stride": 1}),
        ("sliding", 10_000, {}),
        ("fixed_target", 11, {}),
        ("fixed_target", 33, {"stride": 7}),
        ("fixed_target", 33, {"stride": 7, "within": "document"}),
    ],
)
@pytest.mark.parametrize("batch_tokens", [1, 40])
def test_equals_brute_force(make_decoder, tokenizer, documents, row, brute, protocol, length, options, batch_tokens):
    ids, places = row
    lengths = [11, 33] if protocol == "fixed_target" else [length]
    model = make_decoder()
    records = extrapolate(
        model, tokenizer, documents, lengths=lengths, protocol=protocol, batch_tokens=batch_tokens, **options
    )
    (record,) = [r for r in records if r["length"] == length]
    default = {"sliding": max(1, length // 2), "fixed_target": 5}.get(protocol)
    stride = options.get("stride", default)
    contexts = contexts_of(protocol, ids, places, length, stride, max(lengths), options.get("within", "text"))
    each = brute(model, ids, contexts)
    nll = sum(each.values())
    assert record["nll"] == pytest.approx(nll, rel=1e-12)
    assert record["tokens"] == len(contexts)
    assert record["stride"] == stride
    assert record["token_perplexity"] == pytest.approx(math.exp(nll / len(contexts)))
    if protocol != "fixed_target":
        assert record["tokens"] == record["eligible"] == len(ids) - len(places)
        assert record["bytes"] == sum(len(d.encode()) for d in documents)
        assert record["words"] == sum(count_words(d, "whitespace") for d in documents)
        assert record["bits_per_byte"] == pytest.approx(nll / record["bytes"] / math.log(2))
        assert record["word_perplexity"] == pytest.approx(math.exp(nll / record["words"]))
    buckets = record["loss_by_position"]
    assert sum(b["tokens"] for b in buckets) == record["tokens"]
    for b in buckets:
        inside = [each[j] for j, c in contexts.items() if b["first"] <= c <= b["last"]]
        assert b["tokens"] == len(inside)
        assert b["nll"] == pytest.approx(sum(inside), rel=1e-12)
    sums = record["by_document"]
    for i, document in enumerate(sums["document"]):
        stop = [*places, len(ids)][document + 1]
        own = [each[j] for j in contexts if places[document] < j < stop]
        assert sums["nll"][i] == pytest.approx(sum(own), rel=1e-12)
        assert sums["tokens"][i] == len(own)
    assert sum(sums["words"]) == record["words"]
    assert sum(sums["bytes"]) == record["bytes"]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_models_of_transformers(request, tokenizer, documents, row, brute, name):
    model = request.getfixturevalue(name)
    ids, places = row
    for record in extrapolate(model, tokenizer, documents, lengths=[16, 48], protocol="all"):
        settings = (record["length"], record["stride"], record["longest"], "text")
        contexts = contexts_of(record["protocol"], ids, places, *settings)
        assert record["nll"] == pytest.approx(sum(brute(model, ids, contexts).values()), rel=1e-12)
        assert record["scorer"] == "linear_nll"
    card = record["passport"]
    assert card["train_length"] == {"gpt2": 64, "llama": 16}[name]
    table = len(tokenizer) * 16
    assert card["embedding_parameters"] == table
    assert card["head_parameters"] == {"gpt2": 0, "llama": table}[name]
    assert card["tied_parameters"] == {"gpt2": table, "llama": 0}[name]
    assert card["head_table_bytes"] == 0
    assert card["parameters"] == sum(p.numel() for p in model.parameters())


def test_logits_that_are_more_than_a_product_are_taken_as_they_are(llama, tokenizer, documents, row, brute):
    plain = llama.forward

    class Capped(type(llama)):
        def forward(self, *arguments, **more):
            output = super().forward(*arguments, **more)
            output.logits = 2.0 * torch.tanh(output.logits / 2.0)
            return output

    llama.__class__ = Capped
    assert llama.forward != plain
    ids, places = row
    (record,) = extrapolate(llama, tokenizer, documents, lengths=[20], protocol="sliding")
    contexts = contexts_of("sliding", ids, places, 20, 10, None, None)
    assert record["nll"] == pytest.approx(sum(brute(llama, ids, contexts).values()), rel=1e-12)
    assert record["scorer"] == "logits"


def test_the_wrapped_decoder_scores_as_the_decoder(make_decoder, tokenizer, documents):
    decoder = make_decoder()
    wrapped = LMZooForCausalLM.from_decoder(decoder, train_length=24)
    one, other = (extrapolate(m, tokenizer, documents, lengths=[24], protocol="sliding")[0] for m in (decoder, wrapped))
    assert one["nll"] == other["nll"]
    assert one["passport"]["weights_sha256"] == other["passport"]["weights_sha256"]
    assert (one["passport"]["train_length"], other["passport"]["train_length"]) == (None, 24)
    assert one["passport"]["dtype"] == "float64"


def test_fixed_targets_are_the_same_at_every_length(tokenizer, documents):
    stream = text_stream(tokenizer, Text(documents))

    def targets(length, **options):
        w = fixed_target(stream, length, 40, stride=6, **options)
        assert (w.begin >= 0).all()
        assert (w.end - w.begin == length).all()
        return [j for a, b in zip(w.first, w.end) for j in range(a, b + 1)]

    for options in ({}, {"targets": 30}, {"within": "document"}):
        assert targets(6, **options) == targets(13, **options) == targets(40, **options)
    assert targets(40) == list(range(40, len(stream)))
    some = targets(40, targets=30)
    assert 25 <= len(some) <= 30, "five runs of six, the last of which may be shorter"
    assert (some[0], some[-1]) == (40, len(stream) - 1)


def test_windows_tile_the_text(tokenizer, documents):
    stream = text_stream(tokenizer, Text(documents))
    for windows in (
        non_overlapping(stream, 17),
        sliding(stream, 17, 4),
        sliding(stream, 17),
        sliding(stream, 17, 16),
    ):
        scored = [j for a, b in zip(windows.first, windows.end) for j in range(a, b + 1)]
        assert scored == list(range(1, len(stream)))
        assert (windows.end - windows.begin <= 17).all()


def test_evaluation_mode_and_back(make_decoder, tokenizer, documents):
    model = make_decoder(dropout=0.5).train()
    first, second = (extrapolate(model, tokenizer, documents, lengths=[16], protocol="sliding")[0] for _ in range(2))
    assert first["nll"] == second["nll"]
    assert model.training


@contextlib.contextmanager
def halved(weight):
    weight *= 0.5
    yield
    weight *= 2.0


def test_an_intervention_is_in_force_while_scoring(make_decoder, tokenizer, documents):
    model = make_decoder()

    class Halve:
        def describe(self):
            return "embedding / 2"

        def __call__(self, model):
            return halved(model.embedding.weight.data)

    run = {"lengths": [16], "protocol": "non_overlapping"}
    plain = extrapolate(model, tokenizer, documents, **run)[0]
    changed = extrapolate(model, tokenizer, documents, **run, intervention=Halve())[0]
    assert changed["intervention"] == "embedding / 2"
    assert changed["nll"] != plain["nll"]
    assert changed["passport"] == plain["passport"]
    assert extrapolate(model, tokenizer, documents, **run)[0]["nll"] == plain["nll"]
    assert plain["intervention"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": []}, "lengths: expected at least one whole number"),
        ({"lengths": [8, 8]}, "different numbers"),
        ({"lengths": [0]}, "1 or more"),
        ({"protocol": "slidng"}, "nearest: sliding"),
        ({"protocol": "sliding", "stride": 17}, "1 to the smallest length 16"),
        ({"protocol": "non_overlapping", "stride": 4}, "do not advance by a stride"),
        ({"protocol": "fixed_target", "lengths": [16, 100_000]}, "lengths: expected at most"),
        ({"protocol": "fixed_target", "within": "page"}, "text or document"),
        ({"protocol": "fixed_target", "targets": 0}, "targets"),
        ({"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_arguments_are_checked(make_decoder, tokenizer, documents, options, said):
    with pytest.raises(ArgumentError, match=said):
        extrapolate(make_decoder(), tokenizer, documents, **({"lengths": [16], "protocol": "all"} | options))


def test_texts_are_checked(make_decoder, tokenizer):
    for text in ([], ["some", ""], ""):
        with pytest.raises(ArgumentError, match="at least one document, none of them empty"):
            extrapolate(make_decoder(), tokenizer, text, lengths=[16], protocol="sliding")


def test_tables_of_positions_are_limits(make_decoder, gpt2, llama, tokenizer, documents):
    ours = make_decoder(position=LearnedPosition(max_length=32))
    for model, limit in ((ours, 32), (LMZooForCausalLM.from_decoder(ours), 32), (gpt2, 64)):
        run = {"protocol": "non_overlapping"}
        assert extrapolate(model, tokenizer, documents, lengths=[limit], **run)
        with pytest.raises(ArgumentError, match=f"at most {limit}: this model's table of positions ends there"):
            extrapolate(model, tokenizer, documents, lengths=[16, limit + 1], **run)
    assert extrapolate(llama, tokenizer, documents, lengths=[100], protocol="non_overlapping")
