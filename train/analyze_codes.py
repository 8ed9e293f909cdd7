"""How a vector-quantised head has parted the vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

Record = dict[str, Any]


def code_record(head: nn.Module, token_counts: npt.NDArray[np.int64]) -> Record | None:
    """Sizes of the codes of a head that holds a buffer ``mapping`` (V), token id to code; None for any other head.

    ``sizes`` are the token ids of each code and ``training_tokens`` the training labels among them, by code id. A code
    without ids never gets any probability; one whose ids training never saw is never a target of training.
    """
    mapping = next((b for name, b in head.named_buffers() if name.rpartition(".")[2] == "mapping"), None)
    if mapping is None:
        return None
    code_of = mapping.cpu().numpy()
    codes = max(int(getattr(head, "codebook_size", 0)), int(code_of.max()) + 1)
    sizes = np.bincount(code_of, minlength=codes)
    used = np.zeros(codes, dtype=np.int64)
    np.add.at(used, code_of, token_counts[: len(code_of)])
    return {
        "kind": "codes",
        "head": type(head).__name__,
        "codebook_size": codes,
        "vocab_size": len(code_of),
        "largest": int(sizes.max()),
        "singletons": int((sizes == 1).sum()),
        "without_ids": int((sizes == 0).sum()),
        "without_training_tokens": int((used == 0).sum()),
        "sizes": sizes.tolist(),
        "training_tokens": used.tolist(),
    }
