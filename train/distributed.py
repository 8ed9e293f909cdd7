"""A run of several processes, by Lightning's strategies: what they have to agree on, and which strategies serve.

The samples of a step are dealt out by :class:`.data.order.SampleOrder`; evaluation sums are added up by torchmetrics.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ..errors import require

SHARDED = "fsdp"
"""What ``trainer.strategy`` calls :class:`.sharded.ShardedStrategy`."""


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

    ``fsdp`` is ours (:mod:`.sharded`). Lightning's own sharding strategies leave no process with the whole model, which
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
