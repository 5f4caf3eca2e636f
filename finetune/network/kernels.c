/* What a training step computes between its matrix products: norms, rotation, gates, softmax, cross-entropy.
 *
 * Each function makes one pass over memory where torch makes five to ten. Plain C that the compiler vectorises for the
 * machine it runs on. finetune/network/kernels.py has the same functions in torch, which tests compare these with. This file
 * includes itself: once for float32 tensors, once for bfloat16. Sums are always in float32.
 */
#ifndef NUMBER

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocated(size_t bytes) { /* as malloc; without memory left the process ends with a sentence */
    void *p = malloc(bytes);
    if (!p && bytes) {
        fprintf(stderr, "No memory left: %zu bytes were asked for. Close other programs.\n", bytes);
        abort();
    }
    return p;
}

static inline float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static inline float greatest(float a, float b) { return a > b ? a : b; }

static inline float least(float a, float b) { return a < b ? a : b; }

/* e^x for x <= 0, to 2e-7 of the value: 2^n times a polynomial of the remainder. Below -87 it is 0 for our purposes. */
static inline float exp_negative(float x) {
    float y = greatest(x, -87.0f) * 1.44269504f, n = rintf(y), r = y - n;
    float p = 1.33335581e-3f;
    p = p * r + 9.61812911e-3f;
    p = p * r + 5.55041087e-2f;
    p = p * r + 2.40226507e-1f;
    p = p * r + 6.93147181e-1f;
    p = p * r + 1.0f;
    return from_bits(to_bits(p) + ((uint32_t)(int32_t)n << 23));
}

static inline float sigmoid(float x) {
    float e = exp_negative(-fabsf(x));
    float small = e / (1.0f + e);
    return x < 0.0f ? small : 1.0f - small;
}

#define JOINED(a, b) a##_##b
#define NAMED(a, b) JOINED(a, b)
#define F(name) NAMED(name, SUFFIX)

#define NUMBER float
#define SUFFIX float32
#define WIDE(x) (x)
#define NARROW(x) (x)
#include "kernels.c"
#undef NUMBER
#undef SUFFIX
#undef WIDE
#undef NARROW

static inline uint16_t to_bfloat16(float x) {
    uint32_t bits = to_bits(x);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#define NUMBER uint16_t
#define SUFFIX bfloat16
#define WIDE(x) from_bits((uint32_t)(x) << 16)
#define NARROW(x) to_bfloat16(x)
#include "kernels.c"

#else

/* out = x / rms(x) * weight; inverse (rows) = 1 / rms(x). x and out are (rows, width). */
void F(norm)(const NUMBER *x, const NUMBER *weight, float epsilon, int64_t rows, int64_t width, NUMBER *out,
             float *inverse) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const NUMBER *from = x + row * width;
        NUMBER *to = out + row * width;
        float sum = 0.0f;
        for (int64_t i = 0; i < width; i++) sum += WIDE(from[i]) * WIDE(from[i]);
        float scale = 1.0f / sqrtf(sum / width + epsilon);
        inverse[row] = scale;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] = NARROW(WIDE(from[i]) * scale * WIDE(weight[i]));
    }
}

/* The gradient of x, from that of the norm's output; and that output again. */
void F(norm_backward)(const NUMBER *to_out, const NUMBER *x, const NUMBER *weight, const float *inverse, int64_t rows,
                      int64_t width, NUMBER *to_x, NUMBER *out) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const NUMBER *from = x + row * width, *gradient = to_out + row * width;
        NUMBER *to = to_x + row * width, *again = out + row * width;
        float scale = inverse[row], along = 0.0f;
        for (int64_t i = 0; i < width; i++) along += WIDE(gradient[i]) * WIDE(weight[i]) * WIDE(from[i]);
        along *= scale * scale * scale / width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            to[i] = NARROW(WIDE(gradient[i]) * WIDE(weight[i]) * scale - WIDE(from[i]) * along);
            again[i] = NARROW(WIDE(from[i]) * scale * WIDE(weight[i]));
        }
    }
}

