/* Attention on tiles. Scores and probabilities of a row lie at their absolute positions, so nothing depends on the segments. */

enum side { KEY, VALUE, KEY_GRADIENT, VALUE_GRADIENT };

/* The addresses of `count` positions of a chain from `from` on; past its end the last one again, for reading only. */
static void resolve(const mmed_run *run, enum side side, size_t from, size_t count, size_t column, const float **rows) {
    size_t done = 0, passed = 0;
    const float *last = NULL;
    for (size_t i = 0; i < run->segment_count && done < count; i++) {
        const mmed_segment *s = run->segments + i;
        const float *base = side == KEY ? s->keys : side == VALUE ? s->values : side == KEY_GRADIENT ? s->d_keys : s->d_values;
        const size_t stride = side == KEY     ? s->key_stride
                              : side == VALUE ? s->value_stride
                                              : (side == KEY_GRADIENT ? s->d_key_stride : s->d_value_stride);
        while (done < count && from + done < passed + s->count) {
            last = base + (from + done - passed) * stride + column;
            rows[done++] = last;
        }
        passed += s->count;
    }
    while (done < count) rows[done++] = last;
}

/* The entries from `first` on that see the same rows at positions block ... block + KEYS; returns the end. */
static size_t same_keys(const struct entry *entries, size_t first, size_t count, size_t block) {
    size_t end = first + 1;
    while (end < count && entries[end].reach > block && entries[end].shared >= block + KEYS) end++;
    return end;
}

static struct span span_of(const mmed_plan *plan, size_t first_cluster, ptrdiff_t part) {
    const struct cluster *cluster = plan->clusters + first_cluster + (size_t)part / plan->head_parts;
    const size_t first = (size_t)part % plan->head_parts * plan->heads_per_part;
    return (struct span){.plan = plan, .cluster = cluster, .entries = plan->entries + cluster->first_entry,
                         .first_head = first, .heads = smaller(plan->heads_per_part, plan->job.kv_heads - first)};
}

/* Asks for the rows that the group after `end` will read: they lie apart, where the processor does not look ahead by itself. */
static void look_ahead(const struct span *span, size_t end, size_t block, enum side side) {
    if (end == span->cluster->entries) {
        end = 0;
        block += KEYS;
    }
    const struct entry *entry = span->entries + end;
    if (entry->reach <= block) return;
    const size_t count = smaller(entry->reach - block, KEYS), width = span->heads * span->plan->job.head_dim;
    const float *rows[KEYS];
    resolve(entry->run, side, block, count, span->first_head * span->plan->job.head_dim, rows);
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < width; d += 16) __builtin_prefetch(rows[i] + d, 0, 2);
    }
}

static void list_rows(const struct span *span, struct query_row *rows) {
    const size_t group = span->plan->group;
    for (size_t h = 0; h < span->heads; h++) {
        for (size_t e = 0; e < span->cluster->entries; e++) {
            const struct entry *entry = span->entries + e;
            const mmed_run *run = entry->run;
            struct query_row *row = rows + h * span->cluster->rows + entry->first_row;
            for (size_t q = entry->first_query; q < entry->first_query + entry->queries; q++) {
                for (size_t g = 0; g < group; g++, row++) {
                    const size_t column = ((span->first_head + h) * group + g) * span->plan->job.head_dim;
                    row->q = run->q + q * run->q_stride + column;
                    row->d = run->d ? run->d + q * run->d_stride + column : NULL;
                    row->out = run->out + q * run->out_stride + column;
                    row->position = run->start + q;
                }
            }
        }
    }
}

/* panel[d * KEYS + key] = from[key][column + d] */
static void pack_keys(const float *const *from, size_t column, size_t head_dim, float *panel) {
    for (size_t d = 0; d < head_dim; d += 16) {
        for (size_t key = 0; key < KEYS; key += 16) {
            const float *lines[16];
            for (size_t i = 0; i < 16; i++) lines[i] = from[key + i] + column + d;
            transpose16(lines, panel + d * KEYS + key, KEYS, smaller(head_dim - d, 16));
        }
    }
}

/* scores[row][position] = scale * (q or d of the row) . (key or value at the position), for all positions a row sees; what lies
 * beyond them is not defined. `panel` has room for head_dim * KEYS floats. */
static void score_rows(const struct span *span, const struct query_row *rows, enum side side, float scale, float *panel,
                       float *scores) {
    const struct cluster *cluster = span->cluster;
    const struct entry *entries = span->entries;
    const size_t head_dim = span->plan->job.head_dim, width = cluster->width;
    const float *from[KEYS];
    for (size_t block = 0; block < cluster->reach; block += KEYS) {
        for (size_t e = 0, end; e < cluster->entries; e = end) {
            end = same_keys(entries, e, cluster->entries, block);
            if (entries[e].reach <= block) continue;
            resolve(entries[e].run, side, block, KEYS, span->first_head * head_dim, from);
            look_ahead(span, end, block, side);
            const size_t last = entries[end - 1].first_row + entries[end - 1].queries * span->plan->group;
            size_t first = entries[e].first_row;
            while (end == e + 1 && rows[first].position < block) first++;
            tile t = {.a_step = 1, .b = panel, .b_step = KEYS, .steps = head_dim, .columns = KEYS, .scale = scale,
                      .end = TILE_STORE};
            for (size_t h = 0; h < span->heads; h++) {
                pack_keys(from, h * head_dim, head_dim, panel);
                const struct query_row *row_of = rows + h * cluster->rows;
                float *scores_of = scores + h * cluster->rows * width + block;
                for (size_t row = first; row < last; row += TILE_ROWS) {
                    const size_t count = smaller(TILE_ROWS, last - row);
                    for (size_t i = 0; i < count; i++) {
                        t.a[i] = side == KEY ? row_of[row + i].q : row_of[row + i].d;
                        t.c[i] = scores_of + (row + i) * width;
                    }
                    tile_rows(&t, (int)count);
                }
            }
        }
    }
}

