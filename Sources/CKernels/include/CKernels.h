/* Numeric kernels in fp32. Every function gives the same bits on every instruction set it is compiled for: sums are chains of
 * fused multiply-adds or lanes in one fixed order, and the compiler may not contract or reorder. */
#ifndef CKERNELS_H
#define CKERNELS_H

#include "attention.h"
#include "pool.h"
#include "products.h"
#include "rows.h"

#include <stddef.h>
#include <stdint.h>

/* 64-byte aligned memory of `count` floats, or NULL. */
float *mmed_alloc_zeroed(size_t count);
void mmed_free(float *memory);

/* 0 portable, 1 AVX2 + FMA, 2 AVX-512. */
int mmed_path_supported(int32_t path);
int32_t mmed_path_current(void);
int mmed_path_force(int32_t path);

#endif
