/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the detach sequence in what a client types. Bytes that may be the beginning of one are held back, and passed on
 * as soon as the sequence breaks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/buffer.h"

#define MONITOR_DETACH_MAX 32

typedef struct MonitorDetach {
        uint8_t keys[MONITOR_DETACH_MAX];
        size_t n_keys; /* 0: no sequence */
        size_t held;   /* so many bytes of the sequence are held back */
} MonitorDetach;

/* Reads the sequence from hexadecimal digits, or "-" for none. 0 or -EINVAL. */
int monitor_detach_parse(MonitorDetach *detach, const char *hex);

/* Appends to OUTPUT what of the bytes is to be passed on. 1 when the sequence was completed (what follows it is
 * ignored), 0 otherwise, or -ENOMEM. */
int monitor_detach_feed(MonitorDetach *detach, const uint8_t *data, size_t size, Buffer *output);

/* No more bytes will come: what is held back is passed on. */
int monitor_detach_end(MonitorDetach *detach, Buffer *output);
