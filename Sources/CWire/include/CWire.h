#ifndef MMED_CWIRE_H
#define MMED_CWIRE_H

#include <stddef.h>
#include <stdint.h>

#include "mmed.pb-c.h"

/* Memory of one message, bounded in bytes and blocks and freed as a whole: the budget allocator of protobuf-c. */
typedef struct mmed_arena mmed_arena;

/* NULL when there is no memory. */
mmed_arena *mmed_arena_new(size_t bytes_max, size_t blocks_max);
void mmed_arena_free(mmed_arena *arena);
/* 16-byte aligned, not zeroed; NULL beyond either budget or when there is no memory. */
void *mmed_arena_take(mmed_arena *arena, size_t bytes);
/* The arena as protobuf-c's allocator; it lives as long as the arena. Freeing a block does nothing. */
ProtobufCAllocator *mmed_arena_allocator(mmed_arena *arena);

/* CRC-32C (Castagnoli; RFC 3720, B.4). */
uint32_t mmed_crc32c(const uint8_t *bytes, size_t count);
/* The portable way, which the tests hold against the fast one. */
uint32_t mmed_crc32c_portable(const uint8_t *bytes, size_t count);

#endif
