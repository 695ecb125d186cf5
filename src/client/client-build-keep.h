/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was sent of a context before, and what of it need not be sent again. */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "berth/buffer.h"
#include "client.h"

/* The empty value is {}: nothing is kept. */
typedef struct ClientKeep {
        char *path, *fresh;        /* the file that tells what was sent, and the one that replaces it; owned */
        char *identity;            /* owned: whose context it is */
        char key[ID_LENGTH + 1];   /* the context's name at the daemon */
        char base[ID_LENGTH + 1];  /* what the daemon has; "": nothing, all of it is to be sent */
        char next[ID_LENGTH + 1];  /* what it has afterwards */
        Buffer old;                /* the file's content, which the next three point into */
        const char *stamp, *entry; /* the entry sent before that comes next; NULL: no more */
        const char *removed;       /* nothing of what is below is there any more */
        FILE *out;                 /* owned */
        int (*remove)(void *userdata, const char *path);
        void *userdata;
        dev_t device;
        int64_t started_ns;
        int64_t bytes;
        size_t entries, changes; /* changes: entries to be sent or removed so far */
} ClientKeep;

void client_keep_clear(ClientKeep *keep);
#define CLEANUP_KEEP CLEANUP(client_keep_clear)

/* Reads what is known of the context, and asks the daemon what it has. Whatever is in the way, all of it is sent. */
void client_keep_open(Client *client, const char *directory, const char *dockerfile, ClientKeep *ret);
/* The request's parameter "keep"; NULL where nothing is kept. */
char *client_keep_query(const ClientKeep *keep, const char *directory);
/* The daemon no longer has it. */
void client_keep_forget(ClientKeep *keep);
/* The daemon took all of it, or did not. */
void client_keep_finish(const ClientKeep *keep, bool taken);

/* --- While the directory is walked, in the order of client_keep_visit()'s paths. Negative errno. --- */

/* REMOVE is called for what is no longer there. What cannot be written down is all sent the next time. */
int client_keep_begin(ClientKeep *keep, int root_fd, int (*remove)(void *userdata, const char *path), void *userdata);
/* 1 where the entry is to be sent, 0 where the daemon has it. ST NULL: a directory that is only there for what is
 * below. ALWAYS: it is to be sent each time. */
int client_keep_visit(ClientKeep *keep, const char *path, const struct stat *st, bool always);
/* All of a directory was visited. */
int client_keep_leave(ClientKeep *keep, const char *path);
int client_keep_end(ClientKeep *keep);
