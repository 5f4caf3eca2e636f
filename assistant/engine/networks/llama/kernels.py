"""One token through a Llama-family model on a GPU, in five kernels a layer: Triton.

Matrix times vector is bound by the bandwidth of memory, and what lies between costs its launches: so the norm is part
of the product that reads it, the gate of the one that makes it, the residual of the one that adds to it, and attention
turns its queries and writes its own key and value. Everything that changes from token to token (`cursor`) lies in the
GPU's memory, so that one CUDA graph serves every conversation at every length. Activations are float32, but for
queries and attention's weights, which are bfloat16 as keys and values are.

Weights, planar, for y (N,) = W x: `B16` bfloat16 (N, K). `Q8` int8 (N, K) with float16 scales (N, K / 32). `Q4` bytes
(N, K / 2) with scales and minima; byte 16 g + i of a row holds weight 32 g + i below and 32 g + 16 + i above, as in
ggml's blocks.
"""

import triton
import triton.language as tl

B16, Q8, Q4 = 16, 8, 4
GROUP = 32
DOT = tl.constexpr(tl.float32 if triton.knobs.runtime.interpret else tl.bfloat16)
"""Triton's interpreter, which the tests run the kernels in, multiplies the bits of bfloat16 as integers."""


@triton.jit
def product(
    x, norm, weights, scales, minima, bias, inner, b, gain, residual, y,
    n: tl.constexpr, k: tl.constexpr, kind: tl.constexpr, eps: tl.constexpr, gated: tl.constexpr, rank: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, room: tl.constexpr,
):  # fmt: skip
    """y (n,) = W x + bias, of 2 * n rows with `gated`, whose halves give silu(first) * second.

    `norm` (k,): x is normed with it first. `inner` (rank,), `b` (N, rank) and `gain` (N,): an adapter's part, y =
    gain * (y + b inner). `residual` (n,) is added last. Any of them may be None. `room`: a power of two, at least k.
    """
    at = tl.program_id(0) * rows + tl.arange(0, rows)
    scale = 1.0
    if norm is not None:
        i = tl.arange(0, room)
        whole = tl.load(x + i, i < k, 0.0)
        scale = tl.rsqrt(tl.sum(whole * whole) / k + eps)
    if gated:
        gate = times(x, norm, scale, weights, scales, minima, at, n, k, kind, rows, columns)
        gate = finished(gate, bias, inner, b, gain, at, n, rank)
        gate = gate / (1 + tl.exp(-gate))
        up = times(x, norm, scale, weights, scales, minima, at + n, 2 * n, k, kind, rows, columns)
        out = gate * finished(up, bias, inner, b, gain, at + n, 2 * n, rank)
    else:
        out = times(x, norm, scale, weights, scales, minima, at, n, k, kind, rows, columns)
        out = finished(out, bias, inner, b, gain, at, n, rank)
    if residual is not None:
        out += tl.load(residual + at, at < n, 0.0)
    tl.store(y + at, out, at < n)


