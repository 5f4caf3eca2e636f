/* Attention over a forest of tokens, forward and backward, in tiles of AMX: bfloat16 products, float32 sums.
 *
 * Rows are queries: row r is the query of head r % shared (of the `shared` that one key head serves) at token r / shared.
 * A token sees ranges of keys (see finetune/network/attention.py). Rows are taken ROWS at a time: their scores against all blocks
 * of keys that one of them sees lie in a scratch buffer, so that products keep their sums in tiles and the softmax reads
 * whole rows. Keys and values are packed once a call into the layouts that tile products read:
 *
 *   across[key / 16][dim / 32][16][16][2]   the left side's columns are dims: scores, and gradients of probabilities
 *   along[key / 32][dim / 16][16][16][2]    the left side's columns are keys: outputs, and gradients of queries
 *
 * Tile registers: 0-3 sums, 4-5 left sides, 6-7 right sides. Intel's Architecture Instruction Set Extensions, chapter 3.
 */
#include <immintrin.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROWS = 64, KEYS = 32, SIDE = 16, STEP = 32, TILE = SIDE * STEP };

typedef uint16_t bf16;

/* out = x in bfloat16. count is a multiple of 16. */
static inline void narrow(const float *x, int64_t count, float by, bf16 *out) {
    for (int64_t i = 0; i < count; i += 16) {
        __m256bh y = _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(by)));
        _mm256_storeu_si256((__m256i *)(out + i), (__m256i)y);
    }
}

static inline float greatest(float a, float b) { return a > b ? a : b; }

/* As in kernels.c. */
static inline float exp_negative(float x) {
    float y = greatest(x, -87.0f) * 1.44269504f, n = rintf(y), r = y - n, p = 1.33335581e-3f;
    p = p * r + 9.61812911e-3f;
    p = p * r + 5.55041087e-2f;
    p = p * r + 2.40226507e-1f;
    p = p * r + 6.93147181e-1f;
    p = p * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &p, 4);
    bits += (uint32_t)(int32_t)n << 23;
    memcpy(&p, &bits, 4);
    return p;
}

/* Whether the system lets this process use tiles. */
int can_use_tiles(void) { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) == 0; }

