/* Attention over a cache of float16 keys and values, KEYS positions at a time, each thread over its share of them. */
#pragma once

enum { ACROSS = KEYS / TILE };

typedef struct { float most, unused[TILE - 1], totals[TILE], out[]; } Part; /* of one query head, over some of the positions */
typedef struct { int from, to; } Span;                                     /* positions */

static size_t part_floats(int dim) { return 2 * TILE + dim; } /* whole lines of the cache */
static Part *part_at(float *parts, int dim, int index) { return (Part *)(parts + index * part_floats(dim)); }

static void shrink_to(Part *part, int dim, float most) {
    float shrink = part->most == -INFINITY ? 0 : exp1(part->most - most);
    for (int i = 0; i < TILE; i++) part->totals[i] *= shrink;
    for (int i = 0; i < dim; i++) part->out[i] *= shrink;
    part->most = most;
}

enum { AHEAD = 4096 }; /* halves, about to be read: to the second cache, as in the first they displace what is in use (16 -> 12 ms) */

static void widen(const uint16_t *from, int dim, float *out) {
    for (int i = 0; i < KEYS * dim; i += 16) {
        if (i % 32 == 0) _mm_prefetch(from + i + AHEAD, _MM_HINT_T1);
        f_store(out + i, f_halves(from + i));
    }
}

static void widen_across(const uint16_t *from, int dim, float *out) {
    /* keys (KEYS, dim) -> (KEYS / 16, dim, 16) */
    for (int part = 0; part < KEYS; part += TILE)
        for (int i = 0; i < dim; i += 16) {
            F square[TILE];
            for (int j = 0; j < TILE; j++) {
                const uint16_t *at = from + (part + j) * dim + i;
                if (i % 32 == 0) _mm_prefetch(at + AHEAD, _MM_HINT_T1);
                square[j] = f_halves(at);
            }
            transpose16(square);
            for (int j = 0; j < TILE; j++) f_store(out + part * dim + (i + j) * TILE, square[j]);
        }
}

/* A query head, and which of the positions at hand it sees: a bit each. */
typedef struct { const float *query; Part *part; uint32_t seen; float weights[KEYS]; } Head;

INLINE void score(Head *heads, const float *keys, int dim, float scale, const int count) {
    /* of keys (KEYS / 16, dim, 16) for each query */
    F sum[HEADS_TOGETHER][ACROSS];
    for (int n = 0; n < count; n++)
        for (int a = 0; a < ACROSS; a++) sum[n][a] = f_zero();
    for (int i = 0; i < dim; i++) {
        F key[ACROSS];
        for (int a = 0; a < ACROSS; a++) key[a] = f_held(f_load(keys + (a * dim + i) * TILE));
        for (int n = 0; n < count; n++)
            for (int a = 0; a < ACROSS; a++) sum[n][a] = f_fma(f_all(heads[n].query[i]), key[a], sum[n][a]);
    }
    for (int n = 0; n < count; n++)
        for (int a = 0; a < ACROSS; a++)
            f_store(heads[n].weights + a * TILE, f_mul(sum[n][a], f_all(scale)));
}

static void weigh(Head *head, int dim) {
    /* scores -> weights, 0 for positions not seen */
    Part *part = head->part;
    F scores[ACROSS], most = f_all(-INFINITY), totals;
    uint32_t seen[ACROSS];
    for (int a = 0; a < ACROSS; a++) {
        seen[a] = head->seen >> (a * TILE) & 0xffff;
        scores[a] = f_where(seen[a], f_load(head->weights + a * TILE), -INFINITY);
        most = f_max(most, scores[a]);
    }
    if (f_any_above(most, part->most)) shrink_to(part, dim, f_most(most));
    totals = f_load(part->totals);
    for (int a = 0; a < ACROSS; a++) {
        F shares = f_where(seen[a], exp16(f_sub(scores[a], f_all(part->most))), 0);
        f_store(head->weights + a * TILE, shares);
        totals = f_add(totals, shares);
    }
    f_store(part->totals, totals);
}

INLINE void add_columns(Head *heads, const float *values, int at, int first, int last, int dim, const int count, const int vectors) {
    F sum[HEADS_TOGETHER][VECTORS_TOGETHER]; /* they stay in registers */
    for (int n = 0; n < count; n++)
        for (int i = 0; i < vectors; i++) sum[n][i] = f_load(heads[n].part->out + at + 16 * i);
    for (int j = first; j < last; j++) {
        F value[VECTORS_TOGETHER];
        for (int i = 0; i < vectors; i++) value[i] = f_held(f_load(values + (size_t)j * dim + at + 16 * i));
        for (int n = 0; n < count; n++)
            for (int i = 0; i < vectors; i++) sum[n][i] = f_fma(f_all(heads[n].weights[j]), value[i], sum[n][i]);
    }
    for (int n = 0; n < count; n++)
        for (int i = 0; i < vectors; i++) f_store(heads[n].part->out + at + 16 * i, sum[n][i]);
}

