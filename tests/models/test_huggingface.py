from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lmzoo.errors import ArgumentError
from lmzoo.layers import AdaptiveSoftmaxHead, CorpusStatistics, FeedForward, VQLogitsHead
from lmzoo.models import Decoder, LMZooConfig, LMZooForCausalLM, sample_tokens
from lmzoo.models.huggingface import BreakTies
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

Make = Callable[..., Decoder]


class ForeignFeedForward(FeedForward):
    """A user's part, from outside lmzoo."""


def wrap(decoder: Decoder) -> LMZooForCausalLM:
    return LMZooForCausalLM.from_decoder(decoder, pad_token_id=0).eval()


def test_save_and_load(make: Make, arguments: dict[str, Any], ids: Tensor, tmp_path: Path) -> None:
    decoder = make(**arguments).eval()
    wrap(decoder).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, LMZooForCausalLM)
    assert torch.equal(loaded(ids).logits, decoder(ids))
    assert loaded.decoder.config == decoder.config
    head, embedding = getattr(loaded.decoder.head, "weight", None), loaded.decoder.embedding.weight
    assert (head is embedding) == decoder.head.tied
    stored = load_file(tmp_path / "model.safetensors")
    own = {t.data_ptr(): t.numel() for t in decoder.state_dict().values()}
    assert sum(t.numel() for t in stored.values()) == sum(own.values())
    assert isinstance(AutoConfig.from_pretrained(tmp_path), LMZooConfig)


def test_greedy_generation_equals_step_by_step_argmax(make: Make, arguments: dict[str, Any], ids: Tensor) -> None:
    decoder = make(**arguments).eval()
    model = wrap(decoder)
    mask = torch.arange(17)[None] >= torch.tensor([[0], [3], [9]])
    for attention_mask in (torch.ones_like(ids), mask.long()):
        given = model.generate(ids, attention_mask=attention_mask, max_new_tokens=8, do_sample=False)
        rows, seen = ids, attention_mask.bool()
        for _ in range(8):
            hidden = decoder.hidden(rows, seen)[:, -1]
            greedy = getattr(decoder.head, "greedy", lambda h: decoder.head(h).argmax(-1))
            rows = torch.cat([rows, greedy(hidden)[:, None]], 1)
            seen = torch.cat([seen, torch.ones(3, 1, dtype=torch.bool)], 1)
        assert torch.equal(given, rows)


def test_ties_are_broken_by_training_frequency(make: Make, ids: Tensor) -> None:
    counts = [3, 9, 9, 1] + [0] * 49
    model = wrap(make(head=partial(VQLogitsHead, codebook_size=1, token_counts=counts)))
    greedy = model.generate(ids, max_new_tokens=4, do_sample=False)[:, 17:]
    assert (greedy == 1).all()
    tempered = model.generate(ids, generation_config=GenerationConfig(do_sample=False, max_new_tokens=4))[:, 17:]
    assert (tempered == 1).all()
    torch.manual_seed(0)
    sampled = model.generate(ids, max_new_tokens=20, do_sample=True, top_k=0)[:, 17:]
    assert len(sampled.unique()) > 20


def test_breaking_ties_moves_nothing_but_the_tied() -> None:
    scores = torch.tensor([[1.0, 4.0, 4.0, 4.0], [0.0, -1.0, -2.0, 0.0]])
    given = BreakTies(torch.tensor([9, 1, 5, 5]))(torch.zeros(2, 1), scores)
    assert given.argmax(-1).tolist() == [2, 0]
    assert torch.allclose(given, scores, rtol=1e-6, atol=1e-44)
    assert torch.equal(given[:, 2], scores[:, 2])
    single = torch.randn(3, 4)
    assert torch.equal(BreakTies(torch.tensor([9, 1, 5, 5]))(torch.zeros(3, 1), single), single)


