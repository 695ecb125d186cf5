/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the builder's hands share. */
#pragma once

#include <sys/stat.h>

#include "berth/build.h"

/* The names in a directory, sorted; FD stays the caller's. */
int build_read_names(int fd, char ***ret_names);

/* The patterns of "Exclude"; NULL where there are none. */
int build_exclude(const json_t *step, DockerIgnore **ret, Error *error);

/* The root that the source is in, and its path there. */
int build_source_root(const json_t *step, int root_fd, int fetched_fd, const char *source, const char **ret_path);

/* Opens a file or directory, and nothing else: opening a device may do anything. */
int build_open_source(int root_fd, const char *path, struct stat *ret_stat);