struct configuration {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* All tiles 16 rows of 64 bytes. The caller's configuration is put back afterwards: other libraries rely on theirs. */
static void configure(struct configuration *before) {
    struct configuration ours = {.palette = 1};
    for (int i = 0; i < 8; i++) ours.bytes[i] = 64, ours.rows[i] = 16;
    _tile_storeconfig(before);
    _tile_loadconfig(&ours);
}

static void pack_across(const bf16 *x, int64_t keys, int64_t dim, bf16 *out) {
    for (int64_t key = 0; key < keys; key++)
        for (int64_t d = 0; d < dim; d += 2) {
            bf16 *to = out + ((key / SIDE * (dim / STEP) + d / STEP) * SIDE + d % STEP / 2) * STEP + key % SIDE * 2;
            memcpy(to, x + key * dim + d, 4);
        }
}

static void pack_along(const bf16 *x, int64_t keys, int64_t dim, bf16 *out) {
    for (int64_t key = 0; key < keys; key += 2)
        for (int64_t d = 0; d < dim; d++) {
            bf16 *to = out + ((key / KEYS * (dim / SIDE) + d / SIDE) * SIDE + key % KEYS / 2) * STEP + d % SIDE * 2;
            to[0] = x[key * dim + d];
            to[1] = x[(key + 1) * dim + d];
        }
}

/* What one thread needs for ROWS rows. */
struct scratch {
    int32_t *blocks;    /* the blocks of keys that are seen by at least one row */
    uint32_t *masks;    /* of each such block and row: which keys the row sees */
    uint8_t *full;      /* whether all rows see all of a block */
    float *scores, *gradients;
    bf16 *left;         /* (ROWS, keys): probabilities, or gradients of scores */
    bf16 *pairs, *more; /* (keys / 16, ROWS / 32, 16, 16, 2): probabilities and gradients of scores, pairs of rows beside another */
    float *sums;        /* (ROWS, dim) */
    bf16 *rows, *turned, *turned_q; /* (ROWS, dim) and twice (dim, ROWS) */
};

/* The compiler doesn't know that tile loads read memory: what was written before stays before. */
#define WRITTEN __asm__ volatile("" ::: "memory")

static void *room(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

static int allocate(struct scratch *s, int64_t tokens, int64_t dim) {
    int64_t blocks = tokens / KEYS;
    s->blocks = room(blocks * sizeof(int32_t));
    s->masks = room(blocks * ROWS * sizeof(uint32_t));
    s->full = room(blocks);
    s->scores = room(tokens * ROWS * sizeof(float));
    s->gradients = room(tokens * ROWS * sizeof(float));
    s->left = room(tokens * ROWS * sizeof(bf16));
    s->pairs = room(tokens * ROWS * sizeof(bf16));
    s->more = room(tokens * ROWS * sizeof(bf16));
    s->sums = room(ROWS * dim * sizeof(float));
    s->rows = room(ROWS * dim * sizeof(bf16));
    s->turned = room(ROWS * dim * sizeof(bf16));
    s->turned_q = room(ROWS * dim * sizeof(bf16));
    return s->blocks && s->masks && s->full && s->scores && s->gradients && s->left && s->pairs && s->more && s->sums &&
           s->rows && s->turned && s->turned_q;
}

static void release(struct scratch *s) {
    void *all[] = {s->blocks, s->masks, s->full, s->scores, s->gradients, s->left,
                   s->pairs,  s->more,  s->sums, s->rows,   s->turned,    s->turned_q};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Which keys of a block a token sees, a bit each. */
static uint32_t seen(const int32_t *first, const int32_t *ranges, int64_t token, int64_t block) {
    uint32_t mask = 0;
    for (const int32_t *r = ranges + 2 * first[token]; r < ranges + 2 * first[token + 1]; r += 2) {
        int64_t from = r[0] - block * KEYS, to = r[1] - block * KEYS;
        from = from < 0 ? 0 : from;
        to = to > KEYS ? KEYS : to;
        if (from < to) mask |= (uint32_t)((1ull << to) - (1ull << from));
    }
    return mask;
}

/* Which blocks of keys the rows from `row` on see; how many. */
static int64_t find_blocks(struct scratch *s, const int32_t *first, const int32_t *ranges, int64_t row, int64_t rows,
                           int64_t shared) {
    int64_t count = 0, begin = row / shared, end = (row + rows - 1) / shared + 1, last = 0;
    for (int64_t token = begin; token < end; token++) {
        int64_t stop = ranges[2 * first[token + 1] - 1];
        last = stop > last ? stop : last;
    }
    for (int64_t block = 0; block * KEYS < last; block++) {
        uint32_t any = 0, all = ~0u, *masks = s->masks + count * ROWS;
        for (int64_t token = begin; token < end; token++) {
            uint32_t mask = seen(first, ranges, token, block);
            int64_t from = token * shared - row, to = from + shared;
            for (int64_t i = from < 0 ? 0 : from; i < to && i < rows; i++) masks[i] = mask;
            any |= mask;
            all &= mask;
        }
        if (!any) continue;
        for (int64_t i = rows; i < ROWS; i++) masks[i] = 0;
        s->full[count] = all == ~0u && rows == ROWS;
        s->blocks[count++] = block;
    }
    return count;
}

/* out (ROWS, count * KEYS) = left (ROWS, dim) times the packed keys of the blocks. */
static void times_keys(const bf16 *left, const bf16 *across, const struct scratch *s, int64_t count, int64_t dim,
                       float *out) {
    int64_t steps = dim / STEP, keys = count * KEYS;
    WRITTEN;
    for (int64_t n = 0; n < keys / SIDE; n++) {
        const bf16 *right = across + (s->blocks[n / 2] * (KEYS / SIDE) + n % 2) * steps * TILE;
        for (int64_t i = 0; i < ROWS; i += 2 * SIDE) {
            _tile_zero(0);
            _tile_zero(1);
            for (int64_t k = 0; k < steps; k++) {
                _tile_loadd(6, right + k * TILE, 64);
                _tile_loadd(4, left + i * dim + k * STEP, dim * sizeof(bf16));
                _tile_loadd(5, left + (i + SIDE) * dim + k * STEP, dim * sizeof(bf16));
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 5, 6);
            }
            float *to = out + i * keys + n * SIDE;
            _tile_stored(0, to, keys * sizeof(float));
            _tile_stored(1, to + SIDE * keys, keys * sizeof(float));
        }
    }
}

/* sums (ROWS, dim) = left (ROWS, count * KEYS) times the packed values of the blocks. */
static void times_values(const bf16 *along, struct scratch *s, int64_t count, int64_t dim) {
    int64_t keys = count * KEYS;
    WRITTEN;
    for (int64_t i = 0; i < ROWS; i += 2 * SIDE)
        for (int64_t d = 0; d < dim / SIDE; d += 2) {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (int64_t n = 0; n < count; n++) {
                const bf16 *right = along + (s->blocks[n] * (dim / SIDE) + d) * TILE;
                const bf16 *left = s->left + i * keys + n * KEYS;
                _tile_loadd(4, left, keys * sizeof(bf16));
                _tile_loadd(5, left + SIDE * keys, keys * sizeof(bf16));
                _tile_loadd(6, right, 64);
                _tile_loadd(7, right + TILE, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 5, 6);
                _tile_dpbf16ps(2, 4, 7);
                _tile_dpbf16ps(3, 5, 7);
            }
            float *to = s->sums + i * dim + d * SIDE;
            _tile_stored(0, to, dim * sizeof(float));
            _tile_stored(1, to + SIDE * dim, dim * sizeof(float));
            _tile_stored(2, to + SIDE, dim * sizeof(float));
            _tile_stored(3, to + SIDE * dim + SIDE, dim * sizeof(float));
        }
}

/* What a row doesn't see becomes `value`. */
static void hide(const struct scratch *s, int64_t count, float *x, float value) {
    for (int64_t n = 0; n < count; n++) {
        if (s->full[n]) continue;
        for (int64_t i = 0; i < ROWS; i++) {
            uint32_t mask = s->masks[n * ROWS + i];
            float *row = x + i * count * KEYS + n * KEYS;
            for (int64_t j = 0; j < KEYS; j++) row[j] = mask >> j & 1 ? row[j] : value;
        }
    }
}

static void attend_rows(const bf16 *q, const bf16 *across, const bf16 *along, struct scratch *s, int64_t count,
                        int64_t rows, int64_t dim, bf16 **out, float *total) {
    int64_t keys = count * KEYS;
    times_keys(q, across, s, count, dim, s->scores);
    hide(s, count, s->scores, -3e38f);
    float scale[ROWS];
    for (int64_t i = 0; i < ROWS; i++) {
        float *x = s->scores + i * keys, most = -3e38f, sum = 0.0f;
        for (int64_t j = 0; j < keys; j++) most = greatest(most, x[j]);
        for (int64_t j = 0; j < keys; j++) {
            float e = exp_negative(x[j] - most);
            e = x[j] > -2e38f ? e : 0.0f;
            x[j] = e;
            sum += e;
        }
        narrow(x, keys, 1.0f, s->left + i * keys);
        scale[i] = 1.0f / sum;
        if (i < rows) total[i] = most + logf(sum);
    }
    times_values(along, s, count, dim);
    for (int64_t i = 0; i < rows; i++) narrow(s->sums + i * dim, dim, scale[i], out[i]);
}

/* out (tokens, heads * shared * dim) from q (heads, tokens * shared, dim), k and v (heads, tokens, dim); total (heads,
 * tokens * shared) for the backward pass. tokens is a multiple of 32, dim too. Returns 0 without memory. */
int attention(const bf16 *q, const bf16 *k, const bf16 *v, const int32_t *first, const int32_t *ranges, int64_t heads,
              int64_t tokens, int64_t shared, int64_t dim, bf16 *out, float *total) {
    int64_t size = tokens * dim, all = tokens * shared, parts = (all + ROWS - 1) / ROWS;
    bf16 *across = room(heads * size * sizeof(bf16)), *along = room(heads * size * sizeof(bf16));
    int fine = across && along;
    if (fine) {
#pragma omp parallel
        {
            struct scratch s;
            struct configuration before;
            int enough = allocate(&s, tokens, dim);
            if (!enough) {
#pragma omp atomic write
                fine = 0;
            }
#pragma omp for schedule(static)
            for (int64_t head = 0; head < 2 * heads; head++) {
                if (head < heads)
                    pack_across(k + head * size, tokens, dim, across + head * size);
                else
                    pack_along(v + (head - heads) * size, tokens, dim, along + (head - heads) * size);
            }
            configure(&before);
#pragma omp for schedule(dynamic, 4)
            for (int64_t part = heads * parts - 1; part >= 0; part--) {
                int64_t head = part % heads, row = part / heads * ROWS;
                int64_t rows = all - row < ROWS ? all - row : ROWS;
                if (!enough) continue;
                int64_t count = find_blocks(&s, first, ranges, row, rows, shared);
                const bf16 *from = q + (head * all + row) * dim;
                if (rows < ROWS) {
                    memset(s.rows, 0, ROWS * dim * sizeof(bf16));
                    memcpy(s.rows, from, rows * dim * sizeof(bf16));
                    from = s.rows;
                }
                bf16 *to[ROWS];
                for (int64_t i = 0; i < rows; i++)
                    to[i] = out + (((row + i) / shared * heads + head) * shared + (row + i) % shared) * dim;
                attend_rows(from, across + head * size, along + head * size, &s, count, rows, dim, to,
                            total + head * all + row);
            }
            _tile_loadconfig(&before);
            release(&s);
        }
    }
    free(across);
    free(along);
    return fine;
}

/* (ROWS, dim) -> (dim, ROWS). */
static void turn(const bf16 *x, int64_t dim, bf16 *out) {
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t d = 0; d < dim; d++) out[d * ROWS + i] = x[i * dim + d];
}

/* sums[key / 16][dim / 16][16 dims][16 keys] += turned (dim, ROWS) times pairs, of the blocks that are seen. */
static void add_to_keys(const bf16 *turned, const bf16 *pairs, const struct scratch *s, int64_t count, int64_t dim,
                        float *sums) {
    int64_t square = SIDE * SIDE, steps = ROWS / STEP;
    WRITTEN;
    for (int64_t n = 0; n < count * KEYS / SIDE; n++) {
        float *to = sums + (s->blocks[n / 2] * (KEYS / SIDE) + n % 2) * dim * SIDE;
        for (int64_t d = 0; d < dim; d += 2 * SIDE, to += 2 * square) {
            _tile_loadd(0, to, 64);
            _tile_loadd(1, to + square, 64);
            for (int64_t k = 0; k < steps; k++) {
                _tile_loadd(6, pairs + (n * steps + k) * TILE, 64);
                _tile_loadd(4, turned + d * ROWS + k * STEP, ROWS * sizeof(bf16));
                _tile_loadd(5, turned + (d + SIDE) * ROWS + k * STEP, ROWS * sizeof(bf16));
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 5, 6);
            }
            _tile_stored(0, to, 64);
            _tile_stored(1, to + square, 64);
        }
    }
}

