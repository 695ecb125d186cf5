/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that say which names a container may resolve. The engine replaces them as a whole; they are read again when
 * that has happened. Their formats are in include/berth/monitor.h. */
#pragma once

#include <sys/stat.h>

#include "monitor-dns.h"

#define NAMES_NETWORKS_MAX 64u
#define NAMES_SERVERS_MAX 8u
#define NAMES_ADDRESSES_MAX 128u

typedef struct NamesFile {
        char *path; /* owned */
        char *text; /* owned; NULL: could not be read */
        struct stat status;
} NamesFile;

typedef struct Names {
        NamesFile resolver, host; /* the container's file, and the host's resolv.conf */
        NamesFile networks[NAMES_NETWORKS_MAX];
        size_t n_networks;
        struct sockaddr_storage servers[NAMES_SERVERS_MAX];
        size_t n_servers;
        bool closed; /* nothing is asked outside */
} Names;

int names_init(Names *names, const char *path);
void names_clear(Names *names);
/* Looks whether the files have changed. */
void names_refresh(Names *names);
/* Finds the addresses of a name, at most NAMES_ADDRESSES_MAX. False where there is no such name; a name without an
 * address of the family gives true and none. */
bool names_find(const Names *names, const char *name, int family, DnsAddress *ret, size_t *ret_n);
/* The name of an address, with its network's: "web.shop". */
bool names_find_address(const Names *names, const DnsAddress *address, char ret_name[static DNS_NAME_MAX + 1]);

/* Takes a text apart: for tests. */
bool names_find_in(const char *text, const char *name, int family, DnsAddress *ret, size_t *ret_n);