def test_drawing_by_code_follows_the_model(make: Make, ids: Tensor) -> None:
    decoder = make(head=partial(VQLogitsHead, codebook_size=7, tail_codes=7, within_code="class_softmax")).eval()
    generator = torch.Generator().manual_seed(0)
    p = torch.softmax(decoder(ids[:1])[0, -1].detach(), -1)
    first = [int(sample_tokens(decoder, ids[:1], max_new_tokens=1, generator=generator)[0, -1]) for _ in range(300)]
    seen = torch.bincount(torch.tensor(first), minlength=53) / 300
    assert float((seen - p).abs().max()) < 5 * (0.25 / 300) ** 0.5
    rows = [sample_tokens(decoder, ids[:1], max_new_tokens=9, generator=torch.Generator().manual_seed(4)) for _ in "ab"]
    assert rows[0].shape == (1, 26)
    assert torch.equal(*rows)
    # with the cache each draw is from the distribution after all that was drawn before
    generator, redrawn = torch.Generator().manual_seed(4), ids[:1]
    for _ in range(9):
        with torch.no_grad():
            token = decoder.head.sample(decoder.hidden(redrawn)[:, -1], generator=generator)
        redrawn = torch.cat([redrawn, token[:, None]], 1)
    assert torch.equal(rows[0], redrawn)
    stop = int(rows[0][0, 19])
    stopped = sample_tokens(
        decoder, ids[:1], max_new_tokens=9, eos_token_id=stop, generator=torch.Generator().manual_seed(4)
    )
    assert int(stopped[0, -1]) == stop
    assert stopped.size(1) <= 20
    several = sample_tokens(
        decoder, ids[:1], max_new_tokens=9, eos_token_id=[60, stop], generator=torch.Generator().manual_seed(4)
    )
    assert torch.equal(several, stopped)
    with pytest.raises(ArgumentError, match="decoder"):
        sample_tokens(make(), ids[:1], max_new_tokens=1)


def test_cached_generation_equals_uncached(make: Make, ids: Tensor) -> None:
    model = wrap(make())
    kinds = [model.generate(ids, max_new_tokens=8, do_sample=False, use_cache=use) for use in (True, False)]
    assert torch.equal(*kinds)


def test_sampling_repeats_under_a_seed(make: Make, ids: Tensor) -> None:
    model = wrap(make())
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(model.generate(ids, max_new_tokens=12, do_sample=True, top_k=10))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_loss_is_the_mean_over_wanted_labels(make: Make, ids: Tensor) -> None:
    decoder = make().double()
    model = wrap(decoder)
    nll = decoder.nll(ids)
    assert float(model(ids, labels=ids).loss) == pytest.approx(float(nll.mean()), rel=1e-12)
    labels = ids.clone()
    labels[:, :5] = -100
    assert float(model(ids, labels=labels).loss) == pytest.approx(float(nll[:, 4:].mean()), rel=1e-12)


def test_logits_to_keep(make: Make, ids: Tensor) -> None:
    model = wrap(make())
    full = model(ids).logits
    assert torch.allclose(model(ids, logits_to_keep=2).logits, full[:, -2:], atol=1e-5)
    assert torch.allclose(model(ids, logits_to_keep=torch.tensor([4])).logits, full[:, [4]], atol=1e-5)
    assert torch.equal(model(ids, return_dict=False)[0], full)


def test_half_precision_loads(make: Make, ids: Tensor, tmp_path: Path) -> None:
    wrap(make()).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded(ids).logits.dtype == torch.bfloat16


def test_foreign_parts_need_trust(make: Make, ids: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = make(feed_forward=ForeignFeedForward).eval()
    wrap(decoder).save_pretrained(tmp_path)
    (tmp_path / "users_parts.py").write_text(
        "from lmzoo.layers import FeedForward\nclass ForeignFeedForward(FeedForward):\n    pass\n"
    )
    config = json.loads((tmp_path / "config.json").read_text())
    config["feed_forward"]["class_path"] = "users_parts.ForeignFeedForward"
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.syspath_prepend(tmp_path)
    for load in (AutoModelForCausalLM, LMZooForCausalLM):
        with pytest.raises(ArgumentError, match="class_path"):
            load.from_pretrained(tmp_path)
    trusted = AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True).eval()
    assert torch.equal(trusted(ids).logits, decoder(ids))