/* 16 numbers of two rows in bfloat16, those of the second in the upper halves. */
static inline __m512i beside(const float *one, const float *other) {
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(one)));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(other)));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* Scores -> probabilities, and gradients of these -> gradients of scores; both as pairs of rows, the latter as rows too. */
static void turn_back(struct scratch *s, int64_t count, int64_t rows, const float *total) {
    int64_t keys = count * KEYS;
    for (int64_t i = 0; i < ROWS; i++) {
        float *x = s->scores + i * keys, *g = s->gradients + i * keys, delta = 0.0f, shift = i < rows ? total[i] : 0.0f;
        for (int64_t j = 0; j < keys; j++) {
            float e = exp_negative(-greatest(shift - x[j], 0.0f));
            e = x[j] > -2e38f ? e : 0.0f;
            x[j] = e;
            delta += e * g[j];
        }
        for (int64_t j = 0; j < keys; j++) g[j] = x[j] * (g[j] - delta);
        narrow(g, keys, 1.0f, s->left + i * keys);
    }
    for (int64_t i = 0; i < ROWS; i += 2)
        for (int64_t n = 0; n < keys / SIDE; n++) {
            const float *x = s->scores + i * keys + n * SIDE, *g = s->gradients + i * keys + n * SIDE;
            int64_t place = (n * (ROWS / STEP) + i / STEP) * TILE + i % STEP * SIDE;
            _mm512_storeu_si512(s->pairs + place, beside(x, x + keys));
            _mm512_storeu_si512(s->more + place, beside(g, g + keys));
        }
}

