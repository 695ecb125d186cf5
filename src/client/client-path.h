/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths by their text alone, for the rules of `cp`: a path that ends with "/" or "/." says that it is a directory. All
 * results are owned by the caller. */
#pragma once

#include <stdbool.h>

/* Without ".", ".." that have something before them, and double or trailing slashes; "." for the empty path. */
char *client_path_clean(const char *path);

/* The last part ("/" for the root, "." for "x/.") and what is before it. */
char *client_path_base(const char *path);
char *client_path_parent(const char *path);

/* A relative path made absolute by the working directory, keeping a "/" or "/." at its end. */
char *client_path_absolute(const char *path);

bool client_path_says_current(const char *path);   /* ends with a part "." */
bool client_path_says_directory(const char *path); /* that, or with "/" */
