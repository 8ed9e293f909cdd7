"""Where training stands, for a loader that has to go on from there."""

from __future__ import annotations

import lightning.pytorch as pl


def trainer_position(trainer: pl.Trainer, length: int) -> tuple[int, int]:
    """(iteration of the training loader, batch in it) at which a trainer's next batch stands.

    Taken from the number of batches that the trainer has ever trained on, which is part of its checkpoints. Its count
    of epochs does not do: it is one ahead in a checkpoint that is saved after a run stopped in mid epoch.

    Args:
        trainer: new, resumed from a checkpoint, or in training.
        length: batches in an iteration of the loader, before ``limit_train_batches`` cuts it short.
    """
    limit = trainer.limit_train_batches
    limited = int(length * limit) if isinstance(limit, float) else min(limit, length)
    batches = int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)
    return divmod(batches, max(limited, 1))
