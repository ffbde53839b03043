/* The kernels for AVX2 with FMA: two rows by 48 columns fill its sixteen registers. */
#include "attention_plan.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx,avx2,fma"))), apply_to = function)
#define TILE_ROWS 2
#define TABLE mmed_kernels_avx2
#include "table_body.h"
#pragma clang attribute pop
#endif