INLINE void add_values(Head *heads, const float *values, int dim, const int count) {
    /* a weight of 0 for a position that only another of the heads sees adds nothing */
    uint32_t seen = 0;
    for (int n = 0; n < count; n++) seen |= heads[n].seen;
    int first = __builtin_ctz(seen), last = KEYS - __builtin_clz(seen), i = 0;
    for (; i + 16 * VECTORS_TOGETHER <= dim; i += 16 * VECTORS_TOGETHER)
        add_columns(heads, values, i, first, last, dim, count, VECTORS_TOGETHER);
    if (VECTORS_TOGETHER > 2 && i + 32 <= dim) add_columns(heads, values, i, first, last, dim, count, 2), i += 32;
    if (i < dim) add_columns(heads, values, i, first, last, dim, count, 1);
}

INLINE void attend_heads(Head *heads, const float *keys, const float *values, int dim, float scale, const int count) {
    score(heads, keys, dim, scale, count);
    for (int n = 0; n < count; n++) weigh(heads + n, dim);
    add_values(heads, values, dim, count);
}

static void attend_keys(Head *heads, int count, const uint16_t *keys, const uint16_t *values, int dim, float scale) {
    _Alignas(64) float k[KEYS * MOST_DIM], v[KEYS * MOST_DIM];
    widen_across(keys, dim, k);
    widen(values, dim, v);
    int n = 0;
    for (; n + HEADS_TOGETHER <= count; n += HEADS_TOGETHER) attend_heads(heads + n, k, v, dim, scale, HEADS_TOGETHER);
    if (HEADS_TOGETHER > 3 && count - n == 3) attend_heads(heads + n, k, v, dim, scale, 3);
    else if (HEADS_TOGETHER > 2 && count - n == 2) attend_heads(heads + n, k, v, dim, scale, 2);
    else if (count - n == 1) attend_heads(heads + n, k, v, dim, scale, 1);
}

static uint32_t seen_of(const Row *row, Span span, int t) {
    /* of the KEYS positions from t on */
    int first = larger(0, span.from - t), last = smaller(KEYS, span.to - t);
    if (first >= last) return 0;
    uint32_t seen = (uint32_t)((1ull << last) - (1ull << first));
    int64_t word = t / KEYS - row->tree / KEYS;
    return row->seen && word >= 0 ? seen & row->seen[word] : seen;
}

static void attend(const uint16_t *keys, const uint16_t *values, int dim, float scale, int group, const float *const *queries,
                   const Row *rows, const Span *spans, Part *const *parts, Head *heads, int count) {
    /* `group` query heads (group, dim) of each of `count` rows over its span of one key head (T, dim). KEYS positions at
     * a time, widened once for all rows; where they begin doesn't depend on the rows. */
    int begin = spans[0].from, end = 0;
    for (int r = 0; r < count; r++) begin = smaller(begin, spans[r].from), end = larger(end, spans[r].to);
    for (int t = begin / KEYS * KEYS; t < end; t += KEYS) {
        int seeing = 0;
        for (int r = 0; r < count; r++) {
            uint32_t seen = seen_of(rows + r, spans[r], t);
            for (int h = 0; h < group && seen; h++)
                heads[seeing].query = queries[r] + h * dim, heads[seeing].part = parts[r * group + h], heads[seeing++].seen = seen;
        }
        attend_keys(heads, seeing, keys + (size_t)t * dim, values + (size_t)t * dim, dim, scale);
    }
}

static void join_parts(const Model *m, float *parts, int rows, int row, int threads, float *out) {
    /* what the threads found for a row -> out (H, D) */
    int dim = m->head_dim;
    for (int h = 0; h < m->heads; h++, out += dim) {
        float most = -INFINITY, total = 0;
        for (int t = 0; t < threads; t++) most = fmaxf(most, part_at(parts, dim, (t * rows + row) * m->heads + h)->most);
        memset(out, 0, sizeof(float) * dim);
        for (int t = 0; t < threads; t++) {
            const Part *part = part_at(parts, dim, (t * rows + row) * m->heads + h);
            if (part->most == -INFINITY) continue;
            float share = exp1(part->most - most);
            total += share * f_sum(f_load(part->totals));
            for (int i = 0; i < dim; i++) out[i] += share * part->out[i];
        }
        for (int i = 0; i < dim; i++) out[i] /= total;
    }
}