/* out (rows, width) = silu(gate) * up, where x (rows, 2 * width) has gate and up side by side. */
void F(gate)(const NUMBER *x, int64_t rows, int64_t width, NUMBER *out) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const NUMBER *gate = x + row * 2 * width, *up = gate + width;
        NUMBER *to = out + row * width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            float g = WIDE(gate[i]);
            to[i] = NARROW(g * sigmoid(g) * WIDE(up[i]));
        }
    }
}

/* to_x (rows, 2 * width) from to_out (rows, width); and out again. */
void F(gate_backward)(const NUMBER *to_out, const NUMBER *x, int64_t rows, int64_t width, NUMBER *to_x, NUMBER *out) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const NUMBER *gate = x + row * 2 * width, *up = gate + width, *gradient = to_out + row * width;
        NUMBER *to_gate = to_x + row * 2 * width, *to_up = to_gate + width, *again = out + row * width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            float g = WIDE(gate[i]), u = WIDE(up[i]), s = sigmoid(g), d = WIDE(gradient[i]);
            to_gate[i] = NARROW(d * u * s * (1.0f + g * (1.0f - s)));
            to_up[i] = NARROW(d * g * s);
            again[i] = NARROW(g * s * u);
        }
    }
}

/* Queries and keys of qkv (tokens, (heads * shared + 2 * heads) * dim) rotated by their positions, queries scaled:
 * q (heads, tokens, shared, dim), k and v (heads, tokens, dim). cos and sin are (tokens, dim / 2). */
void F(rotate)(const NUMBER *qkv, const float *cos, const float *sin, float scale, int64_t tokens, int64_t heads,
               int64_t shared, int64_t dim, NUMBER *q, NUMBER *k, NUMBER *v) {
    int64_t all = heads * shared, half = dim / 2;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < tokens; token++) {
        const NUMBER *from = qkv + token * (all + 2 * heads) * dim;
        const float *c = cos + token * half, *s = sin + token * half;
        for (int64_t head = 0; head < all + heads; head++, from += dim) {
            float by = head < all ? scale : 1.0f;
            NUMBER *to = head < all ? q + ((head / shared * tokens + token) * shared + head % shared) * dim
                                    : k + ((head - all) * tokens + token) * dim;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float a = WIDE(from[i]) * by, b = WIDE(from[i + half]) * by;
                to[i] = NARROW(a * c[i] - b * s[i]);
                to[i + half] = NARROW(b * c[i] + a * s[i]);
            }
        }
        for (int64_t head = 0; head < heads; head++, from += dim)
            memcpy(v + (head * tokens + token) * dim, from, dim * sizeof(NUMBER));
    }
}

/* The gradient of qkv from those of q, k and v: the rotation backwards. */
void F(rotate_backward)(const NUMBER *to_q, const float *to_k, const float *to_v, const float *cos, const float *sin,
                        float scale, int64_t tokens, int64_t heads, int64_t shared, int64_t dim, NUMBER *to_qkv) {
    int64_t all = heads * shared, half = dim / 2;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < tokens; token++) {
        NUMBER *to = to_qkv + token * (all + 2 * heads) * dim;
        const float *c = cos + token * half, *s = sin + token * half;
        for (int64_t head = 0; head < all + heads; head++, to += dim) {
            const NUMBER *q = to_q + ((head / shared * tokens + token) * shared + head % shared) * dim;
            const float *k = to_k + ((head - all) * tokens + token) * dim;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float a = head < all ? WIDE(q[i]) * scale : k[i], b = head < all ? WIDE(q[i + half]) * scale : k[i + half];
                to[i] = NARROW(a * c[i] + b * s[i]);
                to[i + half] = NARROW(b * c[i] - a * s[i]);
            }
        }
        for (int64_t head = 0; head < heads; head++, to += dim) {
            const float *from = to_v + (head * tokens + token) * dim;
#pragma omp simd
            for (int64_t i = 0; i < dim; i++) to[i] = NARROW(from[i]);
        }
    }
}

/* Softmax of scores (heads, queries * shared, keys) in place, over the keys that each query sees: of query i the ranges
 * first[i]..first[i + 1] of `ranges`, each a begin and an end. total (heads, queries * shared) = log of the sum. */
