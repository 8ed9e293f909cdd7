"""A run killed at any point and started again ends as if nothing had happened, bit for bit."""

import json
import signal

import pytest

# What a child process does to itself; SIGKILL leaves no chance to clean up.
KILL_IN_STEP = """
import os, signal, sys
from lmzoo.train.cli import main
from lmzoo.train.fit.module import LanguageModule
step = LanguageModule.training_step
def training_step(self, batch, batch_idx):
    loss = step(self, batch, batch_idx)
    if batch_idx == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss
LanguageModule.training_step = training_step
sys.exit(main(sys.argv[1:]))
"""

KILL_IN_CHECKPOINT_WRITE = """
import os, signal, sys, torch
from lmzoo.train.cli import main
save, written = torch.save, []
def torch_save(value, stream, *args, **kwargs):
    written.append(1)
    if len(written) == {at}:
        stream.write(b"PK half a checkpoint")
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return save(value, stream, *args, **kwargs)
torch.save = torch_save
sys.exit(main(sys.argv[1:]))
"""

KILL_IN_VALIDATION = """
import os, signal, sys
from lmzoo.train.cli import main
from lmzoo.train.fit.module import LanguageModule
step = LanguageModule.validation_step
def validation_step(self, batch, batch_idx):
    step(self, batch, batch_idx)
    if self.trainer.global_step == {at} and batch_idx == 1:
        os.kill(os.getpid(), signal.SIGKILL)
LanguageModule.validation_step = validation_step
sys.exit(main(sys.argv[1:]))
"""

TIMES = ("seconds", "tokens_per_second")


def outcome(folder):
    """Everything about a run that may not depend on how often it was interrupted."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
    records = json.loads((folder / "results.json").read_text())["records"]
    return rows, [r["nll"] for r in records], (folder / "model.safetensors").read_bytes()


@pytest.fixture
def config(tiny, write):
    # 2.x passes over the text, so that a resume falls into pass 2; dropout, accumulation and loader workers too
    tiny["model"]["dropout"] = 0.1
    tiny["data"]["num_workers"] = 2
    tiny["trainer"] |= {"max_steps": 60, "accumulate_grad_batches": 2, "val_check_interval": 40}
    tiny["checkpoint_every_n_steps"] = 5
    return write(tiny)


@pytest.mark.slow
def test_killed_runs_end_like_an_uninterrupted_one(lmzoo, config, tmp_path):
    whole = tmp_path / "whole"
    lmzoo("fit", "--config", config, "--run_dir", whole)
    rows, nlls, weights = outcome(whole)
    steps = [row["step"] for row in rows if row["split"] == "train"]
    assert steps == list(range(1, 61))
    passes = {row["epoch"] for row in rows if row["split"] == "train"}
    assert len(passes) >= 2, "the run has to reach its second pass for this test to mean anything"

    folder = tmp_path / "killed"
    for program in (
        KILL_IN_CHECKPOINT_WRITE.format(at=1),  # before there is anything to resume from
        KILL_IN_STEP.format(at=27),
        KILL_IN_VALIDATION.format(at=20),  # a checkpoint is due at this step too
        KILL_IN_CHECKPOINT_WRITE.format(at=2),
        KILL_IN_STEP.format(at=101),  # in the second pass over the text
    ):
        killed = lmzoo("fit", "--config", config, "--run_dir", folder, program=program, code=None)
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        assert not (folder / "results.json").exists()
    done = lmzoo("fit", "--config", config, "--run_dir", folder)
    assert "resuming from step-00000050" in done.stdout
    again_rows, again_nlls, again_weights = outcome(folder)
    assert again_rows == rows
    assert again_nlls == nlls
    assert again_weights == weights
    assert not list((folder / "checkpoints").glob(".*")), "what the killed write left is swept away"


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_another_configuration_refused(lmzoo, tiny, write, tmp_path):
    config, run = write(tiny), tmp_path / "run"
    lmzoo("fit", "--config", config, "--run_dir", run)
    before = (run / "results.json").stat().st_mtime_ns
    assert "finished already" in lmzoo("fit", "--config", config, "--run_dir", run).stdout
    assert (run / "results.json").stat().st_mtime_ns == before
    refused = lmzoo("fit", "--config", config, "--run_dir", run, "--model.learning_rate", "0.02", code=2)
    assert "model.learning_rate" in refused.stderr
    assert "another --run_dir" in refused.stderr
