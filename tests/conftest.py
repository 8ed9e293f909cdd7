"""One thread for each test process: the models here are small, and threads that wait for each other are slow."""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may lean on the network

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, or one core would be left alone with the last of them.

    And compilation is skipped where it cannot work: torch's compiler does not quote the paths it hands to the linker.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if " " in sys.prefix:
        skip = pytest.mark.skip(reason="torch.compile cannot link from an environment whose path has a space")
        for item in items:
            if "compile" in item.name:
                item.add_marker(skip)


@pytest.fixture
def published_block():
    """``published_block(file)``: what stands between the marks of a Markdown file that holds verdicts."""
    from lmzoo.train.report.claims.publish import BEGIN, END

    return lambda file: file.read_text(encoding="utf-8").partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0].strip("\n")
