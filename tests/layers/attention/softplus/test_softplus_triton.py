"""The Triton kernels, under Triton's interpreter everywhere and compiled where there is a GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lmzoo.layers.functional import softplus_attention
from lmzoo.layers.reference import softplus_attention as dense

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.mark.slow
def test_interpreted_kernels_equal_the_reference() -> None:
    script = Path(__file__).with_name("softplus_triton_interpreted.py")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    finished = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.split()[-1] == "equal"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("power", [None, 3.0, 2.5, 15.0])
@pytest.mark.parametrize("width", [16, 64, 128])
def test_on_a_gpu(power: float | None, width: int) -> None:
    shapes = [(2, 4, 300, width), (2, 2, 333, width), (2, 2, 333, width)]
    tensors = [torch.randn(shape) for shape in shapes]
    results = []
    for function, device, dtype in ((softplus_attention, "cuda", torch.float32), (dense, "cpu", torch.float64)):
        cast = [z.to(device, dtype).requires_grad_() for z in tensors]
        y = function(*cast, power=power)
        gradients = torch.autograd.grad(y.square().sum(), cast)
        results.append([z.detach().double().cpu() for z in (y, *gradients)])
    for given, expected in zip(*results):
        assert (given - expected).norm() < 1e-3 * expected.norm()
