# mypy: ignore-errors
"""What runs on the GPU for softplus_triton: one kernel forward, one for query rows and one for keys backward."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _load(pointer, problem, rows, n_rows, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    columns = tl.arange(0, PADDED)
    inside = (rows < n_rows)[:, None] & (columns < WIDTH)[None, :]
    at = (problem * n_rows + rows)[:, None].to(tl.int64) * WIDTH + columns[None, :]
    return tl.load(pointer + at, mask=inside, other=0.0)


@triton.jit
def _store(pointer, block, problem, rows, n_rows, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    columns = tl.arange(0, PADDED)
    inside = (rows < n_rows)[:, None] & (columns < WIDTH)[None, :]
    at = (problem * n_rows + rows)[:, None].to(tl.int64) * WIDTH + columns[None, :]
    tl.store(pointer + at, block, mask=inside)


@triton.jit
def _visible(rows, columns, n_queries, n_keys, mask, batch, MASKED: tl.constexpr):
    i = (rows + n_keys - n_queries)[:, None]
    j = columns[None, :]
    seen = j <= i
    if MASKED:
        real = tl.load(mask + batch * n_keys + columns, mask=columns < n_keys, other=0) != 0
        seen = (seen & real[None, :]) | (i == j)
    return seen & (rows < n_queries)[:, None] & (j < n_keys)


@triton.jit
def _positive(query, key, seen, ACTIVATION: tl.constexpr):
    """Phi and its derivative, both 0 where a key is not seen."""
    s = tl.dot(query, tl.trans(key), input_precision="ieee")
    if ACTIVATION == "relu":
        phi = tl.maximum(s, 0.0)
        slope = tl.where(s > 0.0, 1.0, 0.0)
    else:
        e = tl.exp(-tl.abs(s))
        sigmoid = tl.where(s >= 0.0, 1.0, e) / (1.0 + e)
        if ACTIVATION == "softplus":
            # log(1 + e) to full precision also where 1 + e rounds.
            u = 1.0 + e
            log1p = tl.where(u == 1.0, e, tl.log(u) * e / tl.where(u == 1.0, 1.0, u - 1.0))
            phi = tl.maximum(s, 0.0) + log1p
            slope = sigmoid
        else:
            phi = sigmoid
            slope = sigmoid * (tl.where(s >= 0.0, e, 1.0) / (1.0 + e))
    return tl.where(seen, phi, 0.0), tl.where(seen, slope, 0.0)


@triton.jit
def _raised(x, power):
    return tl.where(x > 0.0, tl.exp2(power * tl.log2(tl.maximum(x, 1e-37))), 0.0)


@triton.jit
def forward_kernel(
    query, key, value, powers, counts, mask, y, statistics, n_heads, n_groups, n_queries, n_keys, n_rows, free_rows,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    ACTIVATION: tl.constexpr, REWEIGHT: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Y and the statistics of a block of rows: a pass for sum and maximum of phi, a pass for W v."""
    problem = tl.program_id(1)
    batch, head = problem // n_heads, problem % n_heads
    group = batch * n_groups + head // (n_heads // n_groups)
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    q = _load(query, problem, rows, n_queries, WIDTH, PADDED)
    end = tl.minimum(n_keys, (tl.program_id(0) + 1) * BLOCK + n_keys - n_queries)
    total = tl.zeros([BLOCK], tl.float32)
    largest = tl.zeros([BLOCK], tl.float32)
    for start in range(0, end, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        seen = _visible(rows, columns, n_queries, n_keys, mask, batch, MASKED)
        phi, _ = _positive(q, _load(key, group, columns, n_keys, WIDTH, PADDED), seen, ACTIVATION)
        total += tl.sum(phi, 1)
        largest = tl.maximum(largest, tl.max(phi, 1))
    threshold = tl.zeros([BLOCK], tl.float32)
    factor = tl.zeros([BLOCK], tl.float32)
    power = tl.load(powers + head)
    if REWEIGHT:
        count = tl.load(counts + batch * n_queries + rows, mask=rows < n_queries, other=1.0)
        threshold = tl.where(count > free_rows, total / count, 0.0)
        largest = largest - threshold
        flat = (largest <= 1.52587890625e-05 * threshold) | (largest <= 5e-38)
        threshold = tl.where(flat, 0.0, threshold)
        factor = tl.where(flat, 0.0, 1.0 / tl.where(flat, 1.0, largest))
    factor = tl.where(total <= 1.2e-38, -1.0, factor)
    norm = tl.zeros([BLOCK], tl.float32)
    mixed = tl.zeros([BLOCK, VALUE_PADDED], tl.float32)
    for start in range(0, end, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        seen = _visible(rows, columns, n_queries, n_keys, mask, batch, MASKED)
        phi, _ = _positive(q, _load(key, group, columns, n_keys, WIDTH, PADDED), seen, ACTIVATION)
        w = _weights(phi, seen, threshold, factor, power)
        norm += tl.sum(w, 1)
        v = _load(value, group, columns, n_keys, VALUE_WIDTH, VALUE_PADDED)
        mixed += tl.dot(w, v, input_precision="ieee")
    inverse = 1.0 / tl.where(norm > 0.0, norm, 1.0)
    _store(y, mixed * inverse[:, None], problem, rows, n_queries, VALUE_WIDTH, VALUE_PADDED)
    at = statistics + problem * n_queries + rows
    tl.store(at, threshold, mask=rows < n_queries)
    tl.store(at + n_rows, factor, mask=rows < n_queries)
    tl.store(at + 2 * n_rows, inverse, mask=rows < n_queries)


@triton.jit
def _weights(phi, seen, threshold, factor, power):
    """W: x^p, phi in rows of factor 0, 1 in rows of factor -1."""
    x = tl.maximum(phi - threshold[:, None], 0.0) * tl.maximum(factor, 0.0)[:, None]
    w = tl.where((factor > 0.0)[:, None], _raised(x, power), phi)
    return tl.where((factor < 0.0)[:, None], tl.where(seen, 1.0, 0.0), w)


@triton.jit
def _dphi(phi, dweight, threshold, factor, power):
    """Gradient by phi, without the part through the threshold; dweight = (g.v - g.y) / Z."""
    x = tl.maximum(phi - threshold[:, None], 0.0) * tl.maximum(factor, 0.0)[:, None]
    dx = power * _raised(x, power - 1.0) * dweight * factor[:, None]
    return tl.where((factor > 0.0)[:, None], dx, dweight)


@triton.jit
def row_kernel(
    query, key, value, powers, counts, mask, gradient, y, statistics, of_rows, dquery,
    n_heads, n_groups, n_queries, n_keys, n_rows,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    ACTIVATION: tl.constexpr, REWEIGHT: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient by the queries; keeps g.y and the mean gradient of each row for the kernel over keys."""
    problem = tl.program_id(1)
    batch, head = problem // n_heads, problem % n_heads
    group = batch * n_groups + head // (n_heads // n_groups)
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    q = _load(query, problem, rows, n_queries, WIDTH, PADDED)
    g = _load(gradient, problem, rows, n_queries, VALUE_WIDTH, VALUE_PADDED)
    g_y = tl.sum(g * _load(y, problem, rows, n_queries, VALUE_WIDTH, VALUE_PADDED), 1)
    inside = rows < n_queries
    at = problem * n_queries + rows
    threshold = tl.load(statistics + at, mask=inside, other=0.0)
    factor = tl.load(statistics + n_rows + at, mask=inside, other=0.0)
    inverse = tl.load(statistics + 2 * n_rows + at, mask=inside, other=0.0)
    power = tl.load(powers + head)
    end = tl.minimum(n_keys, (tl.program_id(0) + 1) * BLOCK + n_keys - n_queries)
    mean = tl.zeros([BLOCK], tl.float32)
    if REWEIGHT:
        for start in range(0, end, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            seen = _visible(rows, columns, n_queries, n_keys, mask, batch, MASKED)
            phi, _ = _positive(q, _load(key, group, columns, n_keys, WIDTH, PADDED), seen, ACTIVATION)
            v = _load(value, group, columns, n_keys, VALUE_WIDTH, VALUE_PADDED)
            dweight = (tl.dot(g, tl.trans(v), input_precision="ieee") - g_y[:, None]) * inverse[:, None]
            mean += tl.sum(_dphi(phi, dweight, threshold, factor, power), 1)
        count = tl.load(counts + batch * n_queries + rows, mask=inside, other=1.0)
        mean = tl.where(threshold > 0.0, mean / count, 0.0)
    tl.store(of_rows + at, g_y, mask=inside)
    tl.store(of_rows + n_rows + at, mean, mask=inside)
    dq = tl.zeros([BLOCK, PADDED], tl.float32)
    for start in range(0, end, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        seen = _visible(rows, columns, n_queries, n_keys, mask, batch, MASKED)
        k = _load(key, group, columns, n_keys, WIDTH, PADDED)
        phi, slope = _positive(q, k, seen, ACTIVATION)
        v = _load(value, group, columns, n_keys, VALUE_WIDTH, VALUE_PADDED)
        dweight = (tl.dot(g, tl.trans(v), input_precision="ieee") - g_y[:, None]) * inverse[:, None]
        ds = slope * (_dphi(phi, dweight, threshold, factor, power) - mean[:, None])
        dq += tl.dot(ds, k, input_precision="ieee")
    _store(dquery, dq, problem, rows, n_queries, WIDTH, PADDED)


@triton.jit
def key_kernel(
    query, key, value, powers, counts, mask, gradient, statistics, of_rows, dkey, dvalue,
    n_heads, n_groups, n_queries, n_keys, n_rows,
    WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    ACTIVATION: tl.constexpr, REWEIGHT: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients by keys and values, summed over the rows that see them and the heads that share them."""
    group = tl.program_id(1)
    batch = group // n_groups
    repeats = n_heads // n_groups
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = _load(key, group, columns, n_keys, WIDTH, PADDED)
    v = _load(value, group, columns, n_keys, VALUE_WIDTH, VALUE_PADDED)
    dk = tl.zeros([BLOCK, PADDED], tl.float32)
    dv = tl.zeros([BLOCK, VALUE_PADDED], tl.float32)
    # The first row that sees the first of these keys, rounded down to a block.
    first = tl.maximum(tl.program_id(0) * BLOCK - (n_keys - n_queries), 0) // BLOCK * BLOCK
    for shared in range(0, repeats):
        head = (group % n_groups) * repeats + shared
        problem = batch * n_heads + head
        power = tl.load(powers + head)
        for start in range(first, n_queries, BLOCK):
            rows = start + tl.arange(0, BLOCK)
            inside = rows < n_queries
            at = problem * n_queries + rows
            threshold = tl.load(statistics + at, mask=inside, other=0.0)
            factor = tl.load(statistics + n_rows + at, mask=inside, other=0.0)
            inverse = tl.load(statistics + 2 * n_rows + at, mask=inside, other=0.0)
            g_y = tl.load(of_rows + at, mask=inside, other=0.0)
            mean = tl.load(of_rows + n_rows + at, mask=inside, other=0.0)
            q = _load(query, problem, rows, n_queries, WIDTH, PADDED)
            g = _load(gradient, problem, rows, n_queries, VALUE_WIDTH, VALUE_PADDED)
            seen = _visible(rows, columns, n_queries, n_keys, mask, batch, MASKED)
            phi, slope = _positive(q, k, seen, ACTIVATION)
            w = _weights(phi, seen, threshold, factor, power) * inverse[:, None]
            dv += tl.dot(tl.trans(w), g, input_precision="ieee")
            dweight = (tl.dot(g, tl.trans(v), input_precision="ieee") - g_y[:, None]) * inverse[:, None]
            ds = slope * (_dphi(phi, dweight, threshold, factor, power) - mean[:, None])
            dk += tl.dot(tl.trans(ds), q, input_precision="ieee")
    _store(dkey, dk, group, columns, n_keys, WIDTH, PADDED)
    _store(dvalue, dv, group, columns, n_keys, VALUE_WIDTH, VALUE_PADDED)