void F(softmax)(NUMBER *scores, const int32_t *first, const int32_t *ranges, int64_t heads, int64_t queries,
                int64_t shared, int64_t keys, float *total) {
#pragma omp parallel
    {
        float *e = allocated((keys + 1) * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t row = 0; row < heads * queries * shared; row++) {
            NUMBER *s = scores + row * keys;
            const int32_t *seen = ranges + 2 * first[row / shared % queries];
            const int32_t *last = ranges + 2 * first[row / shared % queries + 1];
            float most = -3e38f, sum = 0.0f;
            for (const int32_t *r = seen; r < last; r += 2)
                for (int64_t i = r[0]; i < r[1]; i++) most = greatest(most, WIDE(s[i]));
            for (const int32_t *r = seen; r < last; r += 2)
                for (int64_t i = r[0]; i < r[1]; i++) sum += e[i] = exp_negative(WIDE(s[i]) - most);
            total[row] = most + logf(sum);
            float by = 1.0f / sum;
            int64_t done = 0;
            for (const int32_t *r = seen; r < last; r += 2) {
                memset(s + done, 0, (r[0] - done) * sizeof(NUMBER));
                for (int64_t i = r[0]; i < r[1]; i++) s[i] = NARROW(e[i] * by);
                done = r[1];
            }
            memset(s + done, 0, (keys - done) * sizeof(NUMBER));
        }
        free(e);
    }
}

/* Scores become probabilities p again, by the totals of the forward pass; gradients g of p become those of the scores,
 * p * (g - sum of p * g). */
void F(softmax_backward)(NUMBER *scores, NUMBER *gradients, const int32_t *first, const int32_t *ranges, int64_t heads,
                         int64_t queries, int64_t shared, int64_t keys, const float *total) {
#pragma omp parallel
    {
        float *p = allocated((keys + 1) * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t row = 0; row < heads * queries * shared; row++) {
            NUMBER *s = scores + row * keys, *g = gradients + row * keys;
            const int32_t *seen = ranges + 2 * first[row / shared % queries];
            const int32_t *last = ranges + 2 * first[row / shared % queries + 1];
            float shift = total[row], delta = 0.0f;
            for (const int32_t *r = seen; r < last; r += 2)
                for (int64_t i = r[0]; i < r[1]; i++) {
                    p[i] = exp_negative(least(WIDE(s[i]) - shift, 0.0f));
                    delta += p[i] * WIDE(g[i]);
                }
            int64_t done = 0;
            for (const int32_t *r = seen; r < last; r += 2) {
                memset(s + done, 0, (r[0] - done) * sizeof(NUMBER));
                memset(g + done, 0, (r[0] - done) * sizeof(NUMBER));
                for (int64_t i = r[0]; i < r[1]; i++) {
                    g[i] = NARROW(p[i] * (WIDE(g[i]) - delta));
                    s[i] = NARROW(p[i]);
                }
                done = r[1];
            }
            memset(s + done, 0, (keys - done) * sizeof(NUMBER));
            memset(g + done, 0, (keys - done) * sizeof(NUMBER));
        }
        free(p);
    }
}

/* logprobs (rows): the sums of weights (rows, count) times the logarithms of the probabilities of targets (rows, count)
 * under logits (rows, width) / divisor. The weights of a row add up to 1. With `backward` the logits become the gradient
 * of that: (weight - probability) / divisor. */
void F(cross_entropy)(NUMBER *logits, const int64_t *targets, const float *weights, int64_t count, float divisor,
                      int64_t rows, int64_t width, int backward, float *logprobs) {
    float by = 1.0f / divisor;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        NUMBER *x = logits + row * width;
        float most = -3e38f, sum = 0.0f;
        for (int64_t i = 0; i < width; i++) most = greatest(most, WIDE(x[i]));
        for (int64_t i = 0; i < width; i++) sum += exp_negative((WIDE(x[i]) - most) * by);
        float shift = most * by + logf(sum), total = 0.0f;
        const int64_t *target = targets + row * count;
        const float *weight = weights + row * count;
        for (int64_t k = 0; k < count; k++) total += weight[k] * (WIDE(x[target[k]]) * by - shift);
        logprobs[row] = total;
        if (!backward) continue;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) x[i] = NARROW(-by * exp_negative(least(WIDE(x[i]) * by - shift, 0.0f)));
        for (int64_t k = 0; k < count; k++) x[target[k]] = NARROW(WIDE(x[target[k]]) + by * weight[k]);
    }
}

#endif
