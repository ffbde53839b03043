#include "kernels.h"

#include <string.h>

/* About 20 microseconds of work a part: multiplications, plus the time to bring a panel from memory counted as 18 rows' worth.
 * From shapes alone, so the partition does not depend on the threads. */
static const double part_cost = 1048576;

static struct cut cut_by(size_t panels, size_t depth, size_t rows, size_t rows_per_part, size_t fixed_rows) {
    struct cut cut = {.panels = panels, .rows_per_part = rows_per_part};
    cut.row_parts = (rows + rows_per_part - 1) / rows_per_part;
    const double cost = (double)depth * PANEL * (double)(smaller(rows, rows_per_part) + fixed_rows);
    const double wanted = part_cost / cost;
    cut.panels_per_part = wanted < 1 ? 1 : wanted > (double)panels ? panels : (size_t)wanted;
    cut.panel_parts = (panels + cut.panels_per_part - 1) / cut.panels_per_part;
    return cut;
}

struct cut mmed_product_cut(const mmed_product *job) {
    return cut_by((job->n + PANEL - 1) / PANEL, job->k, job->m, 128, 18);
}

struct cut mmed_product_transposed_cut(const mmed_product *job) {
    return cut_by((job->k + PANEL - 1) / PANEL, job->n, job->m, 256, 18);
}

struct cut mmed_outer_cut(const mmed_outer *job) {
    const size_t longer = job->n > job->k ? job->n : job->k, shorter = job->n > job->k ? job->k : job->n;
    return cut_by((longer + PANEL - 1) / PANEL, job->m, shorter, shorter, 18);
}

ptrdiff_t mmed_product_parts(mmed_product job) {
    const struct cut cut = mmed_product_cut(&job);
    return (ptrdiff_t)(cut.panel_parts * cut.row_parts);
}

ptrdiff_t mmed_product_transposed_parts(mmed_product job) {
    const struct cut cut = mmed_product_transposed_cut(&job);
    return (ptrdiff_t)(cut.panel_parts * cut.row_parts);
}

ptrdiff_t mmed_outer_parts(mmed_outer job) { return (ptrdiff_t)mmed_outer_cut(&job).panel_parts; }

/* The place of W's element (row, 0) and the step to the next column. */
static size_t place(size_t row, size_t n, size_t k, size_t *step) {
    const size_t panel = row / PANEL, left = n - panel * PANEL;
    *step = left >= PANEL ? PANEL : round_up(left, 16);
    return panel * PANEL * k + row % PANEL;
}

void mmed_pack_row(const float *source, size_t row, size_t n, size_t k, float *panels) {
    size_t step;
    float *target = panels + place(row, n, k, &step);
    for (size_t c = 0; c < k; c++) target[c * step] = source[c];
}

void mmed_unpack_row(const float *panels, size_t row, size_t n, size_t k, float *target) {
    size_t step;
    const float *source = panels + place(row, n, k, &step);
    for (size_t c = 0; c < k; c++) target[c] = source[c * step];
}

void mmed_pack_column(const float *source, size_t column, size_t n, size_t k, float *panels) {
    for (size_t row = 0; row < n; row += PANEL) {
        size_t step;
        float *target = panels + place(row, n, k, &step) + column * step;
        memcpy(target, source + row, smaller(PANEL, n - row) * sizeof(float));
    }
}

void mmed_pack(const float *source, size_t row_step, size_t column_step, size_t n, size_t k, float *panels) {
    for (size_t first = 0; first < n; first += PANEL) {
        size_t step;
        float *target = panels + place(first, n, k, &step);
        const size_t rows = smaller(PANEL, n - first);
        /* Sixteen columns at a time: a line of each source row is read once. */
        for (size_t c = 0; c < k; c += 16) {
            const size_t columns = smaller(16, k - c);
            for (size_t row = 0; row < rows; row++) {
                const float *from = source + (first + row) * row_step + c * column_step;
                for (size_t i = 0; i < columns; i++) target[(c + i) * step + row] = from[i * column_step];
            }
        }
    }
}