/* exp(score - largest) over the positions of a row in place; returns the sum, in lanes by position mod 16. */
static float exponentiate(float *scores, size_t count) {
    v16 best = splat(-__builtin_inff());
    for (size_t c = 0; c < count; c += 16) {
        best = max16(keep_first(load16(scores + c), smaller(count - c, 16), -__builtin_inff()), best);
    }
    const v16 largest = splat(largest16(best));
    v16 sum = splat(0);
    for (size_t c = 0; c < count; c += 16) {
        v16 e = keep_first(exp16(load16(scores + c) - largest), smaller(count - c, 16), 0);
        store16(scores + c, e);
        sum = sum + e;
    }
    return sum16(sum);
}

/* One block of positions of `sums`[row] += weights[row][position] (key or value at the position), a chain in rising position. */
static void weigh_block(const struct query_row *rows, size_t count, size_t block, const float *const *from, size_t from_column,
                        size_t head_dim, const float *weights, size_t width, float *sums) {
    size_t common = KEYS, most = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t seen = rows[i].position < block ? 0 : smaller(rows[i].position + 1 - block, KEYS);
        common = smaller(common, seen);
        most = seen > most ? seen : most;
    }
    for (size_t column = 0; column < head_dim; column += PANEL) {
        tile t = {.a_step = 1, .b_rows = from, .b_offset = from_column + column, .steps = common,
                  .columns = smaller(head_dim - column, PANEL), .end = TILE_CHAIN};
        for (size_t i = 0; i < count; i++) {
            t.a[i] = weights + i * width + block;
            t.c[i] = sums + i * head_dim + column;
        }
        if (common > 0) tile_gather(&t, (int)count);
        if (most == common) continue;
        t.b_rows = from + common;
        for (size_t i = 0; i < count; i++) {
            if (rows[i].position < block) continue;
            t.steps = smaller(rows[i].position + 1 - block, KEYS) - common;
            t.a[0] = weights + i * width + block + common;
            t.c[0] = sums + i * head_dim + column;
            if (t.steps > 0) tile_gather(&t, 1);
        }
    }
}

/* sums[row] = sum over the positions a row sees of weights[row][position] (key or value at the position). */
static void weigh_rows(const struct span *span, const struct query_row *rows, enum side side, const float *weights,
                       float *sums) {
    const struct cluster *cluster = span->cluster;
    const struct entry *entries = span->entries;
    const size_t head_dim = span->plan->job.head_dim, width = cluster->width;
    memset(sums, 0, span->heads * cluster->rows * head_dim * sizeof(float));
    const float *from[KEYS];
    for (size_t block = 0; block < cluster->reach; block += KEYS) {
        for (size_t e = 0, end; e < cluster->entries; e = end) {
            end = same_keys(entries, e, cluster->entries, block);
            if (entries[e].reach <= block) continue;
            resolve(entries[e].run, side, block, KEYS, span->first_head * head_dim, from);
            look_ahead(span, end, block, side);
            const size_t first = entries[e].first_row;
            const size_t last = entries[end - 1].first_row + entries[end - 1].queries * span->plan->group;
            for (size_t h = 0; h < span->heads; h++) {
                for (size_t row = first; row < last; row += TILE_ROWS) {
                    const size_t at = h * cluster->rows + row;
                    weigh_block(rows + at, smaller(TILE_ROWS, last - row), block, from, h * head_dim, head_dim,
                                weights + at * width, width, sums + at * head_dim);
                }
            }
        }
    }
}

static size_t row_list_floats(size_t rows) { return round_up(rows * sizeof(struct query_row), 64) / sizeof(float); }

static void attention_forward_part(const mmed_plan *plan, ptrdiff_t part) {
    const struct span span = span_of(plan, 0, part);
    const size_t head_dim = plan->job.head_dim, width = span.cluster->width, count = span.heads * span.cluster->rows;
    const size_t list = row_list_floats(count), panel_floats = head_dim * KEYS;
    float *memory = mmed_scratch(list + panel_floats + count * width + count * head_dim + 64);
    struct query_row *rows = (struct query_row *)(void *)memory;
    float *panel = memory + list, *scores = panel + panel_floats, *sums = scores + count * width;
    list_rows(&span, rows);
    score_rows(&span, rows, KEY, plan->job.scale, panel, scores);
    for (size_t r = 0; r < count; r++) {
        rows[r].inverse_sum = 1.0f / exponentiate(scores + r * width, rows[r].position + 1);
    }
    weigh_rows(&span, rows, VALUE, scores, sums);
    for (size_t r = 0; r < count; r++) {
        const float *sum = sums + r * head_dim;
        for (size_t c = 0; c < head_dim; c += 16) {
            store_first(rows[r].out + c, load16(sum + c) * splat(rows[r].inverse_sum), head_dim - c);
        }
    }
}
