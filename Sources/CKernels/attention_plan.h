/* How runs become parts: clusters of queries whose rows go through the keys together. */
#ifndef MMED_ATTENTION_PLAN_H
#define MMED_ATTENTION_PLAN_H

#include "kernels.h"

/* Positions handled at a time. */
#define KEYS PANEL
/* Query rows (query and head) of a cluster for each key head, unless one query has more. */
#define CLUSTER_ROWS 48
/* Clusters a job is cut into at least, where it has the queries. */
#define CLUSTERS_WANTED 8
/* Scores a part keeps at hand, in floats: half of a usual second-level cache. */
#define PART_SCORES (128u << 10)

/* Consecutive queries of one run within a cluster. */
struct entry {
    const mmed_run *run;
    size_t first_query, queries;
    size_t first_row; /* in the cluster; each query has `group` rows */
    size_t shared;    /* leading positions at which its chain is the one of the entry before */
    size_t reach;     /* position of its last query, plus 1 */
};

struct cluster {
    size_t first_entry, entries, rows; /* rows for each key head */
    size_t reach; /* the largest of its entries */
    size_t width; /* reach, rounded up to whole blocks of keys */
    size_t scores; /* where its scores begin in the chunk, for the first key head */
};

struct mmed_plan {
    mmed_attention job;
    size_t group;          /* query heads for each key head */
    size_t heads_per_part; /* key heads that a part takes together, so that it reads whole rows of keys */
    size_t head_parts;
    struct entry *entries;
    struct cluster *clusters;
    size_t entry_count, cluster_count;
    size_t first_cluster, last_cluster; /* the chunk at hand, in a backward pass */
    size_t chunk_reach;
    float *scores; /* probabilities, then score gradients, for each cluster of the chunk and key head */
};

/* The part of a cluster at hand: its key heads are first_head ... first_head + heads. Its rows and scores are those of the first
 * of these heads, then those of the next. */
struct span {
    const mmed_plan *plan;
    const struct cluster *cluster;
    const struct entry *entries;
    size_t first_head, heads;
};

/* One query and head. */
struct query_row {
    const float *q, *d;
    float *out;
    size_t position;
    float inverse_sum; /* of its exponentials */
};

#endif
