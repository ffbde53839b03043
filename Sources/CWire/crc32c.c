#include <pthread.h>
#include <string.h>

#include "CWire.h"

/* Reflected polynomial of CRC-32C. */
static const uint32_t polynomial = 0x82F63B78u;

static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte += 1) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit += 1) crc = (crc >> 1) ^ (polynomial & (0u - (crc & 1u)));
        tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte += 1) {
        for (int slice = 1; slice < 8; slice += 1) {
            uint32_t below = tables[slice - 1][byte];
            tables[slice][byte] = (below >> 8) ^ tables[0][below & 255];
        }
    }
}

/* Slicing by eight (Kounavis and Berry 2005). */
uint32_t mmed_crc32c_portable(const uint8_t *bytes, size_t count) {
    pthread_once(&tables_once, make_tables);
    uint32_t crc = 0xFFFFFFFFu;
    while (count >= 8) {
        uint32_t low = crc ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                              (uint32_t)bytes[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][(low >> 8) & 255] ^ tables[5][(low >> 16) & 255] ^
              tables[4][low >> 24] ^ tables[3][bytes[4]] ^ tables[2][bytes[5]] ^ tables[1][bytes[6]] ^
              tables[0][bytes[7]];
        bytes += 8;
        count -= 8;
    }
    while (count > 0) {
        crc = (crc >> 8) ^ tables[0][(crc ^ *bytes) & 255];
        bytes += 1;
        count -= 1;
    }
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const uint8_t *bytes, size_t count) {
    uint64_t crc = 0xFFFFFFFFu;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __builtin_ia32_crc32di(crc, word);
        bytes += 8;
        count -= 8;
    }
    uint32_t narrow = (uint32_t)crc;
    while (count > 0) {
        narrow = __builtin_ia32_crc32qi(narrow, *bytes);
        bytes += 1;
        count -= 1;
    }
    return ~narrow;
}

uint32_t mmed_crc32c(const uint8_t *bytes, size_t count) {
    if (__builtin_cpu_supports("sse4.2")) return crc32c_sse42(bytes, count);
    return mmed_crc32c_portable(bytes, count);
}

#else

uint32_t mmed_crc32c(const uint8_t *bytes, size_t count) { return mmed_crc32c_portable(bytes, count); }

#endif
