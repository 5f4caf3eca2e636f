/* Matrix times vectors, where most of the time goes: a token reads every weight once.
 *
 * Activations are rounded to 16-bit integers with a float scale for each 32 (an error of 2^-16 of the largest), so that
 * what is added up is exact in 32 bits; scales enter in float32. With products of bytes an activation is 256 * high + low,
 * both signed, and the weights stay bytes; without, or for several rows, the weights are widened to 16 bits. All
 * give the same integers, and what is computed for a row doesn't depend on the rows beside it, bit for bit.
 *
 * A core multiplies 43 (Q3_K, Q6_K) to 72 (Q4_0, Q8_0) weights a nanosecond out of its cache with AVX512, 22 to 38 with
 * AVX2: 35 to 76 and 10 to 40 GB/s. Memory gives a core about 13, so that a single row waits for memory.
 */
#pragma once

/* One row: its integers as two bytes each, and whole, where of each four the middle ones have changed places. */
typedef struct { int8_t *high, *low; int16_t *whole; float *scale, *sum; int32_t *sum_q; const float *x; } Activation;

static size_t activation_bytes(int k) { return up_to(k / GROUP * (4 * GROUP + 20), 64); }

static void round_row(const float *x, int k, char *room, Activation *a) {
    int groups = k / GROUP;
    int8_t *bytes = (int8_t *)(room + 2 * k);
    float *rest = (float *)(room + 4 * k);
    *a = (Activation){bytes, bytes + k, (int16_t *)room, rest, rest + groups, (int32_t *)(rest + 3 * groups), x};
    for (int g = 0; g < groups; g++) {
        F part[2] = {f_load(x + g * GROUP), f_load(x + g * GROUP + 16)};
        float most = f_most(f_max(f_abs(part[0]), f_abs(part[1])));
        F inverse = f_all(most > 0 ? 32512 / most : 0);
        a->scale[g] = most / 32512;
        for (int i = 0; i < 2; i++) {
            I q = i_rounded(f_mul(part[i], inverse));
            i_store16(a->whole + g * GROUP + 16 * i, q);
            i_store_bytes(a->high + g * GROUP + 16 * i, a->low + g * GROUP + 16 * i, q);
            a->sum_q[2 * g + i] = i_sum(q);
            a->sum[2 * g + i] = a->scale[g] * a->sum_q[2 * g + i];
        }
    }
}

INLINE I four_bytes(const void *at) { /* for every lane */
    int32_t bits;
    memcpy(&bits, at, 4);
    return i_all(bits);
}

INLINE void group_product(const int kind, const uint8_t *block, int g, int part, int at, const Activation *a, F *out, F *minima,
                          F d, F m, const int count) {
    /* of the columns that share a scale, 32 or 16 of them; `at`: which 32 of the whole row they are in */
    const Form f = form_of(kind);
    const int bytes = HAS_BYTE_PRODUCTS && count == 1;
    I sum[MOST_TOGETHER], high[MOST_TOGETHER];
    for (int i = 0; i < count; i++) {
        int32_t q = f.offset ? a[i].sum_q[2 * at + part] + (f.group == GROUP ? a[i].sum_q[2 * at + 1] : 0) : 0;
        sum[i] = i_all(-f.offset * q), high[i] = i_all(0);
    }
    UNROLL
    for (int v = 4 * part; v < 4 * part + f.group / 4; v++) {
        I q = codes(kind, block, g, v);
        if (bytes) {
            for (int i = 0; i < count; i++) {
                sum[i] = i_dot4(sum[i], q, four_bytes(a[i].low + at * GROUP + 4 * v));
                high[i] = i_dot4(high[i], q, four_bytes(a[i].high + at * GROUP + 4 * v));
            }
        } else {
            I even = i_and(q, i_all(0x00ff00ff)), odd = i_right(q, 8);
            for (int i = 0; i < count; i++) {
                sum[i] = i_dot2(sum[i], even, four_bytes(a[i].whole + at * GROUP + 4 * v));
                sum[i] = i_dot2(sum[i], odd, four_bytes(a[i].whole + at * GROUP + 4 * v + 2));
            }
        }
    }
    F scale = scale_of(kind, block, d, g, part), least = m;
    if (f.minimum && is_k(f)) least = minimum_of(kind, block, g, part);
    for (int i = 0; i < count; i++) {
        if (bytes) sum[i] = i_add(sum[i], i_left8(high[i]));
        out[i] = f_fma(f_mul(f_of(sum[i]), f_all(a[i].scale[at])), scale, out[i]);
        if (f.minimum) {
            float x = a[i].sum[2 * at + part] + (f.group == GROUP ? a[i].sum[2 * at + 1] : 0);
            minima[i] = f_fma(least, f_all(x), minima[i]);
        }
    }
}

