/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Strings, vectors of strings, identifiers and times in the forms the engine's API uses. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "berth/cleanup.h"

/* Length of a full identifier (64 hexadecimal digits) and of the short form people see. */
#define ID_LENGTH 64
#define ID_SHORT_LENGTH 12

static inline bool str_equal(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

static inline bool str_empty(const char *s)
{
        return !s || !*s;
}

/* The part of S behind PREFIX, or NULL. */
const char *str_after_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);

/* A formatted string, owned by the caller; NULL when out of memory. */
char *str_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whole-string decimal to integer within [min, max]: 0, -EINVAL or -ERANGE. *ret is set on success only. */
int str_to_int64(const char *s, int64_t min, int64_t max, int64_t *ret);
/* What Docker's messages say of such a failure: "value out of range" or "invalid syntax". */
const char *str_number_problem(int r);

/* "10g", "1.5 MB": a size in bytes, each unit being STEP (1000 or 1024) times the one before. 0 or -EINVAL. */
int str_to_size(const char *text, int64_t step, int64_t *ret);

/* Makes capitals of the ASCII letters, in place. Returns S, which may be NULL. */
char *str_upper(char *s);

/* Docker's truth of a query value: false for "", "0", "no", "false", "none" (any case), true for anything else. */
bool str_to_bool(const char *s);

/* Sets of strings, NULL-terminated. strv_free() takes NULL. */
void strv_free(char **strv);
size_t strv_length(char *const *strv);
int strv_append(char ***strv, const char *s);
bool strv_contains(char *const *strv, const char *s);
DEFINE_CLEANUP(cleanup_strv_ptr, char **, strv_free)
#define CLEANUP_STRV CLEANUP(cleanup_strv_ptr)

/* Writes a fresh random identifier (64 lower-case hexadecimal digits); its short form is never all digits, as a
 * hostname made of it would look like a number. 0 or negative errno (getrandom(2)). */
int id_generate(char ret_id[static ID_LENGTH + 1]);

/* True for 1 to 64 lower-case hexadecimal digits. */
bool id_is_prefix(const char *s);

/* The value of a hexadecimal digit of either case, or -1. */
int hex_digit(char c);

/* Lower-case hexadecimal of SIZE bytes; RET holds 2 * SIZE + 1 bytes. */
void hex_encode(const uint8_t *data, size_t size, char *ret);

/* Nanoseconds since the epoch, now. */
int64_t time_now_ns(void);

/* Nanoseconds of a clock that is never set. */
int64_t time_monotonic_ns(void);

/* RFC 3339 in UTC with nanoseconds, trailing zeros dropped as Go's RFC3339Nano does ("2006-01-02T15:04:05.12Z"). */
#define TIME_RFC3339_SIZE 40
char *time_format_rfc3339(int64_t ns, char buffer[static TIME_RFC3339_SIZE]);

/* The same with exactly nine digits, as Docker prints log timestamps. */
char *time_format_rfc3339_fixed(int64_t ns, char buffer[static TIME_RFC3339_SIZE]);

/* Parses RFC 3339 (offset or Z, any number of fraction digits). 0 or -EINVAL. */
int time_parse_rfc3339(const char *s, int64_t *ret_ns);

/* "seconds[.nanoseconds]" since the epoch, with a sign if wanted; what nanoseconds can't hold is the last moment they
 * can. 0, -EINVAL, or -ERANGE where the seconds are no 64 bit number. */
int time_parse_seconds(const char *s, int64_t *ret_ns);

/* Docker's query timestamps: RFC 3339 in its shortened forms, "seconds[.nanoseconds]", or a Go duration ("1h30m")
 * meaning that long before NOW_NS. 0 or -EINVAL. */
int time_parse_query(const char *s, int64_t now_ns, int64_t *ret_ns);

/* A span of time in Docker's words ("About a minute", "3 days"), owned by the caller; NULL when out of memory. */
char *duration_words(int64_t seconds);

/* A Go duration ("1h2m3.5s", "300ms") in nanoseconds. 0 or -EINVAL. */
int duration_parse(const char *s, int64_t *ret_ns);
