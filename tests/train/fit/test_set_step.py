"""Parts that change as training goes on are told the optimizer step, which a resumed run knows too."""

from functools import partial

import pytest
from lmzoo.layers import SoftplusAttention
from lmzoo.train.fit.module import LanguageModule


def test_the_module_tells_every_part_its_step(monkeypatch):
    attention = partial(SoftplusAttention, power=9.0, power_warmup_steps=8)
    module = LanguageModule(vocab_size=50, d_model=32, n_layers=2, n_heads=4, attention=attention)
    for step, power in ((0, 1.0), (2, 3.0), (8, 9.0), (20, 9.0), (2, 3.0)):
        monkeypatch.setattr(LanguageModule, "global_step", step)
        module.on_train_batch_start({}, batch_idx=0)
        for block in module.network.blocks:
            assert block.attention.current_power().tolist() == pytest.approx([power] * 4)
