/* The products, on tiles. */

INLINE size_t panel_width(size_t n, size_t panel) {
    size_t left = n - panel * PANEL;
    return left >= PANEL ? PANEL : round_up(left, 16);
}

static void product_part(const mmed_product *job, ptrdiff_t part) {
    const struct cut cut = mmed_product_cut(job);
    const size_t first_panel = (size_t)part % cut.panel_parts * cut.panels_per_part;
    const size_t first_row = (size_t)part / cut.panel_parts * cut.rows_per_part;
    const size_t last_panel = smaller(first_panel + cut.panels_per_part, cut.panels);
    const size_t last_row = smaller(first_row + cut.rows_per_part, job->m);
    for (size_t p = first_panel; p < last_panel; p++) {
        const size_t width = panel_width(job->n, p);
        tile t = {.a_step = 1, .b = job->w + p * PANEL * job->k, .b_step = width, .steps = job->k,
                  .columns = smaller(job->n - p * PANEL, PANEL), .scale = job->scale,
                  .end = job->accumulate ? TILE_ADD : TILE_STORE, .prefetch = 1};
        for (size_t row = first_row; row < last_row; row += TILE_ROWS) {
            const int rows = (int)smaller(TILE_ROWS, last_row - row);
            for (int i = 0; i < rows; i++) {
                t.a[i] = job->x + (row + (size_t)i) * job->x_stride;
                t.c[i] = job->y + (row + (size_t)i) * job->y_stride + p * PANEL;
            }
            tile_rows(&t, rows);
            t.prefetch = 0;
        }
    }
}

/* turned[(n - first) * PANEL + c] = w[n][column + c] for rows first ... first + rows; first is a multiple of PANEL. */
static void turn_panels(const mmed_product *job, size_t first, size_t rows, size_t column, float *turned) {
    for (size_t n = first; n < first + rows; n += 16) {
        const size_t panel = n / PANEL, width = panel_width(job->n, panel);
        const float *from = job->w + panel * PANEL * job->k + (n - panel * PANEL);
        const size_t columns = smaller(job->k - column, PANEL);
        for (size_t c = 0; c < columns; c += 16) {
            const float *source[16];
            for (size_t i = 0; i < 16; i++) {
                source[i] = from + smaller(column + c + i, job->k - 1) * width;
                __builtin_prefetch(source[i] + PANEL * job->k, 0, 3); /* the next panel lies far off */
            }
            transpose16(source, turned + (n - first) * PANEL + c, PANEL, 16);
        }
    }
}

/* The rows of one part against one turned block: y directly when the block is all of n, else chains kept in `chains`. */
static void transposed_rows(const mmed_product *job, size_t first_row, size_t last_row, size_t column, size_t first_n,
                            size_t n_rows, const float *turned, float *chains) {
    const int whole = n_rows == job->n;
    tile t = {.a_step = 1, .b = turned, .b_step = PANEL, .steps = n_rows, .columns = smaller(job->k - column, PANEL),
              .scale = whole ? job->scale : 1,
              .end = whole ? (job->accumulate ? TILE_ADD : TILE_STORE) : (first_n == 0 ? TILE_STORE : TILE_CHAIN)};
    for (size_t row = first_row; row < last_row; row += TILE_ROWS) {
        const int rows = (int)smaller(TILE_ROWS, last_row - row);
        for (int i = 0; i < rows; i++) {
            const size_t r = row + (size_t)i;
            t.a[i] = job->x + r * job->x_stride + first_n;
            t.c[i] = whole ? job->y + r * job->y_stride + column : chains + (r - first_row) * PANEL;
        }
        tile_rows(&t, rows);
    }
}

static void product_transposed_part(const mmed_product *job, ptrdiff_t part) {
    const struct cut cut = mmed_product_transposed_cut(job);
    const size_t first_panel = (size_t)part % cut.panel_parts * cut.panels_per_part;
    const size_t first_row = (size_t)part / cut.panel_parts * cut.rows_per_part;
    const size_t last_panel = smaller(first_panel + cut.panels_per_part, cut.panels);
    const size_t last_row = smaller(first_row + cut.rows_per_part, job->m);
    const size_t block = job->n <= TURNED_ROWS * 2 ? job->n : TURNED_ROWS;
    float *turned = mmed_scratch((round_up(block, PANEL) + last_row - first_row) * PANEL);
    float *chains = turned + round_up(block, PANEL) * PANEL;
    for (size_t p = first_panel; p < last_panel; p++) {
        const size_t column = p * PANEL;
        for (size_t n = 0; n < job->n; n += block) {
            const size_t rows = smaller(block, job->n - n);
            turn_panels(job, n, rows, column, turned);
            transposed_rows(job, first_row, last_row, column, n, rows, turned, chains);
        }
        if (block == job->n) continue;
        const size_t columns = smaller(job->k - column, PANEL);
        for (size_t row = first_row; row < last_row; row++) {
            tile t = {.columns = columns, .scale = job->scale, .end = job->accumulate ? TILE_ADD : TILE_STORE};
            t.c[0] = job->y + row * job->y_stride + column;
            const float *chain = chains + (row - first_row) * PANEL;
            for (int j = 0; (size_t)j * 16 < columns; j++) tile_finish(&t, 0, j, load16(chain + j * 16));
        }
    }
}

/* The longer side of g runs along the vectors; when that is n, a tile is g turned and is scattered. */
static void outer_part(const mmed_outer *job, ptrdiff_t part) {
    const struct cut cut = mmed_outer_cut(job);
    const int turned = job->n > job->k;
    const float *rows_of = turned ? job->x : job->d, *columns_of = turned ? job->d : job->x;
    const size_t row_step = turned ? job->x_stride : job->d_stride, column_step = turned ? job->d_stride : job->x_stride;
    const size_t all_rows = turned ? job->k : job->n, all_columns = turned ? job->n : job->k;
    const size_t first = (size_t)part * cut.panels_per_part, last = smaller(first + cut.panels_per_part, cut.panels);
    float block[8 * PANEL];
    for (size_t p = first; p < last; p++) {
        tile t = {.a_step = row_step, .b = columns_of + p * PANEL, .b_step = column_step, .steps = job->m,
                  .columns = smaller(all_columns - p * PANEL, PANEL), .scale = turned ? 1 : job->scale,
                  .end = turned ? TILE_STORE : TILE_ADD, .prefetch = 1};
        for (size_t row = 0; row < all_rows; row += TILE_ROWS) {
            const int rows = (int)smaller(TILE_ROWS, all_rows - row);
            for (int i = 0; i < rows; i++) {
                t.a[i] = rows_of + row + (size_t)i;
                t.c[i] = turned ? block + i * PANEL : job->g + (row + (size_t)i) * job->k + p * PANEL;
            }
            tile_outer(&t, rows);
            t.prefetch = 0;
            for (size_t j = 0; turned && j < t.columns; j++) {
                float *g = job->g + (p * PANEL + j) * job->k + row;
                for (int i = 0; i < rows; i++) g[i] = __builtin_fmaf(job->scale, block[i * PANEL + (int)j], g[i]);
            }
        }
    }
}
