"""Every command and every piece of Python in the README runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lmzoo.train.report.claims.claim import read_claims, shipped_claims
from lmzoo.train.report.claims.publish import verdict_block
from lmzoo.train.report.claims.report import conditions
from lmzoo.train.report.claims.results import holds_results, read_results
from lmzoo.train.report.claims.verdicts import verdicts

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SHORTER = [
    "--trainer.max_steps",
    "10",
]  # added to a training command that does not say how long; all else is as printed


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_make_targets_exist():
    targets = [words[1] for words in commands() if words[0] == "make"]
    assert {"demo", "test"} <= set(targets)
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_and_python_run_as_printed(tmp_path):
    # in another folder than the checkout: shipped configurations are found from anywhere
    ran = 0
    for words in commands():
        if words[0] != "lmzoo":
            continue
        endless = words[1] == "fit" and not any("max_steps" in w for w in words)
        done = subprocess.run(
            [sys.executable, "-m", "lmzoo.train", *words[1:], *(SHORTER if endless else [])],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 7
    for code in blocks("python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
    assert (tmp_path / "runs" / "quick" / "report" / "report.html").stat().st_size > 10_000


def test_the_verdicts_are_those_of_the_published_results(monkeypatch, published_block):
    monkeypatch.chdir(ROOT)  # as the command that wrote them
    published = Path("notebooks/results")
    claims = shipped_claims()
    there = published.is_dir() and any(map(holds_results, published.iterdir()))
    results = read_results([published]) if there else []
    outcomes = verdicts([read_claims(file) for file in claims], results)
    files = {file.stem: f"configs/claims/{file.name}" for file in claims}
    block = verdict_block(outcomes, files, "notebooks/results/verdicts", conditions(outcomes, results))
    assert published_block(ROOT / "README.md") == block, (
        "run: lmzoo claims --runs notebooks/results --output notebooks/results/verdicts --publish README.md"
    )
    for picture in re.findall(r'(?:src|srcset)="([^"]+)"', block):
        assert Path(picture).is_file()
    rows = [json.loads(line) for file in published.glob("verdicts/claims.jsonl") for line in file.open()]
    assert [row["verdict"] for row in rows] in ([], [outcome.verdict for outcome in outcomes])


def test_only_known_commands_are_printed():
    known = {"make", "lmzoo"}
    assert {words[0] for words in commands()} <= known
