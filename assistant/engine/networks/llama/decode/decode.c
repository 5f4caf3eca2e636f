/* Tokens through a Llama-family model whose weights stay as a GGUF file has them, or in bfloat16.
 *
 * C11, no library, one unit: this file. Built once by the machine's own compiler and kept (native.py). What depends on the
 * instruction set is in lanes_*.h; the rest is written in sixteen lanes of 32 bits.
 *   model.h      what native.py hands over          blocks.h     weights: layout, packing, unpacking
 *   memory.h     allocation                         products.h   matrix times vectors: where the time goes
 *   threads.h    threads that wait for work         between.h    norms, gates, rotations
 *   attention.h  attention                          step.h       all of it, layer after layer
 *
 * Where the time of a token goes (Gemma 3 270M in Q4_K_M, two threads, AVX512, 128 tokens of context, 17 ms): 7 ms are the
 * product of the head with its 262,144 rows, 5.5 ms the layers' products, the rest attention, norms and waiting.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
INLINE int smaller(int a, int b) { return a < b ? a : b; }
INLINE int larger(int a, int b) { return a > b ? a : b; }
INLINE int up_to(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

#if defined(__AVX512BW__) && defined(__AVX512VNNI__)
#include "lanes_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && defined(__BMI2__)
#include "lanes_avx2.h"
#else
#error "No instruction set that this is written for."
#endif

#include "memory.h"
#include "threads.h"
#include "model.h"
#include "blocks.h"
#include "products.h"
#include "between.h"
#include "attention.h"
#include "step.h"

int64_t packed_bytes(int kind, int n, int k) { return up_to(n, TILE) / TILE * (int64_t)tile_bytes(kind, k); }

void pack(const uint8_t *rows, int kind, int n, int k, uint8_t *out, int threads) {
    /* rows (n, k) of ggml's blocks, or of bfloat16, into `packed_bytes` of memory. Rows up to a multiple of 16 are zero. */
    Packing p = {rows, kind, n, k, out};
    all(run_pack, &p, threads);
}

void unpack(const Linear *w, void *out, int wide, int threads) {
    /* the weights (n, k) as float32 (wide) or bfloat16 */
    Unpack u = {w, out, wide};
    all(run_unpack, &u, threads);
}

void embed(const Linear *w, const int64_t *ids, int count, float *out) {
    /* rows `ids` of the weights (count, k) */
    for (int i = 0; i < count; i++) embed_row(w, (int)ids[i], out + (size_t)i * w->k);
}

void step(const Model *m, const Row *rows, int count, float *logits, int threads) {
    /* logits (wanted, n up to a multiple of 16) after each row's token, whose keys and values join its cache. Rows of
     * one cache stand beside one another, at successive positions. */
    Step s = {.m = m, .rows = rows, .count = count, .logits = logits};
    s.qkv = allocated(sizeof(float) * count * qkv_width(m));
    s.hidden = allocated(sizeof(float) * count * up_to(2 * m->hidden, TILE));
    s.added = allocated(sizeof(float) * count * up_to(m->width, TILE));
    s.parts = aligned(sizeof(float) * part_floats(m->head_dim) * m->heads * count * threads);
    all(run_step, &s, threads);
    free(s.qkv), free(s.hidden), free(s.added), free(s.parts);
}

typedef struct { const Linear *w; const float *x; float *y; char *room; Activation *a; int count; } Times;

static void run_times(void *data, int thread, int threads) {
    Times *t = data;
    int k = t->w->k;
    for (int i = t->count * thread / threads; i < t->count * (thread + 1) / threads; i++)
        round_row(t->x + (size_t)i * k, k, t->room + i * activation_bytes(k), t->a + i);
    meet(threads);
    product(t->w, t->a, t->count, t->y, up_to(t->w->n, TILE), thread, threads);
}

void times(const Linear *w, const float *x, int count, float *y, int threads) {
    /* y (count, n up to a multiple of 16) = x (count, k) W^T + bias */
    Times t = {w, x, y, allocated(count * activation_bytes(w->k)), allocated(count * sizeof(Activation)), count};
    all(run_times, &t, threads);
    free(t.room), free(t.a);
}

static void run_products(void *data, int thread, int threads) {
    Step *s = data;
    const Model *m = s->m;
    char *room = allocated(activation_bytes(widest(m)));
    Activation a;
    round_row(s->rows->x, widest(m), room, &a);
    for (int l = 0; l < m->count; l++) {
        const Linear *each[] = {&m->layers[l].qkv, &m->layers[l].out, &m->layers[l].gate_up, &m->layers[l].down};
        for (int i = 0; i < 4; i++) product(each[i], &a, 1, s->hidden, 0, thread, threads);
    }
    product(&m->head, &a, 1, s->logits, 0, thread, threads);
    free(room);
}

void products(const Model *m, const float *x, float *logits, int threads) {
    /* all the products of a token and nothing else, not even waiting. x (the widest input of any of them) */
    Row row = {.x = x};
    Step s = {.m = m, .rows = &row, .count = 1, .logits = logits};
    s.hidden = allocated(sizeof(float) * up_to(larger(2 * m->hidden, larger(qkv_width(m), m->width)), TILE));
    all(run_products, &s, threads);
    free(s.hidden);
}