INLINE void tile_quantised(const int kind, const uint8_t *block, int k, const Activation *a, float *y, size_t stride, const int count) {
    const Form f = form_of(kind);
    const int together = kind == Q4_K || kind == Q5_K ? 2 : is_k(f) ? 4 : 1; /* groups whose columns share bytes */
    F out[MOST_TOGETHER], minima[MOST_TOGETHER];
    for (int i = 0; i < count; i++) out[i] = minima[i] = f_zero();
    for (int b = 0; b < blocks_in(kind, k); b++, block += block_bytes(kind)) {
        F d = f_halves(block + d_at(f)), m = f.minimum ? f_halves(block + d_at(f) + 2 * TILE) : f_zero();
        for (int first = 0; first < f.columns / GROUP; first += together) {
            UNROLL
            for (int g = first; g < first + together; g++)
                for (int part = 0; part < GROUP / f.group; part++)
                    group_product(kind, block, g, part, b * (f.columns / GROUP) + g, a, out, minima, d, m, count);
        }
        if (is_k(f) && f.minimum)
            for (int i = 0; i < count; i++) out[i] = f_sub(out[i], f_mul(m, minima[i])), minima[i] = f_zero();
    }
    for (int i = 0; i < count; i++) f_store(y + i * stride, f_add(out[i], minima[i]));
}

INLINE void tile_b16(const uint8_t *weights, int k, const Activation *a, float *y, size_t stride, const int count) {
    F out[MOST_TOGETHER][2];
    for (int i = 0; i < count; i++) out[i][0] = out[i][1] = f_zero();
    for (int c = 0; c < k; c++) {
        F column = f_bfloat16(weights + 32 * (size_t)c);
        for (int i = 0; i < count; i++) out[i][c & 1] = f_fma(column, f_all(a[i].x[c]), out[i][c & 1]);
    }
    for (int i = 0; i < count; i++) f_store(y + i * stride, f_add(out[i][0], out[i][1]));
}

INLINE void tile_rows(const int kind, const uint8_t *blocks, int k, const Activation *a, float *y, size_t stride, const int count) {
    if (kind == B16) tile_b16(blocks, k, a, y, stride, count);
    else tile_quantised(kind, blocks, k, a, y, stride, count);
}

INLINE void tile_product(const int kind, const uint8_t *blocks, int k, const Activation *a, int count, float *y, size_t stride) {
    int i = 0;
    if (MOST_TOGETHER == 8 && kind != B16)
        for (; i + 8 <= count; i += 8) tile_rows(kind, blocks, k, a + i, y + i * stride, stride, 8);
    for (; i + 4 <= count; i += 4) tile_rows(kind, blocks, k, a + i, y + i * stride, stride, 4);
    for (; i < count; i++) tile_rows(kind, blocks, k, a + i, y + i * stride, stride, 1);
}

static void product_of_kind(int kind, const uint8_t *blocks, int k, const Activation *a, int count, float *y, size_t stride) {
#define PRODUCT(kind) tile_product(kind, blocks, k, a, count, y, stride)
    FOR_KIND(kind, PRODUCT)
#undef PRODUCT
}

INLINE float dot(const float *a, const float *b, int n) {
    F sum = f_zero();
    for (int i = 0; i < n; i += 16) sum = f_fma(f_load(a + i), f_load(b + i), sum);
    return f_sum(sum);
}

static void adapt(const Linear *w, const Activation *a, int count, int from, int to, float *y, size_t stride) {
    /* the adapter's part in rows from..to of y, which are this thread's own */
    for (int p = 0; p < w->low_ranks; p++) {
        const LowRank *part = w->low_rank + p;
        int first = larger(from, part->first), last = smaller(to, part->first + part->rows);
        float inner[part->rank + 1]; /* gains alone have a rank of 0 */
        for (int i = 0; i < count && first < last; i++) {
            for (int j = 0; j < part->rank; j++) inner[j] = dot(part->a + (size_t)j * w->k, a[i].x, w->k);
            for (int row = first; row < last; row++) {
                const float *b = part->b + (size_t)(row - part->first) * part->rank;
                float sum = y[i * stride + row];
                for (int j = 0; j < part->rank; j++) sum += b[j] * inner[j];
                y[i * stride + row] = part->gain ? part->gain[row - part->first] * sum : sum;
            }
        }
    }
}

enum { TOGETHER = 64 }; /* rows whose activations stay in the cache while all the weights pass by */

static void product(const Linear *w, const Activation *a, int count, float *y, size_t stride, int thread, int threads) {
    /* this thread's share of y (count, n); stride has room for a multiple of 16 */
    int tiles = up_to(w->n, TILE) / TILE;
    int from = (int)((int64_t)tiles * thread / threads), to = (int)((int64_t)tiles * (thread + 1) / threads);
    for (int row = 0; row < count; row += TOGETHER)
        for (int s = 0, first = 0; s < w->count; first += w->segments[s++].tiles) {
            const Segment *segment = w->segments + s;
            for (int tile = larger(from, first); tile < smaller(to, first + segment->tiles); tile++)
                product_of_kind(segment->kind, segment->blocks + (tile - first) * tile_bytes(segment->kind, w->k), w->k, a + row,
                                smaller(TOGETHER, count - row), y + row * stride + tile * TILE, stride);
        }
    adapt(w, a, count, from * TILE, smaller(to * TILE, w->n), y, stride);
    if (w->bias)
        for (int i = 0; i < count; i++)
            for (int n = from * TILE; n < to * TILE; n++) y[i * stride + n] += w->bias[n];
}
