"""Softmax attention in which each head learns how sharp it is: a part for lmzoo to begin from.

Change attend(), then see whether everything that an attention layer promises still holds with `lmzoo check`.
"""

import math

import torch
from lmzoo.errors import require
from lmzoo.layers import Attention, Position
from lmzoo.layers.attention.softmax_mix import softmax_mix
from lmzoo.layers.attention.visibility import Visibility
from torch import Tensor, nn


class MyAttention(Attention):
    """y_i = sum_j softmax_j(exp(s_h) q_i . k_j / sqrt(dh)) v_j over the keys that row i sees.

    s_h is learned for each head h and starts at log(sharpness).

    Args:
        d_model: d, the width of x.
        n_heads: H, query heads of width dh = d / H.
        n_kv_heads: G, key/value heads, each shared by H / G query heads; None is H.
        position: where tokens stand; None is Rotary().
        sharpness: what the scores are multiplied by at first; 1 is plain softmax attention.

    Raises:
        ArgumentError: as of Attention, or the sharpness is not above 0.
    """

    # The positions that attend() below can use: on queries and keys, on the scores, or none.
    position_kinds = frozenset({"query_key", "score", "nothing"})

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        position: Position | type[Position] | None = None,
        sharpness: float = 1.0,
    ) -> None:
        # Makes the projections of x to queries, keys and values and back, and keeps the arguments above.
        super().__init__(d_model, n_heads, n_kv_heads=n_kv_heads, position=position)
        require(sharpness > 0, "sharpness", "a number above 0", sharpness)
        # Every argument is kept as an attribute of its own name: that is how a model describes itself when it is saved.
        self.sharpness = sharpness
        self.log_sharpness = nn.Parameter(torch.full((n_heads,), math.log(sharpness)))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility) -> Tensor:
        """Mix the values: query (B, H, Tq, dh), key and value (B, G, Tk, dh) -> (B, H, Tq, dh).

        Queries stand at the end of the keys. Positions have been applied to queries and keys, and cached keys stand
        before the new ones. What a row may see is in `visibility`: visibility.mask(), a bool tensor that broadcasts to
        (B, H, Tq, Tk). A whole (Tq, Tk) tensor costs memory that grows with the square of the length: let softmax_mix
        avoid it, or mix strips of rows inside torch.utils.checkpoint. After keys, own = visibility.strip(a, b) the rows
        a to before b need key[:, :, keys] only, and see them where own.mask() is True.
        """
        # (H, 1, 1), to go with (B, H, Tq, dh).
        sharper = (query * self.log_sharpness.exp()[:, None, None]).to(query.dtype)
        return softmax_mix(sharper, key, value, visibility, scale=query.size(-1) ** -0.5, position=self.position)
