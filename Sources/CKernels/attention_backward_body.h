/* The backward pass of attention: scores anew, then the gradients of queries by cluster, and those of keys by position. */

static size_t chunk_scores(const struct cluster *cluster, size_t head) {
    return cluster->scores + 2 * head * cluster->rows * cluster->width;
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
    const struct cluster *cluster = plan->clusters + plan->first_cluster + (size_t)part / plan->job.kv_heads;
    const size_t head = (size_t)part % plan->job.kv_heads, head_dim = plan->job.head_dim, width = cluster->width;
    const size_t list = round_up(cluster->rows * sizeof(struct query_row), 64) / sizeof(float);
    float *memory = mmed_scratch(list + head_dim * KEYS + cluster->rows * head_dim + 64);
    struct query_row *rows = (struct query_row *)(void *)memory;
    float *panel = memory + list, *sums = panel + head_dim * KEYS;
    float *p = plan->scores + chunk_scores(cluster, head), *d = p + cluster->rows * width;
    list_rows(plan, cluster, head, rows);
    score_rows(plan, cluster, head, rows, KEY, plan->job.scale, panel, p);
    score_rows(plan, cluster, head, rows, VALUE, 1, panel, d);
    for (size_t r = 0; r < cluster->rows; r++) {
        const size_t count = rows[r].position + 1;
        rows[r].inverse_sum = 1.0f / exponentiate(p + r * width, count);
        score_gradient(p + r * width, d + r * width, count, rows[r].inverse_sum, plan->job.scale);
    }
    weigh_rows(plan, cluster, head, rows, KEY, d, sums);
    for (size_t r = 0; r < cluster->rows; r++) {
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

/* All that the chunk's queries add to the keys and values of one head at KEYS positions. */
static void attention_key_part(const mmed_plan *plan, ptrdiff_t part) {
    const size_t head = (size_t)part % plan->job.kv_heads, block = (size_t)part / plan->job.kv_heads * KEYS;
    const size_t head_dim = plan->job.head_dim;
    size_t most_rows = 0;
    for (size_t i = plan->first_cluster; i < plan->last_cluster; i++) {
        if (plan->clusters[i].rows > most_rows) most_rows = plan->clusters[i].rows;
    }
    const size_t list = round_up(most_rows * sizeof(struct query_row), 64) / sizeof(float);
    const size_t pointers = round_up(most_rows * sizeof(float *), 64) / sizeof(float);
    float *memory = mmed_scratch(list + 2 * pointers);
    struct query_row *rows = (struct query_row *)(void *)memory;
    const float **q = (const float **)(void *)(memory + list), **d = (const float **)(void *)(memory + list + pointers);
    for (size_t i = plan->first_cluster; i < plan->last_cluster; i++) {
        const struct cluster *cluster = plan->clusters + i;
        if (cluster->reach <= block) continue;
        const size_t width = cluster->width;
        const float *p = plan->scores + chunk_scores(cluster, head), *slopes = p + cluster->rows * width;
        list_rows(plan, cluster, head, rows);
        for (size_t r = 0; r < cluster->rows; r++) {
            q[r] = rows[r].q;
            d[r] = rows[r].d;
        }
        for (size_t e = 0; e < cluster->entries; e++) {
            const struct entry *entry = plan->entries + cluster->first_entry + e;
            if (entry->reach <= block) continue;
            const size_t keys = smaller(entry->reach - block, KEYS), last = entry->first_row + entry->queries * plan->group;
            size_t row = entry->first_row;
            while (rows[row].position < block) row++;
            const float *d_keys[KEYS], *d_values[KEYS];
            resolve(entry->run, KEY_GRADIENT, block, keys, head * head_dim, d_keys);
            resolve(entry->run, VALUE_GRADIENT, block, keys, head * head_dim, d_values);
            gather_rows(slopes + row * width + block, width, q + row, last - row, keys, d_keys, head_dim);
            gather_rows(p + row * width + block, width, d + row, last - row, keys, d_values, head_dim);
        }
    }
}