def test_an_attention_implementation_that_would_have_no_effect_is_refused(make: Make, tmp_path: Path) -> None:
    wrap(make()).save_pretrained(tmp_path)
    for name in ("lmzoo_softplus", "lmzoo_lssa", "flex_attention"):
        for load in (AutoModelForCausalLM, LMZooForCausalLM):
            with pytest.raises(ArgumentError, match="attention is a part of this model"):
                load.from_pretrained(tmp_path, attn_implementation=name)
    with pytest.raises(ArgumentError, match="attn_implementation"):
        AutoModelForCausalLM.from_config(wrap(make()).config, attn_implementation="lmzoo_softplus")
    for name in (None, "eager", "sdpa"):
        AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=name)


@pytest.mark.parametrize("within_code", ["unigram", "class_softmax"])
def test_tables_are_derived_after_loading(make: Make, ids: Tensor, within_code: str, tmp_path: Path) -> None:
    """Built without memory, as from_pretrained does, a head has nothing but what the file holds."""
    counts = [(5 * i) % 53 for i in range(53)]
    head = partial(VQLogitsHead, codebook_size=7, mapping="random", tail_codes=3, within_code=within_code)
    decoder = make(head=head).eval()
    decoder.head.use_corpus(CorpusStatistics(torch.tensor(counts)))
    wrap(decoder).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    tables = {name: t.dtype for name, t in stored.items() if ".codes." in name}
    assert tables == {"decoder.head.codes.mapping": torch.int32, "decoder.head.codes.counts": torch.int32}
    for dtype in (torch.float32, torch.bfloat16):
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype).decoder
        for name, buffer in decoder.head.named_buffers():
            assert torch.equal(loaded.head.get_buffer(name), buffer)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).decoder.eval()
    assert torch.equal(loaded.nll(ids), decoder.nll(ids))
    # a head that has served under another mapping, told by name or in place of its tensors
    for assign in (False, True):
        other = make(head=partial(head, mapping="contiguous")).eval()
        other.nll(ids)
        other.load_state_dict(decoder.state_dict(), assign=assign)
        assert torch.equal(other.nll(ids), decoder.nll(ids))
        assert torch.equal(other.head.greedy(decoder.hidden(ids)[0]), decoder.head.greedy(decoder.hidden(ids)[0]))


@pytest.mark.parametrize(
    ("head", "tables"),
    [
        (partial(VQLogitsHead, codebook_size=7), {"codes.order": 53, "codes.offsets": 8, "codes.mass": 7}),
        (AdaptiveSoftmaxHead, {"order": 53}),
    ],
)
def test_tables_that_an_earlier_version_saved_are_left_unread(
    make: Make, tmp_path: Path, head: Any, tables: dict[str, int]
) -> None:
    decoder = make(head=head)
    decoder.head.use_corpus(CorpusStatistics(torch.arange(53) ** 2))
    wrap(decoder).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    stored = {n: t.long() if t.dtype == torch.int32 else t for n, t in stored.items()}
    stored |= {f"decoder.head.{name}": torch.zeros(size, dtype=torch.int64) for name, size in tables.items()}
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    ids = torch.randint(53, (2, 9))
    again = make(head=head)
    again.load_state_dict({name.removeprefix("decoder."): t for name, t in stored.items()})
    for loaded in (again, LMZooForCausalLM.from_pretrained(tmp_path).decoder):
        assert torch.equal(loaded.nll(ids), decoder.nll(ids))
        assert {n: t.dtype for n, t in loaded.state_dict().items()} == {
            n: t.dtype for n, t in decoder.state_dict().items()
        }


def test_weights_in_excess_are_an_error(make: Make, tmp_path: Path) -> None:
    wrap(make()).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors") | {"decoder.head.codes.else": torch.ones(3)}
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArgumentError, match=r"weights of the model alone.*codes\.else"):
        LMZooForCausalLM.from_pretrained(tmp_path)


def test_missing_weights_are_an_error(make: Make, tmp_path: Path) -> None:
    wrap(make()).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    del stored["decoder.norm.weight"]
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArgumentError, match=r"decoder\.norm\.weight"):
        LMZooForCausalLM.from_pretrained(tmp_path)
