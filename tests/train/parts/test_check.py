"""``lmzoo check`` and ``lmzoo new`` as a user meets them."""

import json
import subprocess
import sys

import pytest
from lmzoo.train.cli import main

BROKEN = """
from lmzoo.layers import Attention
from torch.nn.functional import scaled_dot_product_attention

class Hasty(Attention):
    def attend(self, query, key, value, visibility):
        return scaled_dot_product_attention(query, key, value, enable_gqa=True)

class Untyped(Attention):
    def __init__(self, d_model, n_heads, *, width=3):
        super().__init__(d_model, n_heads)
        self.width = width

    def attend(self, query, key, value, visibility):
        raise LookupError("lost")

class NotAPart:
    pass

number = 3
"""
KINDS = {"attention": "MyAttention", "position": "MyPosition", "head": "MyHead", "loss": "MyLoss"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder; modules that a test imports from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    known = set(sys.modules)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_broken_part_says_what_was_seen_and_what_helps(folder, capsys):
    (folder / "hasty.py").write_text(BROKEN)
    words = ["hasty.py:Hasty", "--only", "arguments,causality,padding", "--json", "check.json", "--init", "d_model=16"]
    assert main(["check", *words, "n_heads=2"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Hasty(d_model=16, n_heads=2), slot attention" in said
    assert "BROKEN causality" in said
    assert "kept arguments" in said
    assert "an earlier row changed when later tokens did (relative error" in said
    assert "sees the token that it has to predict" in said
    assert "visibility.mask()" in said
    assert "1 of 3 promises kept" in said
    found = json.loads((folder / "check.json").read_text())
    assert found["kept"] is False
    assert found["part"] == {"class_path": "hasty.Hasty", "init_args": {}}
    assert found["arguments"] == {"d_model": 16, "n_heads": 2}
    assert [(p["name"], p["status"]) for p in found["promises"]] == [
        ("arguments", "kept"),
        ("causality", "broken"),
        ("padding", "broken"),
    ]
    assert found["promises"][1]["seen"].startswith("an earlier row changed")
    assert found["environment"]["versions"]["torch"]


def test_an_exception_hides_nothing_and_names_its_line(folder, capsys):
    (folder / "hasty.py").write_text(BROKEN)
    assert main(["check", "hasty:Untyped", "--only", "types,arguments,yaml"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    line = BROKEN.splitlines().index('        raise LookupError("lost")') + 1
    assert f"it raised LookupError: lost (at hasty.py:{line})" in said
    assert "2 of 3 promises kept" in said


def test_parts_of_lmzoo_and_parts_in_parts(folder, capsys):
    words = ["SoftmaxAttention", "--init", "position={class_path: ALiBi}", "n_kv_heads=2"]
    assert main(["check", *words, "--only", "causality,saving,yaml"]) == 0
    assert "position=ALiBi()" in capsys.readouterr().out
    assert main(["check", "RMSNorm", "--slot", "norm", "--only", "alone,learning,yaml"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 2 promises kept" in said
    assert "a configuration has no key for the norm" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["SoftplusAtention"], ["SoftplusAttention", "my_attention.py:SoftplusAtention"]),
        (["none.py:Hasty"], ["no such file: none.py"]),
        (["hasty.py"], ["a class in the file", "hasty.py:MyAttention"]),
        (["none.such:Hasty"], ["cannot import none.such", "ModuleNotFoundError"]),
        (["broken.py:Hasty"], ["cannot import broken", "SyntaxError"]),
        (["json.py:Mine"], ["another module called json", "rename the file"]),
        (["two-words.py:Mine"], ["'two-words'", "named like variables"]),
        (["hasty.py:Hast"], ["no class 'Hast'", "Hasty"]),
        (["hasty.py:number"], ["expected a class", "int"]),
        (["hasty.py:NotAPart"], ["torch.nn.Module"]),
        (["hasty.py:Hasty", "--slot", "head"], ["lmzoo.layers.Head"]),
        (["hasty.py:Hasty", "--slot", "hed"], ["nearest: head"]),
        (["hasty.py:Hasty", "--init", "d_modle=8"], ["--init", "d_model"]),
        (["hasty.py:Hasty", "--init", "d_model"], ["--init", "NAME=VALUE"]),
        (["hasty.py:Hasty", "--init", "d_model=30"], ["d_model", "multiple of n_heads"]),
        (["hasty.py:Hasty", "--init", "d_model=wide"], ["cannot be built", "TypeError"]),
        (["hasty.py:Hasty", "--only", "causalty"], ["--only", "causality"]),
        (["VQLogitsHead"], ["needs codebook_size", "--init codebook_size="]),
        (["CrossEntropy", "--compile"], ["compile", "attention"]),
    ],
)
def test_mistakes(folder, capsys, words, expected):
    (folder / "hasty.py").write_text(BROKEN)
    (folder / "json.py").write_text(BROKEN)
    (folder / "two-words.py").write_text(BROKEN)
    (folder / "broken.py").write_text("class Hasty(:\n")
    assert main(["check", *words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    for word in expected:
        assert word in said


def test_a_module_of_a_package_goes_by_its_full_name(folder, capsys):
    package = folder / "parts_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("from lmzoo.layers import CrossEntropy as Base\n")
    (package / "loss.py").write_text("from .base import Base\nclass Mine(Base):\n    pass\n")
    assert main(["check", "parts_of_mine/loss.py:Mine", "--only", "neutral", "--json", "c.json"]) == 0
    assert json.loads((folder / "c.json").read_text())["part"]["class_path"] == "parts_of_mine.loss.Mine"
    assert main(["check", "parts_of_mine.loss.Mine", "--only", "neutral"]) == 0
    assert "1 of 1" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_new_writes_keeps_every_promise(folder, capsys, kind):
    file, name = f"my_{kind}.py", KINDS[kind]
    assert main(["new", kind, file]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"lmzoo check {file}:{name}" in said
    assert f"--model.{kind} my_{kind}.{name} --allow_classes" in said
    assert main(["check", f"{file}:{name}"]) == 0
    assert "BROKEN" not in capsys.readouterr().out


def test_new_does_not_wait_for_what_it_does_not_need():
    code = "import sys, lmzoo.train.parts.new; sys.exit('lightning' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_head_that_new_writes_is_told_what_a_loss_weighs(folder, capsys):
    assert main(["new", "head", "my_head.py"]) == 0
    assert main(["check", "my_head.py:MyHead", "--only", "row_weight"]) == 0
    assert "kept row_weight" in " ".join(capsys.readouterr().out.split())


def test_new_takes_the_class_from_the_file(folder, capsys):
    assert main(["new", "attention", "sharper_heads.py"]) == 0
    text = (folder / "sharper_heads.py").read_text()
    assert "class SharperHeads(Attention):" in text
    assert "MyAttention" not in text
    assert "in the folder of sharper_heads.py" in " ".join(capsys.readouterr().out.split())
    assert main(["check", "sharper_heads.py:SharperHeads", "--init", "sharpness=3", "--only", "causality"]) == 0
    assert "sharpness=3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["attention", "there.py"], ["there.py exists already"]),
        (["atention", "mine.py"], ["nearest: attention"]),
        (["attention", "mine.txt"], ["my_part.py"]),
        (["attention", "two-words.py"], ["Python module"]),
        (["attention", "class.py"], ["Python module"]),
        (["attention", "json.py"], ["knows a module called json"]),
        (["attention", "attention.py"], ["'Attention'", "another name"]),
        (["attention", "nowhere/mine.py"], ["nowhere", "does not exist"]),
    ],
)
def test_new_refuses(folder, capsys, words, expected):
    (folder / "there.py").write_text("mine")
    assert main(["new", *words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    for word in expected:
        assert word in said
    assert sorted(p.name for p in folder.iterdir()) == ["there.py"]
    assert (folder / "there.py").read_text() == "mine"


def test_own_classes_are_found_in_the_working_folder_where_allowed_and_nowhere_else(folder, tiny, write, capsys):
    (folder / "own_feed_forward.py").write_text(
        "from lmzoo.layers import SwiGLU\nprint('own code runs')\nclass Own(SwiGLU):\n    pass\n"
    )
    file = str(write(tiny))
    words = ["fit", "--config", file, "--model.feed_forward", "own_feed_forward.Own", "--trainer.fast_dev_run", "1"]
    assert main(words) == 2
    said = capsys.readouterr()
    assert "allow_classes" in said.err
    assert "own code runs" not in said.out
    assert main([*words, "--allow_classes"]) == 0
    assert "own code runs" in capsys.readouterr().out
    words[4] = "not_in_this_folder.Own"
    assert main([*words, "--allow_classes"]) == 2
    assert "found in the folder in which the command is given" in capsys.readouterr().err


def test_generate_imports_a_runs_parts_only_when_allowed(folder, capsys):
    from lmzoo.models import Decoder, LMZooForCausalLM
    from lmzoo.tokenization import train_tokenizer

    (folder / "own_attention.py").write_text(
        "from lmzoo.layers import SoftmaxAttention\nprint('own code runs')\nclass Own(SoftmaxAttention):\n    pass\n"
    )
    tokenizer = train_tokenizer(["some words to read"] * 4, 260)
    decoder = Decoder(len(tokenizer), 16, 1, 2)
    model = LMZooForCausalLM.from_decoder(decoder, bos_token_id=tokenizer.bos_token_id)
    model.config.attention = {"class_path": "own_attention.Own", "init_args": {}}
    model.save_pretrained(folder / "run")
    tokenizer.save_pretrained(folder / "run")
    words = ["generate", "run", "--max_new_tokens", "2", "--prompt", "words"]
    assert main(words) == 2
    said = capsys.readouterr()
    assert "own_attention.Own" in said.err
    assert "--allow_classes" in said.err
    assert "own code runs" not in said.out
    assert main([*words, "--allow_classes"]) == 0
    assert "own code runs" in capsys.readouterr().out
