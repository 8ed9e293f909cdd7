"""Whether an evaluation of a run is done: other weights, settings, text or version repeat it, and nothing else does."""

import json
import os
import shutil

import pytest
import yaml
from lmzoo.train.cli import main
from lmzoo.train.data.corpus import text_facts
from lmzoo.train.evaluate import frame
from lmzoo.train.evaluate.analyze.run import AnalysisSettings
from lmzoo.train.evaluate.diagnose import command as diagnosis
from lmzoo.train.evaluate.extrapolate.evaluate import LengthSettings
from lmzoo.train.evaluate.frame import KnownTexts
from lmzoo.train.evaluate.loaded_run import load_run
from lmzoo.train.evaluate.numbers.run import NumbersSettings
from lmzoo.train.evaluate.probe.run import ProbeSettings
from lmzoo.train.runs import environment
from lmzoo.train.runs.evaluation_files import has_origin

# settings, and others of the same evaluation
ASKED = [
    (LengthSettings((8, 16)), LengthSettings((8, 32))),
    (AnalysisSettings(prompts=0), AnalysisSettings(prompts=0, split="validation")),
    (NumbersSettings(problems=0), NumbersSettings(problems=0, split="validation")),
    (ProbeSettings(("copy", "start"), (40,), 1), ProbeSettings(("copy", "start"), (40,), 2)),
]


@pytest.fixture(scope="module")
def evaluated(corpus, cache, tmp_path_factory):
    """A finished run on a text of its own, with an answer to each of the settings."""
    home = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(corpus, home / "text")
    config = {
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "warmup_steps": 1},
        "data": {
            "source": {split: str(home / "text" / f"{split}.txt") for split in ("train", "validation", "test")},
            "vocab_size": 270,
            "context_length": 16,
            "batch_size": 4,
            "cache_dir": str(cache),
        },
        "trainer": {"max_steps": 2, "accelerator": "cpu"},
    }
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    run = home / "run"
    assert main(["fit", "--config", str(home / "config.yaml"), "--run_dir", str(run)]) == 0
    for settings, _ in ASKED:
        assert settings.missing(run) == settings.steps
        assert main([settings.command, str(run), *settings.as_words()]) == 0
    assert main(["diagnose", str(run), "--lengths", "8"]) == 0
    return home


@pytest.fixture
def home(evaluated, tmp_path):
    """A copy of it, its text included, whose files are of another time."""
    copied = shutil.copytree(evaluated, tmp_path / "copied", copy_function=shutil.copy)
    file = copied / "run" / "config.yaml"
    file.write_text(file.read_text().replace(str(evaluated), str(copied)))
    return copied


@pytest.mark.parametrize(("settings", "others"), ASKED, ids=[settings.command for settings, _ in ASKED])
class TestSettings:
    def test_neither_a_commit_nor_a_time_repeats_it(self, settings, others, home, monkeypatch):
        run = home / "run"
        assert settings.missing(run) == 0
        monkeypatch.setattr(environment, "commit", lambda: "another")
        monkeypatch.setattr(environment, "versions", lambda: {"torch": "99"})
        for file in ("results.json", "model.safetensors", "config.yaml"):
            os.utime(run / file)
        assert settings.missing(run) == 0

    def test_other_settings_repeat_it(self, settings, others, home):
        assert others.missing(home / "run") > 0

    def test_other_weights_repeat_it(self, settings, others, home):
        weights = home / "run" / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        assert settings.missing(home / "run") == settings.steps

    def test_another_text_repeats_it_and_one_that_is_gone_does_not(self, settings, others, home):
        text = home / "text" / "test.txt"
        whole = text.read_text()
        text.write_text(whole.replace("text", "test"))
        assert settings.missing(home / "run") == settings.steps
        text.unlink()
        assert settings.missing(home / "run") == 0

    def test_another_version_repeats_it(self, settings, others, home, monkeypatch):
        monkeypatch.setattr(type(settings), "version", settings.version + 1)
        assert settings.missing(home / "run") == settings.steps

    def test_records_of_before_there_were_versions_are_made_again_once(self, settings, others, home):
        run = home / "run"
        for file in (*run.glob("*.jsonl"), *run.glob("probe/*.jsonl")):
            records = [json.loads(line) for line in file.read_text().splitlines()]
            for record in records:
                record.pop("version", None)
                record.get("passport", {}).pop("evaluation", None)
            file.write_text("".join(json.dumps(record) + "\n" for record in records))
        assert settings.missing(run) == settings.steps


@pytest.mark.parametrize("settings", [settings for settings, _ in ASKED], ids=lambda settings: settings.command)
def test_a_text_is_read_once_for_many_questions_and_never_for_none(settings, home, monkeypatch):
    read = []
    monkeypatch.setattr(frame, "text_facts", lambda _, split, *more: read.append(split) or text_facts(_, split, *more))
    texts = KnownTexts()
    for _ in range(3):
        assert settings.missing(home / "run", texts) == 0
    assert len(read) == len(set(read)) > 0
    read.clear()
    for file in (*(home / "run").glob("*.jsonl"), *(home / "run").glob("probe/*.jsonl")):
        file.unlink()
    assert settings.missing(home / "run") == settings.steps
    assert read == []


def test_a_diagnosis_says_what_it_is_of(home, monkeypatch):
    run = home / "run"
    recorded = json.loads((run / "diagnose" / "diagnose.json").read_text())["evaluation"]
    monkeypatch.setattr(environment, "commit", lambda: "another")
    for file in run.iterdir():
        os.utime(file)
    origin = load_run(run).origin(diagnosis.VERSION, ["validation"])
    assert has_origin(recorded, origin)
    assert not has_origin(recorded, {**origin, "version": diagnosis.VERSION + 1})
    assert not has_origin(recorded, {**origin, "weights_sha256": "0" * 64})
    assert not has_origin(recorded, {**origin, "text_sha256": {"validation": "0" * 64}})
    assert not has_origin(None, origin)


def test_an_extrapolation_under_another_commit_is_known_and_counted_once(home, monkeypatch, capsys):
    run, (settings, _) = home / "run", ASKED[0]
    monkeypatch.setattr("lmzoo.train.evaluate.extrapolate.passport.commit", lambda: "another")
    before = (run / "extrapolation.jsonl").read_text()
    assert main(["extrapolate", str(run), *settings.as_words()]) == 0
    assert capsys.readouterr().out.count("known already") == settings.steps
    assert (run / "extrapolation.jsonl").read_text() == before
