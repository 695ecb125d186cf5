/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a registry's headers say of an upload: where it goes on, how far it is, when to come again. */
#pragma once

#include <stdint.h>

/* A Location header's meaning beside the URL that was asked (RFC 3986, 5), as an absolute URL owned by the caller. What
 * names the same host stays on its connection and never leaves TLS. -EPROTO where it is no URL, or where it would send
 * in clear what came to be sent over TLS. */
int registry_location_resolve(const char *base, const char *location, char **ret);

/* The location with one more parameter in its query, owned by the caller; NULL when out of memory. */
char *registry_location_with(const char *location, const char *name, const char *value);

/* "0-99", "bytes=0-99": 100 bytes have arrived. What a registry says before the first one, "0-0", is none. */
int registry_range_received(const char *range, int64_t *ret);

/* Retry-After, in seconds or as a date: how many seconds that is from NOW (of the epoch) on, at most MAX. */
int registry_retry_after(const char *value, int64_t now, unsigned max, unsigned *ret);
