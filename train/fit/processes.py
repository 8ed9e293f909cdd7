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

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from ...errors import require
from ...models import Decoder


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


SHARDED = "fsdp"
"""What ``trainer.strategy`` calls :class:`ShardedStrategy`."""


def mean_over_processes(trainer: pl.Trainer | None, *figures: Tensor) -> tuple[Tensor, ...]:
    """Means of scalars over the processes of a run, in float64; the scalars themselves where there is one process.

    Every process has as many samples in a batch, so that these are means over the samples too.
    """
    if trainer is None or trainer.world_size == 1:
        return figures
    together = torch.stack([figure.double() for figure in figures])
    return tuple(trainer.strategy.reduce(together, reduce_op="mean"))


def any_process(trainer: pl.Trainer, asked: bool) -> bool:
    """Whether any process of the run says yes: one that acted alone would leave the others waiting for ever."""
    return asked if trainer.world_size == 1 else bool(trainer.strategy.reduce_boolean_decision(asked, all=False))


def check_strategy(settings: dict[str, Any]) -> None:
    """Raise :class:`ArgumentError` for trainer settings under which a run of several processes would come out wrong.

    ``fsdp`` is ours (:class:`ShardedStrategy`). Lightning's own sharding strategies leave no process with the whole model, which
    scoring and the export need. Processes that are spawned or forked hand back weights, but not what was logged.
    """
    strategy = settings["strategy"]
    name = strategy if isinstance(strategy, str) else type(strategy).__name__.lower()
    expected = "auto, ddp or fsdp, whose processes are started as commands"
    wrong = ("fsdp", "deepspeed", "modelparallel", "model_parallel", "spawn", "fork", "notebook", "xla")
    require(name == SHARDED or not any(word in name for word in wrong), "strategy", expected, name)
    sampler = settings["use_distributed_sampler"]
    require(
        sampler is False, "use_distributed_sampler", "false: samples are dealt out to the processes already", sampler
    )


def lost_connection(error: BaseException) -> bool:
    """Whether an error only says that another process of the run has gone, by gloo's words or by PyTorch's class.

    Such a word tells nothing of the reason, and comes late: the run may have been taken up again meanwhile.
    """
    words = ("Connection closed by peer", "Connection reset by peer")
    return isinstance(error, torch.distributed.DistNetworkError) or any(word in str(error) for word in words)
