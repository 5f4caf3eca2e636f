/* One token each for a few sequences, or a tree of tokens, through the whole model. */
#pragma once

typedef struct {
    const Model *m;
    const Row *rows;
    int count;
    float *qkv, *hidden, *added, *parts, *logits; /* shared; a row of each is a multiple of 16 */
} Step;

typedef struct { float *x, *y, *q; char *room; Head *heads; Activation a[MOST_ROWS]; } Own; /* a thread's own; one row after the other */

static int widest(const Model *m) { return larger(larger(m->hidden, m->width), m->heads * m->head_dim); }
static int qkv_width(const Model *m) { return up_to((m->heads + 2 * m->kv_heads) * m->head_dim, TILE); }

static void round_rows(Own *own, const Step *s, int count, int stride, int k) {
    for (int r = 0; r < count; r++)
        round_row(own->y + (size_t)r * stride, k, own->room + r * activation_bytes(widest(s->m)), own->a + r);
}

static void normed_rows(Own *own, const Step *s, const float *weight) {
    int width = s->m->width;
    for (int r = 0; r < s->count; r++) norm(own->x + (size_t)r * width, weight, width, s->m->eps, own->y + (size_t)r * width);
    round_rows(own, s, s->count, width, width);
}

static void add_rows(Own *own, const Step *s, const float *weight) {
    /* what attention or the perceptron made joins x, normed first where there is a `weight` for that */
    int width = s->m->width, stride = up_to(width, TILE);
    for (int r = 0; r < s->count; r++) {
        const float *added = s->added + (size_t)r * stride;
        if (weight) norm(added, weight, width, s->m->eps, own->y), added = own->y;
        for (int i = 0; i < width; i++) own->x[(size_t)r * width + i] += s->m->residual_scale * added[i];
    }
}

static void turned(const Model *m, const Layer *w, const Row *row, int head, const float *from, float *out) {
    /* a query or key head, normed and rotated */
    if (w->qk_norm) norm(from, w->qk_norm + head * m->head_dim, m->head_dim, m->eps, out);
    else memcpy(out, from, sizeof(float) * m->head_dim);
    if (w->rotation >= 0) rotate(out, row->rotation[w->rotation], m->head_dim);
}

static void write_row(const Model *m, const Layer *w, const Row *row, uint16_t *keys, const float *qkv) {
    int dim = m->head_dim;
    float key[MOST_DIM];
    for (int h = 0; h < m->kv_heads; h++) {
        turned(m, w, row, m->heads + h, qkv + (m->heads + h) * dim, key);
        uint16_t *at = keys + (h * row->capacity + row->position) * dim;
        const float *both[2] = {key, qkv + (m->heads + m->kv_heads + h) * dim};
        for (int which = 0; which < 2; which++, at += m->kv_heads * row->capacity * dim)
            for (int i = 0; i < dim; i += 16) f_store_halves(at + i, f_load(both[which] + i));
    }
}

static Span span_of(const Layer *w, int position, int thread, int threads) {
    /* a thread's share of the positions that a row sees, KEYS at a time */
    int begin = w->window && position + 1 > w->window ? position + 1 - w->window : 0;
    int tile = begin / KEYS, tiles = position / KEYS + 1 - tile;
    return (Span){larger(begin, KEYS * (tile + tiles * thread / threads)),
                  smaller(position + 1, KEYS * (tile + tiles * (thread + 1) / threads))};
}

