/* The one inner product of the house: a tile of up to TILE_ROWS x 48 results, each one chain of fused multiply-adds over the
 * steps in rising order. Whatever the tile's shape, a result's chain is the same, so its bits are. */

/* What happens to the finished chains. */
enum tile_end {
    TILE_STORE, /* c = scale * chain */
    TILE_ADD,   /* c = scale * chain + c, rounded once */
    TILE_CHAIN, /* the chain started from c; c = chain */
};

typedef struct {
    const float *a[8]; /* one start for each row; step s is at a[row][s * a_step] */
    size_t a_step;
    const float *b; /* step s, column c is at b[s * b_step + c] */
    size_t b_step;
    const float *const *b_rows; /* or, when set, at b_rows[s][b_offset + c] */
    size_t b_offset;
    size_t steps;
    float *c[8]; /* one start for each row */
    size_t columns; /* results wanted in a row; reads of b go up to the next multiple of 16 */
    float scale;
    enum tile_end end;
    int prefetch; /* b comes from far away */
} tile;

INLINE void tile_finish(const tile *t, int row, int vector, v16 chain) {
    size_t left = t->columns - (size_t)vector * 16;
    float *c = t->c[row] + vector * 16;
    v16 result = chain;
    if (t->end == TILE_STORE) result = chain * splat(t->scale);
    if (t->end == TILE_ADD) result = fma16(splat(t->scale), chain, load_first(c, left, 0));
    store_first(c, result, left);
}

/* ROWS and VECTORS are constants at every call, so the accumulators live in registers. */
INLINE void tile_run(const tile *t, const int rows, const int vectors, const int pointers, const int unit) {
    v16 chain[8][3];
    const float *a[8];
    const size_t a_step = unit ? 1 : t->a_step;
    UNROLL for (int i = 0; i < rows; i++) {
        a[i] = t->a[i];
        UNROLL for (int j = 0; j < vectors; j++) {
            size_t left = t->columns - (size_t)j * 16;
            chain[i][j] = t->end == TILE_CHAIN ? load_first(t->c[i] + j * 16, left, 0) : splat(0);
        }
    }
    const float *b = t->b;
    const size_t b_step = t->b_step, ahead = t->prefetch ? 24 * b_step : 0;
    const size_t steps = t->steps;
    for (size_t s = 0; s < steps; s++) {
        const float *row = pointers ? t->b_rows[s] + t->b_offset : b + s * b_step;
        v16 columns[3];
        UNROLL for (int j = 0; j < vectors; j++) {
            columns[j] = load16(row + j * 16);
            if (!pointers) __builtin_prefetch(row + ahead + j * 16, 0, 3);
        }
        UNROLL for (int i = 0; i < rows; i++) {
            v16 factor = splat(a[i][s * a_step]);
            UNROLL for (int j = 0; j < vectors; j++) chain[i][j] = fma16(factor, columns[j], chain[i][j]);
        }
    }
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int j = 0; j < vectors; j++) tile_finish(t, i, j, chain[i][j]);
    }
}

#define TILE_CASE(ROWS)                                                                                                        \
    case ROWS:                                                                                                                 \
        if (vectors == 3) tile_run(t, ROWS, 3, pointers, unit);                                                                \
        if (vectors == 2) tile_run(t, ROWS, 2, pointers, unit);                                                                \
        if (vectors == 1) tile_run(t, ROWS, 1, pointers, unit);                                                                \
        break

INLINE void tile_choose(const tile *t, int rows, const int pointers, const int unit) {
    const int vectors = (int)((t->columns + 15) / 16);
    switch (rows) {
        TILE_CASE(1);
        TILE_CASE(2);
#if TILE_ROWS > 2
        TILE_CASE(3);
        TILE_CASE(4);
        TILE_CASE(5);
        TILE_CASE(6);
        TILE_CASE(7);
        TILE_CASE(8);
#endif
    }
}

/* b in steps of b_step, a in steps of 1: a plain product. */
static __attribute__((noinline)) void tile_rows(const tile *t, int rows) { tile_choose(t, rows, 0, 1); }
/* b in steps, a in steps of a_step: an outer product. */
static __attribute__((noinline)) void tile_outer(const tile *t, int rows) { tile_choose(t, rows, 0, 0); }
/* b through pointers, a in steps of 1. */
static __attribute__((noinline)) void tile_gather(const tile *t, int rows) { tile_choose(t, rows, 1, 1); }
/* b through pointers, a in steps of a_step. */
static __attribute__((noinline)) void tile_gather_outer(const tile *t, int rows) { tile_choose(t, rows, 1, 0); }

/* target[column * target_step + row] = source[row][column] for 16 rows and the columns of one vector. */
INLINE void transpose16(const float *const source[16], float *target, size_t target_step, size_t columns) {
    v16 x[16], y[16];
    UNROLL for (int i = 0; i < 16; i++) x[i] = load16(source[i]);
    UNROLL for (int i = 0; i < 16; i += 2) {
        y[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        UNROLL for (int j = 0; j < 2; j++) {
            v16 lower = y[i + j], upper = y[i + 2 + j];
            x[i + 2 * j] = __builtin_shufflevector(lower, upper, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            x[i + 2 * j + 1] = __builtin_shufflevector(lower, upper, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
        }
    }
    /* x[4 g + r] holds rows 4 g ... 4 g + 3 of columns r, r + 4, r + 8, r + 12 */
    UNROLL for (int r = 0; r < 4; r++) {
        v16 p = __builtin_shufflevector(x[r], x[4 + r], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        v16 q = __builtin_shufflevector(x[r], x[4 + r], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        v16 u = __builtin_shufflevector(x[8 + r], x[12 + r], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        v16 v = __builtin_shufflevector(x[8 + r], x[12 + r], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        y[r] = __builtin_shufflevector(p, u, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        y[r + 8] = __builtin_shufflevector(p, u, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        y[r + 4] = __builtin_shufflevector(q, v, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        y[r + 12] = __builtin_shufflevector(q, v, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
    UNROLL for (int c = 0; c < 16; c++) {
        if ((size_t)c < columns) store16(target + (size_t)c * target_step, y[c]);
    }
}
