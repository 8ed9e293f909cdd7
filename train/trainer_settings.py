"""What we set on Lightning's trainer, and what has to be put right in what it is given."""

from __future__ import annotations

# Lightning's "int = so many batches, float = this share": the parser reads 1 as 1.0 where typing has cached the other
# order of the two, so whole numbers are put back.
WHOLE_OR_FRACTION = tuple(
    f"trainer.{key}"
    for key in (
        "limit_val_batches",
        "limit_test_batches",
        "limit_train_batches",
        "overfit_batches",
        "val_check_interval",
    )
)

TRAINER_DEFAULTS = {
    "log_every_n_steps": 10,
    "val_check_interval": 0.25,
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # the data module deals out samples by rank itself
    "enable_model_summary": False,
    "enable_checkpointing": True,
}
