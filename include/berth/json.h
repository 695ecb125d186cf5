/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and writing JSON records. Getters return borrowed values and take a NULL object. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/cleanup.h"

/* Records and request bodies larger than this are refused. */
#define JSON_SIZE_MAX (16u * 1024 * 1024)

/* The member as a string (NULL where absent or not a string), integer, boolean, object or array. */
const char *json_get_string(const json_t *object, const char *key);
const char *json_get_string_or(const json_t *object, const char *key, const char *fallback);
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key);
json_t *json_get_object(const json_t *object, const char *key);
json_t *json_get_array(const json_t *object, const char *key);

/* Sets a string member; a NULL value removes the member. 0 or -ENOMEM (or -EINVAL for bytes that are not UTF-8). */
int json_set_string(json_t *object, const char *key, const char *value);
int json_set_int(json_t *object, const char *key, int64_t value);
int json_set_bool(json_t *object, const char *key, bool value);

/* Reads DIRFD/NAME. -ENOENT where absent, -EBADMSG where it is not JSON of at most JSON_SIZE_MAX bytes. */
int json_read_at(int dirfd, const char *name, json_t **ret);

/* Writes it as one line, durably (see file_replace_at() and file_create_at()) or volatile. */
int json_write_at(int dirfd, const char *name, const json_t *value, mode_t mode);
int json_create_at(int dirfd, const char *name, const json_t *value, mode_t mode);
int json_write_volatile_at(int dirfd, const char *name, const json_t *value, mode_t mode);

/* Writes it over the file that is there. Cheaper than to replace it, for which file systems hasten to write the new one
 * down; but a power cut may leave what is no JSON. */
int json_rewrite_at(int dirfd, const char *name, const json_t *value);

/* The value, an object or array, as one line of text with its newline; the caller's. NULL when out of memory, and of
 * NULL. */
char *json_line(const json_t *value);

/* A copy of a JSON array of strings, as a NULL-terminated vector owned by the caller; members that are no strings are
 * left out. NULL only when out of memory; a NULL array gives an empty vector. */
char **json_to_strv(const json_t *array);

/* A copy whose members stand in their names' order, as Go prints a map. NULL for NULL, and when out of memory. */
json_t *json_sorted(const json_t *value);

/* The vector as an array; NULL when out of memory. */
json_t *json_from_strv(char *const *strv);
