/* The backward pass of attention: scores anew, then the gradients of queries by cluster, and those of keys by position. */

/* Of a cluster of the chunk: [kv_heads, rows, width] each. */
static float *probabilities(const mmed_plan *plan, const struct cluster *cluster) { return plan->scores + cluster->scores; }

static float *score_gradients(const mmed_plan *plan, const struct cluster *cluster) {
    return plan->scores + cluster->scores + plan->job.kv_heads * cluster->rows * cluster->width;
}

/* From probabilities (not yet normalised) and dOut . v of one row, the probabilities and scale times the gradients of the scores;
 * zero from the row's end to the end of its block of keys. */
static void score_gradient(float *p, float *d, size_t count, float inverse_sum, float scale) {
    v16 dots = splat(0);
    const size_t end = round_up(count, KEYS);
    for (size_t c = 0; c < end; c += 16) {
        const size_t left = count > c ? smaller(count - c, 16) : 0;
        v16 probability = keep_first(load16(p + c) * splat(inverse_sum), left, 0);
        store16(p + c, probability);
        dots = fma16(probability, keep_first(load16(d + c), left, 0), dots);
    }
    const v16 mean = splat(sum16(dots));
    for (size_t c = 0; c < end; c += 16) {
        const size_t left = count > c ? smaller(count - c, 16) : 0;
        v16 change = keep_first(load16(d + c), left, 0) - mean;
        store16(d + c, load16(p + c) * change * splat(scale));
    }
}

static void attention_score_part(const mmed_plan *plan, ptrdiff_t part) {
    const struct span span = span_of(plan, plan->first_cluster, part);
    const size_t head_dim = plan->job.head_dim, width = span.cluster->width, count = span.heads * span.cluster->rows;
    const size_t list = row_list_floats(count), panel_floats = head_dim * KEYS;
    float *memory = mmed_scratch(list + panel_floats + count * head_dim + 64);
    struct query_row *rows = (struct query_row *)(void *)memory;
    float *panel = memory + list, *sums = panel + panel_floats;
    float *p = probabilities(plan, span.cluster) + span.first_head * span.cluster->rows * width;
    float *d = score_gradients(plan, span.cluster) + span.first_head * span.cluster->rows * width;
    list_rows(&span, rows);
    score_rows(&span, rows, KEY, plan->job.scale, panel, p);
    score_rows(&span, rows, VALUE, 1, panel, d);
    for (size_t r = 0; r < count; r++) {
        const size_t seen = rows[r].position + 1;
        rows[r].inverse_sum = 1.0f / exponentiate(p + r * width, seen);
        score_gradient(p + r * width, d + r * width, seen, rows[r].inverse_sum, plan->job.scale);
    }
    weigh_rows(&span, rows, KEY, d, sums);
    for (size_t r = 0; r < count; r++) {
        for (size_t c = 0; c < head_dim; c += 16) {
            store_first(rows[r].out + c, load16(sums + r * head_dim + c), head_dim - c);
        }
    }
}

/* target[key] += sum over rows of weights[row][key] from[row], a chain in the order of the rows. */
static void gather_rows(const float *weights, size_t width, const float *const *from, size_t rows, size_t keys,
                        const float *const *target, size_t head_dim) {
    for (size_t column = 0; column < head_dim; column += PANEL) {
        tile t = {.a_step = width, .b_rows = from, .b_offset = column, .steps = rows,
                  .columns = smaller(head_dim - column, PANEL), .end = TILE_CHAIN};
        for (size_t key = 0; key < keys; key += TILE_ROWS) {
            const size_t count = smaller(TILE_ROWS, keys - key);
            for (size_t i = 0; i < count; i++) {
                t.a[i] = weights + key + i;
                t.c[i] = (float *)(uintptr_t)target[key + i] + column;
            }
            tile_gather_outer(&t, (int)count);
        }
    }
}

/* What one cluster's queries add to the keys and values of one head at KEYS positions. */
static void cluster_key_part(const struct span *span, size_t block, struct query_row *rows, const float **q, const float **d) {
    const mmed_plan *plan = span->plan;
    const struct cluster *cluster = span->cluster;
    const size_t width = cluster->width, head_dim = plan->job.head_dim, column = span->first_head * head_dim;
    const size_t scores = span->first_head * cluster->rows * width + block;
    const float *p = probabilities(plan, cluster) + scores, *slopes = score_gradients(plan, cluster) + scores;
    list_rows(span, rows);
    for (size_t r = 0; r < cluster->rows; r++) {
        q[r] = rows[r].q;
        d[r] = rows[r].d;
    }
    for (size_t e = 0; e < cluster->entries; e++) {
        const struct entry *entry = span->entries + e;
        if (entry->reach <= block) continue;
        const size_t keys = smaller(entry->reach - block, KEYS), last = entry->first_row + entry->queries * plan->group;
        size_t row = entry->first_row;
        while (rows[row].position < block) row++;
        const float *d_keys[KEYS], *d_values[KEYS];
        resolve(entry->run, KEY_GRADIENT, block, keys, column, d_keys);
        resolve(entry->run, VALUE_GRADIENT, block, keys, column, d_values);
        gather_rows(slopes + row * width, width, q + row, last - row, keys, d_keys, head_dim);
        gather_rows(p + row * width, width, d + row, last - row, keys, d_values, head_dim);
    }
}

static void attention_key_part(const mmed_plan *plan, ptrdiff_t part) {
    const size_t head = (size_t)part % plan->job.kv_heads, block = (size_t)part / plan->job.kv_heads * KEYS;
    size_t most_rows = 0;
    for (size_t i = plan->first_cluster; i < plan->last_cluster; i++) {
        if (plan->clusters[i].rows > most_rows) most_rows = plan->clusters[i].rows;
    }
    const size_t list = row_list_floats(most_rows), pointers = round_up(most_rows * sizeof(float *), 64) / sizeof(float);
    float *memory = mmed_scratch(list + 2 * pointers);
    struct query_row *rows = (struct query_row *)(void *)memory;
    const float **q = (const float **)(void *)(memory + list), **d = (const float **)(void *)(memory + list + pointers);
    for (size_t i = plan->first_cluster; i < plan->last_cluster; i++) {
        const struct cluster *cluster = plan->clusters + i;
        const struct span span = {.plan = plan, .cluster = cluster, .entries = plan->entries + cluster->first_entry,
                                  .first_head = head, .heads = 1};
        if (cluster->reach > block) cluster_key_part(&span, block, rows, q, d);
    }
}
