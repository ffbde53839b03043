#include "attention_plan.h"

#include <stdlib.h>

/* Floats of probabilities and score gradients kept at a time in a backward pass: 8 MiB, which stays in the shared cache. */
#define CHUNK_FLOATS (2u << 20)

static size_t shared_positions(const mmed_run *a, const mmed_run *b) {
    size_t shared = 0;
    for (size_t i = 0; i < a->segment_count && i < b->segment_count; i++) {
        const mmed_segment *s = a->segments + i, *t = b->segments + i;
        if (s->keys != t->keys || s->values != t->values || s->key_stride != t->key_stride) return shared;
        if (s->value_stride != t->value_stride || s->d_keys != t->d_keys || s->d_values != t->d_values) return shared;
        shared += smaller(s->count, t->count);
        if (s->count != t->count) return shared;
    }
    return shared;
}

static void add_entry(mmed_plan *plan, const mmed_run *run, size_t first_query, size_t queries) {
    struct cluster *cluster = plan->clusters + plan->cluster_count - 1;
    struct entry *entry = plan->entries + plan->entry_count;
    *entry = (struct entry){.run = run, .first_query = first_query, .queries = queries, .first_row = cluster->rows,
                            .reach = run->start + first_query + queries};
    if (cluster->entries > 0) entry->shared = shared_positions(entry[-1].run, run);
    cluster->entries += 1;
    cluster->rows += queries * plan->group;
    if (entry->reach > cluster->reach) cluster->reach = entry->reach;
    cluster->width = round_up(cluster->reach, KEYS);
    plan->entry_count += 1;
}

/* All key heads together while their scores stay in the cache and there are parts enough without cutting. */
static void choose_heads(mmed_plan *plan) {
    size_t most = 1;
    for (size_t i = 0; i < plan->cluster_count; i++) {
        const size_t scores = plan->clusters[i].rows * plan->clusters[i].width;
        if (scores > most) most = scores;
    }
    const size_t fitting = PART_SCORES / most;
    const size_t heads = smaller(fitting > 1 ? fitting : 1, plan->job.kv_heads);
    plan->heads_per_part = plan->cluster_count < CLUSTERS_WANTED / 2 ? 1 : heads;
    plan->head_parts = (plan->job.kv_heads + plan->heads_per_part - 1) / plan->heads_per_part;
}

mmed_plan *mmed_attention_plan(const mmed_attention *job) {
    mmed_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return NULL;
    plan->job = *job;
    plan->group = job->heads / job->kv_heads;
    size_t queries = 0;
    for (size_t i = 0; i < job->run_count; i++) queries += job->runs[i].queries;
    const size_t most = plan->group >= CLUSTER_ROWS ? 1 : CLUSTER_ROWS / plan->group;
    const size_t room = smaller(most, queries / CLUSTERS_WANTED + 1);
    /* A cluster or an entry ends when the cluster is full or its run is done. */
    plan->clusters = calloc(queries / room + 1, sizeof *plan->clusters);
    plan->entries = calloc(queries / room + 1 + job->run_count, sizeof *plan->entries);
    if (plan->clusters == NULL || plan->entries == NULL) {
        mmed_attention_plan_free(plan);
        return NULL;
    }
    size_t left = 0;
    for (size_t i = 0; i < job->run_count; i++) {
        const mmed_run *run = job->runs + i;
        for (size_t query = 0; query < run->queries;) {
            if (left == 0) {
                plan->clusters[plan->cluster_count] = (struct cluster){.first_entry = plan->entry_count};
                plan->cluster_count += 1;
                left = room;
            }
            const size_t taken = smaller(left, run->queries - query);
            add_entry(plan, run, query, taken);
            query += taken;
            left -= taken;
        }
    }
    choose_heads(plan);
    return plan;
}

void mmed_attention_plan_free(mmed_plan *plan) {
    if (plan == NULL) return;
    free(plan->clusters);
    free(plan->entries);
    free(plan);
}

int mmed_attention_next_chunk(mmed_plan *plan) {
    plan->first_cluster = plan->last_cluster;
    if (plan->first_cluster >= plan->cluster_count) return 0;
    size_t floats = 0;
    plan->chunk_reach = 0;
    while (plan->last_cluster < plan->cluster_count) {
        struct cluster *cluster = plan->clusters + plan->last_cluster;
        const size_t more = 2 * cluster->rows * cluster->width * plan->job.kv_heads;
        if (floats > 0 && floats + more > CHUNK_FLOATS) break;
        cluster->scores = floats;
        floats += more;
        if (cluster->reach > plan->chunk_reach) plan->chunk_reach = cluster->reach;
        plan->last_cluster += 1;
    }
    plan->scores = mmed_kept_scratch(floats);
    return 1;
}

ptrdiff_t mmed_attention_forward_parts(const mmed_plan *plan) {
    return (ptrdiff_t)(plan->cluster_count * plan->head_parts);
}

ptrdiff_t mmed_attention_score_parts(const mmed_plan *plan) {
    return (ptrdiff_t)((plan->last_cluster - plan->first_cluster) * plan->head_parts);
}

ptrdiff_t mmed_attention_key_parts(const mmed_plan *plan) {
    return (ptrdiff_t)((plan->chunk_reach + KEYS - 1) / KEYS * plan->job.kv_heads);
}
