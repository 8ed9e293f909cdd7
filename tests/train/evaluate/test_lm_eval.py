"""``lmzoo lm-eval``: the harness loads a run; its WikiText figures are those of ``extrapolate --as lm-eval``."""

import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lmzoo.errors import ConfigError
from lmzoo.train.cli import main
from lmzoo.train.evaluate.lm_eval import main as harness
from transformers import AutoModelForCausalLM, AutoTokenizer

needs_harness = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("lm_eval", "accelerate")),
    reason="lm-eval or accelerate is not installed",
)

# As in WikiText, with each of the signs that the task takes back, and of very different length.
PAGES = [
    " = The model = \n \n The players ' text @-@ making game cost 1 @,@ 000 £ , it 's ( said ) . \n"
    ' \n = = A section = = \n \n A " quoted text " at 3 @.@ 5 ° C ; N was here : yes ! \n ',
    " = Second = \n \n It is [ short ] and { small } ? \n ",
    " = Rows and words = \n \n" + " the model of a small text that we make here is read by rows . \n" * 9,
]


@pytest.fixture(scope="module")
def run(corpus, cache, tmp_path_factory):
    """A finished run with a codebook head."""
    folder = tmp_path_factory.mktemp("trained")
    config = {
        "seed_everything": 3,
        "model": {
            "d_model": 16,
            "n_layers": 1,
            "n_heads": 2,
            "warmup_steps": 1,
            "head": {"class_path": "VQLogitsHead", "init_args": {"codebook_size": 40, "within_code": "unigram"}},
        },
        "data": {
            "source": {split: str(corpus / f"{split}.txt") for split in ("train", "validation", "test")},
            "vocab_size": 270,
            "context_length": 16,
            "batch_size": 4,
            "cache_dir": str(cache),
        },
        "trainer": {"max_steps": 4, "accelerator": "cpu"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(folder / "config.yaml"), "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """The harness's own wikitext task, on a file of ours in place of its download."""
    from lm_eval import tasks

    folder = tmp_path_factory.mktemp("task")
    (folder / "pages.jsonl").write_text("".join(json.dumps({"page": page}) + "\n" for page in PAGES))
    own = next(iter(tasks.__path__))
    changed = {
        "include": f"{own}/wikitext/wikitext.yaml",
        "task": "wikitext_of_ours",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(folder / "pages.jsonl")}},
        "training_split": None,
        "validation_split": None,
    }
    (folder / "wikitext_of_ours.yaml").write_text(yaml.safe_dump(changed))
    return folder


def ours(run, folder, length, monkeypatch):
    """The record of ``lmzoo extrapolate`` on a WikiText of the same pages."""
    monkeypatch.setenv("LMZOO_DATA", str(folder))
    (folder / "wikitext-2-raw").mkdir()
    (folder / "wikitext-2-raw" / "wiki.test.raw").write_text("\n".join(PAGES))
    words = [str(run), "--lengths", str(length), "--as", "lm-eval", "--source", "wikitext-2", "--raw"]
    words += ["--split", "test", "--dtype", "float64", "--no_figure", "--output", str(folder / "ours")]
    assert main(["extrapolate", *words]) == 0
    (file,) = (folder / "ours").glob("**/*.jsonl")
    (record,) = (json.loads(line) for line in file.read_text().splitlines())
    assert record["documents"] == len(PAGES)
    return record


def assert_equal(record, theirs):
    assert record["word_perplexity"] == pytest.approx(theirs["word_perplexity,none"], rel=1e-9)
    assert record["bits_per_byte"] == pytest.approx(theirs["bits_per_byte,none"], rel=1e-9)


@needs_harness
@pytest.mark.parametrize(("length", "said"), [(16, ""), (64, ",max_length=64")])
def test_wikitext_figures_are_those_of_extrapolate(run, task, tmp_path, monkeypatch, length, said):
    """Without a length the harness takes the training length."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    results = simple_evaluate(
        model="hf",
        model_args=f"pretrained={run},dtype=float64{said}",
        tasks=["wikitext_of_ours"],
        task_manager=TaskManager(include_path=str(task), include_defaults=False),
        batch_size=3,
        device="cpu",
        bootstrap_iters=0,
    )
    assert_equal(ours(run, tmp_path, length, monkeypatch), results["results"]["wikitext_of_ours"])


@needs_harness
@pytest.mark.slow
def test_the_command_does_what_the_harness_does(run, task, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    words = ["--model", "hf", "--model_args", f"pretrained={run},dtype=float64", "--device", "cpu"]
    words += ["--include_path", str(task), "--tasks", "wikitext_of_ours"]
    assert main(["lm-eval", *words, "--output_path", str(tmp_path / "harness")]) == 0
    (file,) = (tmp_path / "harness").glob("**/*.json")
    assert_equal(ours(run, tmp_path, 16, monkeypatch), json.loads(file.read_text())["results"]["wikitext_of_ours"])


@needs_harness
@pytest.mark.slow
def test_the_task_of_the_guide_scores_a_text_of_ones_own(run, tmp_path, monkeypatch):
    guide = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "hugging-face.md").read_text()
    (task,) = re.findall(r"^```yaml\n(task: .*?)^```$", guide, re.M | re.S)
    (command,) = re.findall(r"^lmzoo (lm-eval .*--tasks my_text\b.*)$", guide, re.M)
    text = "the small model"
    (tmp_path / "my_text.yaml").write_text(task)
    (tmp_path / "my_text.txt").write_text(text)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    words = command.replace("runs/first", f"{run},dtype=float64").split()
    assert main([*words, "--output_path", str(tmp_path / "harness")]) == 0
    (file,) = (tmp_path / "harness").glob("**/*.json")
    theirs = json.loads(file.read_text())["results"]["my_text"]

    tokenizer = AutoTokenizer.from_pretrained(run)
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]])
    assert ids.size(1) <= 17  # one window of the training length
    model = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float64).eval()
    with torch.no_grad():
        nll = float(model(ids, labels=ids).loss) * (ids.size(1) - 1)
    assert theirs["word_perplexity,none"] == pytest.approx(math.exp(nll / 3), rel=1e-9)
    assert theirs["bits_per_byte,none"] == pytest.approx(nll / math.log(2) / len(text), rel=1e-9)


@needs_harness
def test_help_teaches_and_the_command_line_comes_back(capsys):
    before = list(sys.argv)
    with pytest.raises(SystemExit) as done:
        main(["lm-eval", "--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert "pretrained=runs/" in text
    assert "Language Model Evaluation Harness" in text
    assert sys.argv == before


@needs_harness
@pytest.mark.parametrize(
    "words", [["--trust_remote_code"], ["--model_args", "pretrained=x,trust_remote_code=True"], []]
)
def test_parts_of_ones_own_are_found_in_the_working_folder_where_trusted(tmp_path, monkeypatch, words):
    found = []
    monkeypatch.setattr(
        "lm_eval.__main__.cli_evaluate", lambda: found.append(importlib.util.find_spec("a_part_of_mine"))
    )
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / "a_part_of_mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert harness(["--model", "hf", *words]) == 0
    assert [spec is not None for spec in found] == [bool(words)]
    assert str(tmp_path) not in sys.path


def test_without_the_harness_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lm-eval and accelerate.*lmzoo\[eval\]"):
        harness([])