/* to_q as q; to_k and to_v (heads, tokens, dim) in float32; from to_out (tokens, heads * shared * dim). `sums` has room
 * for threads * heads * 2 * tokens * dim floats. Returns 0 without memory. */
int attention_backward(const bf16 *to_out, const bf16 *q, const bf16 *k, const bf16 *v, const int32_t *first,
                       const int32_t *ranges, int64_t heads, int64_t tokens, int64_t shared, int64_t dim,
                       const float *total, bf16 *to_q, float *to_k, float *to_v, float *sums, int64_t threads) {
    int64_t size = tokens * dim, all = tokens * shared, parts = (all + ROWS - 1) / ROWS;
    bf16 *packed = room(3 * heads * size * sizeof(bf16));
    bf16 *k_across = packed, *v_across = packed + heads * size, *k_along = packed + 2 * heads * size;
    int fine = packed != NULL;
    if (fine) {
#pragma omp parallel num_threads(threads)
        {
            struct scratch s;
            struct configuration before;
            int enough = allocate(&s, tokens, dim);
            if (!enough) {
#pragma omp atomic write
                fine = 0;
            }
            float *own = sums + omp_get_thread_num() * 2 * heads * size;
            memset(own, 0, 2 * heads * size * sizeof(float));
#pragma omp for schedule(static)
            for (int64_t head = 0; head < 3 * heads; head++) {
                if (head < 2 * heads)
                    pack_across((head < heads ? k : v) + head % heads * size, tokens, dim, packed + head * size);
                else
                    pack_along(k + head % heads * size, tokens, dim, packed + head * size);
            }
            configure(&before);
#pragma omp for schedule(dynamic, 4)
            for (int64_t part = heads * parts - 1; part >= 0; part--) {
                int64_t head = part % heads, row = part / heads * ROWS;
                int64_t rows = all - row < ROWS ? all - row : ROWS;
                if (!enough) continue;
                int64_t count = find_blocks(&s, first, ranges, row, rows, shared);
                bf16 queries[ROWS * 256];
                memset(s.rows, 0, ROWS * dim * sizeof(bf16));
                memset(queries, 0, ROWS * dim * sizeof(bf16));
                memcpy(queries, q + (head * all + row) * dim, rows * dim * sizeof(bf16));
                for (int64_t i = 0; i < rows; i++) {
                    int64_t at = ((row + i) / shared * heads + head) * shared + (row + i) % shared;
                    memcpy(s.rows + i * dim, to_out + at * dim, dim * sizeof(bf16));
                }
                turn(s.rows, dim, s.turned);
                turn(queries, dim, s.turned_q);
                times_keys(queries, k_across + head * size, &s, count, dim, s.scores);
                hide(&s, count, s.scores, -3e38f);
                times_keys(s.rows, v_across + head * size, &s, count, dim, s.gradients);
                turn_back(&s, count, rows, total + head * all + row);
                times_values(k_along + head * size, &s, count, dim);
                bf16 *to = to_q + (head * all + row) * dim;
                narrow(s.sums, rows * dim, 1.0f, to);
                add_to_keys(s.turned_q, s.more, &s, count, dim, own + head * size);
                add_to_keys(s.turned, s.pairs, &s, count, dim, own + (heads + head) * size);
            }
            _tile_loadconfig(&before);
#pragma omp for schedule(static)
            for (int64_t block = 0; block < 2 * heads * tokens / SIDE; block++) {
                int64_t head = block / (tokens / SIDE), key = block % (tokens / SIDE) * SIDE;
                float *to = (head < heads ? to_k : to_v) + (head % heads * tokens + key) * dim;
                const float *from = sums + block * SIDE * dim;
                for (int64_t i = 0; i < SIDE; i++)
                    for (int64_t d = 0; d < dim; d++) {
                        float sum = 0.0f;
                        for (int64_t t = 0; t < threads; t++)
                            sum += from[t * 2 * heads * size + (d / SIDE * SIDE + d % SIDE) * SIDE + i];
                        to[i * dim + d] = sum;
                    }
            }
            release(&s);
        }
    }
    free(packed);
    return fine;
}
