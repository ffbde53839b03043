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

static void list_rows(const mmed_plan *plan, const struct cluster *cluster, size_t head, struct query_row *rows) {
    for (size_t e = 0; e < cluster->entries; e++) {
        const struct entry *entry = plan->entries + cluster->first_entry + e;
        const mmed_run *run = entry->run;
        struct query_row *row = rows + entry->first_row;
        for (size_t q = entry->first_query; q < entry->first_query + entry->queries; q++) {
            for (size_t g = 0; g < plan->group; g++, row++) {
                const size_t column = (head * plan->group + g) * plan->job.head_dim;
                row->q = run->q + q * run->q_stride + column;
                row->d = run->d ? run->d + q * run->d_stride + column : NULL;
                row->out = run->out + q * run->out_stride + column;
                row->position = run->start + q;
            }
        }
    }
}

/* scores[row][position] = scale * (q or d of the row) . (key or value at the position), for all positions a row sees; what lies
 * beyond them is not defined. `panel` has room for head_dim * KEYS floats. */
static void score_rows(const mmed_plan *plan, const struct cluster *cluster, size_t head, const struct query_row *rows,
                       enum side side, float scale, float *panel, float *scores) {
    const struct entry *entries = plan->entries + cluster->first_entry;
    const size_t head_dim = plan->job.head_dim, width = cluster->width;
    const float *from[KEYS];
    for (size_t block = 0; block < cluster->reach; block += KEYS) {
        for (size_t e = 0, end; e < cluster->entries; e = end) {
            end = same_keys(entries, e, cluster->entries, block);
            if (entries[e].reach <= block) continue;
            resolve(entries[e].run, side, block, KEYS, head * head_dim, from);
            for (size_t d = 0; d < head_dim; d += 16) {
                for (size_t key = 0; key < KEYS; key += 16) {
                    const float *lines[16];
                    for (size_t i = 0; i < 16; i++) lines[i] = from[key + i] + d;
                    transpose16(lines, panel + d * KEYS + key, KEYS, smaller(head_dim - d, 16));
                }
            }
            tile t = {.a_step = 1, .b = panel, .b_step = KEYS, .steps = head_dim, .columns = KEYS, .scale = scale,
                      .end = TILE_STORE};
            size_t row = entries[e].first_row;
            const size_t last = entries[end - 1].first_row + entries[end - 1].queries * plan->group;
            if (end == e + 1) {
                while (rows[row].position < block) row++;
            }
            for (; row < last; row += TILE_ROWS) {
                const size_t count = smaller(TILE_ROWS, last - row);
                for (size_t i = 0; i < count; i++) {
                    t.a[i] = side == KEY ? rows[row + i].q : rows[row + i].d;
                    t.c[i] = scores + (row + i) * width + block;
                }
                tile_rows(&t, (int)count);
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
static void weigh_block(const struct query_row *rows, size_t count, size_t block, const float *const *from, size_t head_dim,
                        const float *weights, size_t width, float *sums) {
    size_t common = KEYS, most = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t seen = rows[i].position < block ? 0 : smaller(rows[i].position + 1 - block, KEYS);
        common = smaller(common, seen);
        most = seen > most ? seen : most;
    }
    for (size_t column = 0; column < head_dim; column += PANEL) {
        tile t = {.a_step = 1, .b_rows = from, .b_offset = column, .steps = common,
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
static void weigh_rows(const mmed_plan *plan, const struct cluster *cluster, size_t head, const struct query_row *rows,
                       enum side side, const float *weights, float *sums) {
    const struct entry *entries = plan->entries + cluster->first_entry;
    const size_t head_dim = plan->job.head_dim;
    memset(sums, 0, cluster->rows * head_dim * sizeof(float));
    const float *from[KEYS];
    for (size_t block = 0; block < cluster->reach; block += KEYS) {
        for (size_t e = 0, end; e < cluster->entries; e = end) {
            end = same_keys(entries, e, cluster->entries, block);
            if (entries[e].reach <= block) continue;
            resolve(entries[e].run, side, block, KEYS, head * head_dim, from);
            const size_t last = entries[end - 1].first_row + entries[end - 1].queries * plan->group;
            for (size_t row = entries[e].first_row; row < last; row += TILE_ROWS) {
                weigh_block(rows + row, smaller(TILE_ROWS, last - row), block, from, head_dim,
                            weights + row * cluster->width, cluster->width, sums + row * head_dim);
            }
        }
    }
}

static void attention_forward_part(const mmed_plan *plan, ptrdiff_t part) {
    const struct cluster *cluster = plan->clusters + (size_t)part / plan->job.kv_heads;
    const size_t head = (size_t)part % plan->job.kv_heads, head_dim = plan->job.head_dim, width = cluster->width;
    const size_t list = round_up(cluster->rows * sizeof(struct query_row), 64) / sizeof(float);
    const size_t panel_floats = head_dim * KEYS, score_floats = cluster->rows * width;
    float *memory = mmed_scratch(list + panel_floats + score_floats + cluster->rows * head_dim + 64);
    struct query_row *rows = (struct query_row *)(void *)memory;
    float *panel = memory + list, *scores = panel + panel_floats, *sums = scores + score_floats;
    list_rows(plan, cluster, head, rows);
    score_rows(plan, cluster, head, rows, KEY, plan->job.scale, panel, scores);
    for (size_t r = 0; r < cluster->rows; r++) {
        rows[r].inverse_sum = 1.0f / exponentiate(scores + r * width, rows[r].position + 1);
    }
    weigh_rows(plan, cluster, head, rows, VALUE, scores, sums);
    for (size_t r = 0; r < cluster->rows; r++) {
        const float *sum = sums + r * head_dim;
        for (size_t c = 0; c < head_dim; c += 16) {
            store_first(rows[r].out + c, load16(sum + c) * splat(rows[r].inverse_sum), head_dim - c);
        }
    }
}
