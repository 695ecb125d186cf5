/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What build steps do to files: finding sources, digesting them, copying them into a root. It knows steps (the "copy"
 * of include/berth/dockerfile.h), not where they come from.
 *
 * Paths are only followed inside the root they belong to. Everything blocks: for workers. Functions return 0, a
 * negative errno or an Outcome with its message. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/ignore.h"
#include "berth/outcome.h"
#include "berth/string.h"

/* The files of ROOT_FD that the patterns of "Sources" stand for, relative, in order; a NULL-terminated vector owned by
 * the caller. IGNORE, which may be NULL, is what the context leaves out. OUTCOME_BAD_REQUEST where there are none. */
int build_find_sources(int root_fd, const json_t *step, char ***ret_paths, Error *error);

/* A digest ("file:HEX", "dir:HEX", "multi:HEX") of the sources' names, kinds, modes, contents and attributes; times do
 * not count, and owners only of what is copied from a stage or an image. With "Inline" files counted in. A source that
 * the step's "Fetched" ({"URL": path}) names is below FETCHED_FD, which is negative where there are none. */
int build_sum_sources(int root_fd, int fetched_fd, char *const *paths, const json_t *step, char **ret_sum,
                      Error *error);

/* What a file that was fetched from an URL is called: the last name of the URL's path, else the one that the header
 * Content-Disposition (which may be NULL) has; "" where neither has one. -ENOMEM. */
int build_url_name(const char *url, const char *disposition, char **ret_name);

bool build_is_url(const char *source);

/* A Git repository as a source. The empty value is {}. */
typedef struct BuildGit {
        char *remote;       /* http, https or git; all owned */
        char *ref;          /* "HEAD" where none was named */
        char *subdirectory; /* "" for all of it; not to be trusted */
} BuildGit;

void build_git_clear(BuildGit *git);
/* Whether docker takes it for one; before build_is_url() is asked. */
bool build_is_git(const char *source);
/* OUTCOME_BAD_REQUEST. */
int build_git_parse(const char *source, BuildGit *ret, Error *error);

typedef struct BuildCopy {
        int source_fd;      /* root of the sources, borrowed as all is */
        int fetched_fd;     /* root of what "Fetched" names; negative: nothing */
        int root_fd;        /* root that is copied into */
        int staging_fd;     /* where archives are unpacked */
        int owner_fd;       /* root whose users and groups have names */
        char *const *paths; /* of build_find_sources() */
        const json_t *step;
        bool keep_owner;
        int64_t epoch_ns; /* no time is later; 0: as they are */
} BuildCopy;

int build_copy(const BuildCopy *copy, Error *error);

/* Removes from an overlay's upper directory the empty mount points ("/a/b") that were made for mounts, and what was
 * made above them. */
void build_remove_stubs(int upper_fd, const json_t *targets);

/* Puts a layer's directory upon TO_FD, which has what the layers before it made. BASE_FD is the tree that all of them
 * lie upon, negative where there is none. Files become links to the layer's. */
int build_merge(int to_fd, int layer_fd, int base_fd);

/* Makes EPOCH_NS (0: nothing is done) the time of all files below that are later. */
int build_clamp_times(int root_fd, int64_t epoch_ns);

/* Makes a directory and what is missing above it, as WORKDIR does, for the user, where the root knows it (NULL: root).
 */
int build_make_directory(int root_fd, const char *path, const char *user, Error *error);

/* "user", "user:group", numbers or names by the root's /etc/passwd and /etc/group. */
int build_parse_owner(int root_fd, const char *text, uint32_t *ret_uid, uint32_t *ret_gid, Error *error);
