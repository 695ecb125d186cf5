/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's progress messages. New references; NULL when out of memory. */
#pragma once

#include <jansson.h>
#include <stdint.h>

/* {"status"}, with an ID {"status","progressDetail":{},"id"}. */
json_t *registry_message(const char *id, const char *status);
json_t *registry_message_printf(const char *id, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* With "progressDetail" and "progress", the bar that old clients print as it is. TOTAL 0: unknown. */
json_t *registry_message_progress(const char *id, const char *status, int64_t current, int64_t total);

/* The first 12 digits of a digest. */
typedef struct RegistryShortId {
        char text[13];
} RegistryShortId;
RegistryShortId registry_short_id(const char *digest);
