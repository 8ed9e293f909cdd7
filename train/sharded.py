"""Fully sharded training (FSDP): each process holds a part of every weight, its gradient and AdamW's state.

This is PyTorch's ``fully_shard`` (FSDP2) under Lightning's strategy for it. Lightning's older ``FSDPStrategy`` wants a
GPU and leaves checkpoints in pieces; this one trains wherever processes can talk (gloo on CPUs, NCCL on GPUs), and its
checkpoints are single files like those of any run.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from ..models import Decoder


class ShardedStrategy(ModelParallelStrategy):
    """All processes of all nodes share each weight; checkpoints hold whole tensors, written by the first process."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Load with ``weights_only=True`` whatever is asked: a checkpoint never runs code.

        The strategy reads the file itself, past the trainer's :class:`.checkpoint.AtomicCheckpointIO`.
        """
        loaded: dict[str, Any] = super().load_checkpoint(checkpoint_path, weights_only=True)
        return loaded


def shard(decoder: Decoder, mesh: DeviceMesh) -> None:
    """Part every weight among the processes of a mesh; a block's are brought together only while it computes.

    Args:
        decoder: the same on every process; changed in place.
        mesh: with a dimension ``data_parallel``.
    """
    # nll returns a view, which nobody changes in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    along = mesh["data_parallel"]
    for block in decoder.blocks:
        fully_shard(block, mesh=along)
    fully_shard(decoder, mesh=along)
    register_fsdp_forward_method(decoder, "nll")


@contextlib.contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """Inside, every process has all weights, so that each may compute as often as it has batches; nothing to do where
    nothing is sharded.
    """
    parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def gathered(decoder: Decoder, fresh: Decoder) -> Decoder:
    """``fresh`` with the weights of a sharded decoder of the same parts, whole on every process."""
    weights = get_model_state_dict(decoder, options=StateDictOptions(full_state_dict=True))
    fresh.load_state_dict(weights)
    return fresh


def full(figure: Tensor) -> Tensor:
    """A figure that is spread over processes, such as a norm, as an ordinary tensor."""
    return figure.full_tensor() if isinstance(figure, DTensor) else figure


def is_sharded(module: nn.Module) -> bool:
    """Whether its weights are parted among processes."""
    return isinstance(module, FSDPModule)
