/* The kernels for the build's own target; where it has no fused multiply-add, fmaf gives the same bits slowly. */
#include "attention_plan.h"

#define TILE_ROWS 2
#define TABLE mmed_kernels_portable
#include "table_body.h"
