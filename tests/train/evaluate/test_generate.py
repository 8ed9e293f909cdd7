"""Continuing prompts with model folders of other makers: how a document begins, shards, and code that is never run."""

import io
import json
import shutil

import pytest
import torch
from lmzoo.errors import ArgumentError, ConfigError
from lmzoo.models import Decoder, LMZooForCausalLM
from lmzoo.train.cli import main
from lmzoo.train.data.tokenizer_cache import load_tokenizer
from lmzoo.train.evaluate.generate import generate
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<s>", *"a model of small text that we read here again".split()]
CODE = """
from pathlib import Path
Path({marker!r}).write_text("run")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class OwnConfig(LlamaConfig):
    model_type = "of-its-own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


def save_tokenizer(folder, *, bos=True, prepends=False):
    pipeline = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="a"))
    pipeline.pre_tokenizer = WhitespaceSplit()
    if prepends:
        pipeline.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pipeline, bos_token="<s>" if bos else None)
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_llama(folder, **how):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(WORDS), bos_token_id=0, eos_token_id=None, **sizes)
    model = LlamaForCausalLM(config).eval()
    torch.nn.init.normal_(model.lm_head.weight)
    model.save_pretrained(folder, **how)
    return model


def save_ours(folder):
    torch.manual_seed(0)
    model = LMZooForCausalLM.from_decoder(Decoder(len(WORDS), 16, 1, 2), bos_token_id=0).eval()
    torch.nn.init.normal_(model.decoder.embedding.weight)
    model.save_pretrained(folder)
    return model


def continuation(model, tokenizer, ids):
    given = torch.tensor([ids])
    with torch.no_grad():
        output = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=6, do_sample=False)
    return tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)


def ids_given(monkeypatch, folder, prompt):
    """What the folder's model is made to continue."""
    met = []
    kind = LMZooForCausalLM if json.loads((folder / "config.json").read_text())["model_type"] == "lmzoo" else None
    kind = kind or LlamaForCausalLM
    original = kind.generate

    def spy(self, ids, **how):
        met.append(ids[0].tolist())
        return original(self, ids, **how)

    monkeypatch.setattr(kind, "generate", spy)
    generate(folder, prompt, max_new_tokens=2, temperature=0)
    return met[0]


@pytest.mark.parametrize(
    ("save", "bos", "prepends", "expected"),
    [
        (save_ours, True, False, [0, 1, 2]),
        (save_ours, True, True, [0, 1, 2]),
        (save_ours, False, False, [1, 2]),
        (save_llama, True, False, [1, 2]),
        (save_llama, True, True, [0, 1, 2]),
        (save_llama, False, False, [1, 2]),
    ],
)
def test_a_document_begins_once_and_as_its_model_has_it(tmp_path, monkeypatch, save, bos, prepends, expected):
    save(tmp_path)
    save_tokenizer(tmp_path, bos=bos, prepends=prepends)
    assert ids_given(monkeypatch, tmp_path, "a model") == expected


def test_an_empty_prompt_wants_a_first_token(tmp_path):
    save_llama(tmp_path)
    save_tokenizer(tmp_path, bos=False)
    with pytest.raises(ArgumentError, match="prompt: expected some text"):
        generate(tmp_path, "")
    save_tokenizer(tmp_path, prepends=True)
    assert generate(tmp_path, "", max_new_tokens=3, temperature=0)


def test_sharded_weights_are_read(tmp_path):
    model = save_llama(tmp_path, max_shard_size="4KB")
    tokenizer = save_tokenizer(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    given = generate(tmp_path, "a model of", max_new_tokens=6, temperature=0)
    assert given == continuation(model, tokenizer, [1, 2, 3])
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    with pytest.raises(ConfigError, match="run: expected a causal model"):
        generate(tmp_path, "a")


def test_weights_other_than_safetensors_are_not_read(tmp_path):
    model = save_llama(tmp_path)
    save_tokenizer(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"model\.safetensors or model\.safetensors\.index\.json"):
        generate(tmp_path, "a")


def test_missing_weights_are_not_drawn_at_random(tmp_path):
    save_llama(tmp_path)
    save_tokenizer(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match=r"lacks weights of its model: \['model\.layers\.2"):
        generate(tmp_path, "a")


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A folder whose model and tokenizer want code of their own, the file that the code would write, and a yes."""
    folder, marker = tmp_path / "foreign", tmp_path / "marker"
    save_llama(folder)
    save_tokenizer(folder)
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "of-its-own", "auto_map": auto}))
    of_tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(of_tokenizer | own))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    return folder, marker


def test_code_of_a_folder_is_never_run_even_where_standard_input_says_yes(foreign, tmp_path, capsys):
    folder, marker = foreign
    with pytest.raises(ArgumentError, match=r"tokenizer: expected .* without code of its own, which is never run"):
        load_tokenizer(str(folder))
    assert main(["tokenizer", "inspect", str(folder), "a model"]) == 2
    assert main(["generate", str(folder), "--prompt", "a model"]) == 2
    said = capsys.readouterr()
    assert said.err.count("which is never run") == 2
    assert "[y/N]" not in said.out
    assert not marker.exists()

    plain = tmp_path / "plain"  # a model of a known kind, with a tokenizer that wants code
    save_llama(plain)
    for file in ("own.py", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / file, plain)
    with pytest.raises(ArgumentError, match="which is never run"):
        generate(plain, "a model")
    assert not marker.exists()


def test_the_code_would_run_if_it_were_trusted(foreign):
    from transformers import AutoTokenizer

    folder, marker = foreign
    AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    assert marker.exists()