static void attention(const Step *s, const Layer *w, int layer, Own *own, int thread, int threads) {
    /* keys and values join the caches; what this thread finds for each row goes to `parts` */
    const Model *m = s->m;
    int dim = m->head_dim, group = m->heads / m->kv_heads, wide = qkv_width(m);
    uint16_t *keys[MOST_ROWS];
    for (int r = 0; r < s->count; r++) {
        keys[r] = s->rows[r].kv + (size_t)layer * 2 * m->kv_heads * s->rows[r].capacity * dim;
        if (thread == threads - 1) write_row(m, w, s->rows + r, keys[r], s->qkv + (size_t)r * wide); /* whose span has it */
        for (int h = 0; h < m->heads; h++) {
            turned(m, w, s->rows + r, h, s->qkv + (size_t)r * wide + h * dim, own->q + (r * m->heads + h) * dim);
            Part *part = part_at(s->parts, dim, (thread * s->count + r) * m->heads + h);
            part->most = -INFINITY;
            memset(part->totals, 0, sizeof(float) * (TILE + dim));
        }
    }
    if (s->count > 1) meet(threads); /* a row may see what another thread wrote for the row before it */
    for (int first = 0, end; first < s->count; first = end) {
        for (end = first + 1; end < s->count && s->rows[end].kv == s->rows[first].kv; end++) {}
        int64_t capacity = s->rows[first].capacity;
        Span spans[MOST_ROWS];
        for (int r = first; r < end; r++) spans[r - first] = span_of(w, (int)s->rows[r].position, thread, threads);
        for (int h = 0; h < m->kv_heads; h++) {
            const float *queries[MOST_ROWS];
            Part *parts[MOST_ROWS * MOST_SHARING];
            for (int r = first; r < end; r++) {
                queries[r - first] = own->q + (r * m->heads + h * group) * dim;
                for (int g = 0; g < group; g++)
                    parts[(r - first) * group + g] = part_at(s->parts, dim, (thread * s->count + r) * m->heads + h * group + g);
            }
            const uint16_t *head = keys[first] + h * capacity * dim;
            attend(head, head + m->kv_heads * capacity * dim, dim, m->attention_scale, group, queries, s->rows + first, spans, parts,
                   own->heads, end - first);
        }
    }
}

static void run_step(void *data, int thread, int threads) {
    Step *s = data;
    const Model *m = s->m;
    int dim = m->head_dim, heads = m->heads, wide = widest(m), count = s->count;
    int hidden_stride = up_to(2 * m->hidden, TILE), added_stride = up_to(m->width, TILE);
    /* each thread does the small things for itself: cheaper than to wait for another */
    Own own = {.x = allocated(sizeof(float) * count * m->width), .y = allocated(sizeof(float) * count * wide),
               .q = allocated(sizeof(float) * count * heads * dim), .room = allocated(count * activation_bytes(wide)),
               .heads = allocated(sizeof(Head) * count * heads / m->kv_heads)};
    for (int r = 0; r < count; r++) memcpy(own.x + (size_t)r * m->width, s->rows[r].x, sizeof(float) * m->width);
    for (int l = 0; l < m->count; l++) {
        const Layer *w = m->layers + l;
        normed_rows(&own, s, w->attention_norm);
        product(&w->qkv, own.a, count, s->qkv, qkv_width(m), thread, threads);
        meet(threads);
        attention(s, w, l, &own, thread, threads);
        meet(threads);
        for (int r = 0; r < count; r++) join_parts(m, s->parts, count, r, threads, own.y + (size_t)r * heads * dim);
        round_rows(&own, s, count, heads * dim, heads * dim);
        product(&w->out, own.a, count, s->added, added_stride, thread, threads);
        meet(threads);
        add_rows(&own, s, w->attended_norm);
        normed_rows(&own, s, w->hidden_norm);
        product(&w->gate_up, own.a, count, s->hidden, hidden_stride, thread, threads);
        meet(threads);
        for (int r = 0; r < count; r++)
            gated(s->hidden + (size_t)r * hidden_stride, m->hidden, m->gelu, own.y + (size_t)r * m->hidden);
        round_rows(&own, s, count, m->hidden, m->hidden);
        product(&w->down, own.a, count, s->added, added_stride, thread, threads);
        meet(threads);
        add_rows(&own, s, w->made_norm);
    }
    int wanted = 0;
    for (int r = 0; r < count; r++)
        if (s->rows[r].wanted) norm(own.x + (size_t)r * m->width, m->norm, m->width, m->eps, own.y + (size_t)wanted++ * m->width);
    round_rows(&own, s, wanted, m->width, m->width);
    product(&m->head, own.a, wanted, s->logits, up_to(m->head.n, TILE), thread, threads);
    free(own.x), free(own.y), free(own.q), free(own.room), free(own.heads);
}
