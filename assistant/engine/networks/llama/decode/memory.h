/* As malloc; without memory left the process ends with a sentence. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

static void *checked(void *p, size_t bytes) {
    if (!p && bytes) {
        fprintf(stderr, "No memory left: %zu bytes were asked for. Close other programs.\n", bytes);
        abort();
    }
    return p;
}
static void *allocated(size_t bytes) { return checked(malloc(bytes), bytes); }
static void *aligned(size_t bytes) { return checked(aligned_alloc(64, (bytes + 63) / 64 * 64), bytes); } /* multiples of 64 */