@triton.jit
def times(
    x, norm, scale, weights, scales, minima, at, n,
    k: tl.constexpr, kind: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """W x (rows,) of the rows `at`, those under n."""
    row = at.to(tl.int64)[:, None]
    if kind == 16:
        i = tl.arange(0, columns)
        total = tl.zeros((rows, columns), tl.float32)
        for start in range(0, k, columns):
            seen = (at < n)[:, None] & (start + i < k)[None, :]
            w = tl.load(weights + row * k + start + i[None, :], seen, 0.0).to(tl.float32)
            total += w * activation(x, norm, scale, start + i, k)[None, :]
    else:
        groups: tl.constexpr = columns // 32
        total = tl.zeros((rows, groups), tl.float32)
        for start in range(0, k, columns):
            group = start // 32 + tl.arange(0, groups)
            seen_group = (at < n)[:, None] & (group < k // 32)[None, :]
            d = tl.load(scales + row * (k // 32) + group[None, :], seen_group, 0.0).to(tl.float32)
            if kind == 8:
                i = tl.arange(0, columns)
                seen = (at < n)[:, None] & (start + i < k)[None, :]
                w = tl.load(weights + row * k + start + i[None, :], seen, 0).to(tl.float32)
                found = w * activation(x, norm, scale, start + i, k)[None, :]
                total += d * tl.sum(tl.reshape(found, (rows, groups, 32)), 2)
            else:
                i = tl.arange(0, columns // 2)
                seen = (at < n)[:, None] & (start // 2 + i < k // 2)[None, :]
                byte = tl.load(weights + row * (k // 2) + start // 2 + i[None, :], seen, 0)
                column = start + i // 16 * 32 + i % 16
                low = activation(x, norm, scale, column, k)
                high = activation(x, norm, scale, column + 16, k)
                found = (byte & 15).to(tl.float32) * low[None, :] + (byte >> 4).to(tl.float32) * high[None, :]
                m = tl.load(minima + row * (k // 32) + group[None, :], seen_group, 0.0).to(tl.float32)
                sums = tl.sum(tl.reshape(low + high, (groups, 16)), 1)
                total += d * tl.sum(tl.reshape(found, (rows, groups, 16)), 2) + m * sums[None, :]
    return tl.sum(total, 1)


@triton.jit
def activation(x, norm, scale, i, k: tl.constexpr):
    """Numbers `i` of x, normed; 0 from k on."""
    value = tl.load(x + i, i < k, 0.0)
    if norm is not None:
        value = value * scale * tl.load(norm + i, i < k, 0.0).to(tl.float32)
    return value


@triton.jit
def finished(out, bias, inner, b, gain, at, n, rank: tl.constexpr):
    """W x -> with the adapter's part and the bias."""
    if rank:
        r = tl.arange(0, rank)
        rows = tl.load(b + at.to(tl.int64)[:, None] * rank + r[None, :], (at < n)[:, None], 0.0)
        out += tl.sum(rows * tl.load(inner + r)[None, :], 1)
        out *= tl.load(gain + at, at < n, 0.0)
    if bias is not None:
        out += tl.load(bias + at, at < n, 0.0).to(tl.float32)
    return out


@triton.jit
def turned(heads, norm, rotation, at, i, eps: tl.constexpr, dim: tl.constexpr, rotated: tl.constexpr):
    """Heads `at` (G,) of `heads` (.., dim), normed with `norm` (.., dim) and rotated: (G, dim) of the dimensions i."""
    value = tl.load(heads + at[:, None] * dim + i[None, :])
    scale = 1.0
    if norm is not None:
        scale = tl.rsqrt(tl.sum(value * value, 1) / dim + eps)[:, None]
        value = value * scale * tl.load(norm + at[:, None] * dim + i[None, :]).to(tl.float32)
    if rotated:  # pairs lie side by side
        other = tl.load(heads + at[:, None] * dim + (i ^ 1)[None, :])
        if norm is not None:
            other = other * scale * tl.load(norm + at[:, None] * dim + (i ^ 1)[None, :]).to(tl.float32)
        sine = tl.load(rotation + (i | 1)) * tl.where(i % 2 == 0, -1.0, 1.0)
        value = value * tl.load(rotation + (i & -2))[None, :] + other * sine[None, :]
    return value


@triton.jit
def attention(
    qkv, norm, cursor, parts, arrived, out, layer,
    heads: tl.constexpr, kv_heads: tl.constexpr, dim: tl.constexpr, window: tl.constexpr, rotated: tl.constexpr,
    eps: tl.constexpr, group: tl.constexpr, keys: tl.constexpr, splits: tl.constexpr,
):  # fmt: skip
    """out (heads, dim) of one token's qkv (heads + 2 * kv_heads, dim); its key and value join the cache.

    `cursor`: token, position, address of kv (layers, 2, kv_heads, T, dim) bfloat16, T, address of the position's
    rotations (dim,). Each program takes a share of the positions for one key head; the last to arrive joins what
    `parts` (kv_heads, splits, group, dim + 2) hold then. `group`: query heads of a key head, up to a power of two from
    16 on, which tensor cores want. `keys`: positions at once. Flash-Decoding, https://pytorch.org/blog/flash-decoding.
    """
    head, split = tl.program_id(0), tl.program_id(1)
    sharing: tl.constexpr = heads // kv_heads
    position, capacity = tl.load(cursor + 1), tl.load(cursor + 3)
    cache = tl.load(cursor + 2).to(tl.pointer_type(tl.bfloat16))
    i, g = tl.arange(0, dim), tl.arange(0, group)
    k_at = cache + ((layer * 2 * kv_heads + head).to(tl.int64) * capacity) * dim
    v_at = k_at + kv_heads * capacity * dim
    rotation = tl.load(cursor + 4).to(tl.pointer_type(tl.float32))
    query_heads = head * sharing + tl.where(g < sharing, g, 0)
    q = turned(qkv, norm, rotation, query_heads, i, eps, dim, rotated) * (dim**-0.5)
    q = q.to(DOT)

    first = tl.maximum(position + 1 - window, 0) if window else position * 0
    share = tl.cdiv(tl.cdiv(position + 1 - first, splits), keys) * keys
    begin = first + split * share
    end = tl.minimum(begin + share, position + 1)
    most = tl.full((group,), float("-inf"), tl.float32)
    total = tl.zeros((group,), tl.float32)
    sums = tl.zeros((group, dim), tl.float32)
    if (begin <= position) & (position < end):  # nobody else reads them
        key_head = tl.full((1,), heads, tl.int32) + head
        key = turned(qkv, norm, rotation, key_head, i, eps, dim, rotated)
        tl.store(k_at + position * dim + i, tl.sum(key, 0).to(tl.bfloat16))
        value = tl.load(qkv + (heads + kv_heads + head) * dim + i)
        tl.store(v_at + position * dim + i, value.to(tl.bfloat16))
        tl.debug_barrier()
    for start in range(begin, end, keys):
        j = start + tl.arange(0, keys)
        k = tl.load(k_at + j[:, None] * dim + i[None, :], (j < end)[:, None], 0.0)
        v = tl.load(v_at + j[:, None] * dim + i[None, :], (j < end)[:, None], 0.0)
        score = tl.dot(q, tl.trans(k.to(DOT)))
        score = tl.where((j < end)[None, :], score, float("-inf"))
        larger = tl.maximum(most, tl.max(score, 1))
        shrink, weight = tl.exp(most - larger), tl.exp(score - larger[:, None])
        total = total * shrink + tl.sum(weight, 1)
        sums = sums * shrink[:, None] + tl.dot(weight.to(DOT), v.to(DOT))
        most = larger
    mine = parts + ((head * splits + split) * group + g) * (dim + 2)
    tl.store(mine, most)
    tl.store(mine + 1, total)
    tl.store(mine[:, None] + 2 + i[None, :], sums)
    tl.debug_barrier()
    if tl.atomic_add(arrived + head, 1, sem="acq_rel") == splits - 1:
        join(parts + head * splits * group * (dim + 2), out + head * sharing * dim, g, i, sharing, group, dim, splits)
        tl.store(arrived + head, 0)


@triton.jit
def join(
    parts, out, g, i, sharing: tl.constexpr, group: tl.constexpr, dim: tl.constexpr, splits: tl.constexpr
):  # fmt: skip
    """What the programs found for the query heads g of one key head -> out (sharing, dim)."""
    most = tl.full((group,), float("-inf"), tl.float32)
    total = tl.zeros((group,), tl.float32)
    sums = tl.zeros((group, dim), tl.float32)
    for split in range(splits):
        part = parts + (split * group + g) * (dim + 2)
        theirs = tl.load(part)
        larger = tl.maximum(most, theirs)
        shrink, share = tl.exp(most - larger), tl.exp(theirs - larger)
        total = total * shrink + share * tl.load(part + 1)
        sums = sums * shrink[:, None] + share[:, None] * tl.load(part[:, None] + 2 + i[None, :])
        most = larger
    tl.store(out + g[:, None] * dim + i[None, :], sums / total[:, None], (g < sharing)[:, None])


@triton.jit
def unpack(weights, scales, minima, out, count, kind: tl.constexpr, block: tl.constexpr):
    """`count` planar weights as bfloat16 in their order: for the products of many rows."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < count
    d = tl.load(scales + at // 32, inside, 0.0).to(tl.float32)
    if kind == 8:
        value = d * tl.load(weights + at, inside, 0).to(tl.float32)
    else:
        byte = tl.load(weights + at // 32 * 16 + at % 16, inside, 0)
        q = tl.where(at % 32 < 16, byte & 15, byte >> 4).to(tl.float32)
        value = d * q + tl.load(minima + at // 32, inside, 0.0).to(tl.float32)
    tl.store(out + at, value.to(tl.bfloat16), inside)
