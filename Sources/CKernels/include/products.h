#ifndef CKERNELS_PRODUCTS_H
#define CKERNELS_PRODUCTS_H

#include <stddef.h>

/* Panels: 48 rows of W [n, k] each (the last one the rest, rounded up to 16 and filled with zeros); a panel of width p stores
 * its element (row j, column c) at c * p + j. The panel of rows 48 i ... begins at 48 i * k. */

/* source element (row, column) at row * row_step + column * column_step */
void mmed_pack(const float *source, size_t row_step, size_t column_step, size_t n, size_t k, float *panels);
void mmed_pack_row(const float *source, size_t row, size_t n, size_t k, float *panels);
void mmed_pack_column(const float *source, size_t column, size_t n, size_t k, float *panels);
void mmed_unpack_row(const float *panels, size_t row, size_t n, size_t k, float *target);

/* y [m, n] = scale x [m, k] wT, or, transposed, y [m, k] = scale x [m, n] w; w packed from [n, k]. */
typedef struct {
    const float *x;
    size_t x_stride;
    const float *w;
    float *y;
    size_t y_stride;
    size_t m, n, k;
    float scale;
    int accumulate;
} mmed_product;

ptrdiff_t mmed_product_parts(mmed_product job);
void mmed_product_part(const mmed_product *job, ptrdiff_t part);
ptrdiff_t mmed_product_transposed_parts(mmed_product job);
void mmed_product_transposed_part(const mmed_product *job, ptrdiff_t part);

/* g [n, k] += scale dT x, d [m, n], x [m, k]. */
typedef struct {
    const float *d;
    size_t d_stride;
    const float *x;
    size_t x_stride;
    float *g;
    size_t m, n, k;
    float scale;
} mmed_outer;

ptrdiff_t mmed_outer_parts(mmed_outer job);
void mmed_outer_part(const mmed_outer *job, ptrdiff_t part);

#endif
