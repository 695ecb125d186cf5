/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cells of the tables that are lists themselves. */
#pragma once

#include <jansson.h>

/* The keys of an object (NULL: none) in alphabetical order, NULL-terminated. The array is the caller's, the keys are
 * the object's. */
const char **client_sorted_keys(json_t *object);

/* "a=1,b=2" in alphabetical order; owned by the caller. */
char *client_list_labels(json_t *labels);

/* "0.0.0.0:8080->80/tcp, 443/tcp": neighbouring ports with the same number on both sides become ranges. */
char *client_list_ports(json_t *ports);

/* Orders text so that runs of digits compare as numbers, for qsort(3) over an array of strings. */
int client_compare_natural(const void *a, const void *b);

/* Orders an array of objects by their "Name" that way. */
void client_sort_by_name(json_t *array);
