/* What native.py hands over: a model, its linears, the tokens at hand. */
#pragma once
#include <stdint.h>

enum { TILE = 16, GROUP = 32, KEYS = 32, MOST_ROWS = 128, MOST_SHARING = 16, MOST_DIM = 256 };

typedef struct { const float *a, *b, *gain; int32_t first, rows, rank, unused; } LowRank; /* gain * (y + b a x) */
typedef struct { const uint8_t *blocks; int32_t kind, tiles; } Segment;                   /* rows of a linear, 16 a tile */
typedef struct {
    const Segment *segments;
    const float *bias;
    const LowRank *low_rank;
    int32_t count, n, k, low_ranks; /* count: of segments */
} Linear;
typedef struct {
    const float *attention_norm, *hidden_norm; /* before attention and before the perceptron */
    const float *attended_norm, *made_norm;    /* after them, or NULL */
    const float *qk_norm;                      /* (H + H_kv, D) or NULL */
    Linear qkv, out, gate_up, down;
    int32_t rotation, window; /* rotation: which of a row's, or -1; window: positions seen, 0 for all */
} Layer;
typedef struct {
    const Layer *layers;
    const float *norm;
    Linear head;
    int32_t count, width, hidden, heads, kv_heads, head_dim;
    float eps, attention_scale, residual_scale;
    int32_t gelu; /* whether the gate is gelu (its tanh form), not silu */
} Model;
typedef struct {
    const float *x;           /* the token's embedding (C) */
    uint16_t *kv;             /* float16 (layers, 2, H_kv, capacity, D); capacity a multiple of KEYS */
    const float *rotation[2]; /* cosine and sine for each pair of dimensions (D) */
    int64_t capacity, position;
    int64_t wanted;           /* whether logits after it are asked for */
    const uint32_t *seen;     /* of a tree: bits of the positions it sees, from `tree` rounded down to KEYS on; it sees
                               * all before those. NULL: all up to its own */
    int64_t tree;             /* the tree's first position */
} Row;
