"""A comparison killed outright in the middle, parent and child, ends as one that was left alone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from lmzoo.train.runs.folder import checkpoints

# The second is the slower: whatever the machine does meanwhile, it is still in the middle when its turn comes.
VARIANTS = {"rotary": None, "alibi": {"model": {"position": "ALiBi", "n_layers": 4}}}


@pytest.fixture
def comparison(cache, write):
    base = {
        "model": {"d_model": 16, "n_layers": 1, "n_heads": 2, "warmup_steps": 5},
        "data": {
            "source": "python-docs",
            "vocab_size": 300,
            "context_length": 32,
            "batch_size": 4,
            "eval_batch_size": 256,
            "cache_dir": str(cache),
        },
        "trainer": {"max_steps": 80, "log_every_n_steps": 4, "val_check_interval": 60, "accelerator": "cpu"},
        "checkpoint_every_n_steps": 5,
    }
    return write({"name": "killed", "base": base, "variants": VARIANTS, "baseline": "rotary", "seeds": [0]}, "all.yaml")


def outcome(run: Path):
    """All of a run that may not depend on how often it was interrupted."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")} for row in rows]
    records = json.loads((run / "results.json").read_text())["records"]
    return rows, [record["nll"] for record in records], (run / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_comparison_killed_again_and_again_ends_the_same(comparison, tmp_path, wait_for, alive):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = [sys.executable, "-m", "lmzoo.train", "compare", str(comparison), "--threads", "1", "--output"]

    def left_alone(output: Path, *options: str) -> str:
        done = subprocess.run([*words, str(output), *options], capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    left_alone(whole)

    def step() -> int:
        """The newest checkpoint of the slower run."""
        files = checkpoints(killed / "alibi" / "seed-0" / "checkpoints")
        return int(files[-1].stem.removeprefix("step-")) if files else 0

    def children(parent) -> dict[int, str]:
        """The command lines of the children that have got as far as their own."""
        found = {}
        for process in psutil.Process(parent.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # the quicker run may just have ended
                found[process.pid] = " ".join(process.cmdline())
        return found

    seen: set[int] = set()

    def interrupted(kill) -> int:
        """Start the comparison, do ``kill(parent, pid of the slower run)`` once that has gone on; its exit code."""
        parent = subprocess.Popen([*words, str(killed), "--jobs", "2"], stdout=subprocess.DEVNULL)

        def slower() -> list[int]:
            found = children(parent)
            seen.update(found)
            return [pid for pid, said in found.items() if "alibi" in said]

        try:
            wait_for(slower, 600)
            before = step()
            wait_for(lambda: step() > before, 600)
            (pid,) = slower()
            kill(parent, pid)
            return parent.wait(600)
        finally:
            parent.kill()

    for _ in range(2):  # the second begins at once, while the children of the first may still be on their way out
        assert interrupted(lambda parent, _: parent.kill()) == -signal.SIGKILL
        assert not (killed / "alibi" / "seed-0" / "results.json").exists()

    assert interrupted(lambda _, pid: os.kill(pid, signal.SIGKILL)) == 1
    assert (killed / "rotary" / "seed-0" / "results.json").exists(), "the other run goes on"
    reason = json.loads((killed / "alibi" / "seed-0" / "failure.json").read_text())["reason"]
    assert reason == "the process was ended by SIGKILL, as when memory runs out"
    wait_for(lambda: not any(map(alive, seen)))

    said = left_alone(killed, "--jobs", "2")
    assert "rotary, seed 0: finished already" in said
    for name in VARIANTS:
        assert outcome(killed / name / "seed-0") == outcome(whole / name / "seed-0")
    budget = json.loads((killed / "rotary" / "seed-0" / "environment.json").read_text())
    assert (budget["budget"], budget["torch_threads"]) == ({"threads": 1, "jobs": 2}, 1)
