/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors, whole files, durable replacement, trees, descriptor passing and process identity. Descriptors made here
 * are close-on-exec. Every function returns 0 or more on success and a negative errno on failure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/buffer.h"
#include "berth/cleanup.h"

/* Writes all of it, across short writes and signals; waits with poll(2) where the descriptor does not block. */
int fd_write_all(int fd, const void *data, size_t size);

int fd_set_nonblock(int fd, bool nonblock);
int fd_set_cloexec(int fd, bool cloexec);

/* Reads a whole file of at most MAX bytes (-EFBIG beyond). The result is zero-terminated, owned by the caller. PATH is
 * taken relative to DIRFD. ret_size may be NULL. */
int file_read_at(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_size);

/* Writes an existing kernel file (/proc, /sys, cgroupfs) with one write(2). */
int file_write_kernel(const char *path, const char *value);

/* Replaces DIRFD/NAME by the data so that a power cut leaves the old or the new content: staged beside it, synced,
 * renamed, the directory synced. NAME may be a path. */
int file_replace_at(int dirfd, const char *name, const void *data, size_t size, mode_t mode);

/* The same for a name that is not there yet, in half the time: what a power cut leaves before this returns may be an
 * empty file. */
int file_create_at(int dirfd, const char *name, const void *data, size_t size, mode_t mode);

/* The same without syncing, for files that do not outlive the boot. */
int file_replace_volatile_at(int dirfd, const char *name, const void *data, size_t size, mode_t mode);

/* mkdir -p. Existing directories are left as they are. */
int path_make_directories(const char *path, mode_t mode);

/* Removes DIRFD/NAME and all below it, never following a symbolic link nor crossing into another mount (-EBUSY).
 * A name that does not exist is success. */
int path_remove_tree_at(int dirfd, const char *name);

/* The sizes of all files below DIRFD/NAME together, in bytes; links and mounts are not followed. 0: there is none. */
int64_t path_tree_size_at(int dirfd, const char *name);

/* The number of entries below DIRFD/NAME, counted no further than LIMIT. */
size_t path_tree_count_at(int dirfd, const char *name, size_t limit);

/* a/b, owned by the caller; NULL when out of memory. */
char *path_join(const char *a, const char *b);

/* Sends one message with up to 16 descriptors over a unix socket (the descriptors stay open here). */
int socket_send_fds(int socket, const void *data, size_t size, const int *fds, size_t n_fds);

/* Receives one message of at most SIZE bytes and up to *n_fds descriptors, which the caller owns; *n_fds becomes their
 * number. Returns the message's size, 0 at the end of the stream; -EAGAIN when nothing is there and the socket does not
 * block. */
ssize_t socket_recv_fds(int socket, void *data, size_t size, int *ret_fds, size_t *n_fds);

/* A connected pair / a listening socket / a connection, close-on-exec. TYPE is SOCK_STREAM or SOCK_SEQPACKET, with
 * SOCK_NONBLOCK if wanted. Paths longer than sun_path are reached through /proc/self/fd. */
int socket_pair(int type, int ret_fds[static 2]);
int socket_listen_unix(const char *path, int type, mode_t mode);
int socket_connect_unix(const char *path, int type);

/* The process's start time in clock ticks since boot (field 22 of /proc/PID/stat): with the pid it names one process
 * for the life of this boot. -ESRCH where there is none. */
int process_start_time(pid_t pid, uint64_t *ret);

/* Opens a pidfd and checks that it is the process meant. -ESRCH where it is gone or another one. */
int process_open(pid_t pid, uint64_t start_time);
