/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-names.h. A network's file is searched line by line: it is small, and kept as it is. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/string.h"
#include "monitor-names.h"

#define FILE_MAX (4u * 1024 * 1024)
#define RESOLV_CONF "/etc/resolv.conf"
#define DNS_PORT 53

/* True where it is not what it was. */
static bool file_refresh(NamesFile *file)
{
        struct stat status = { 0 };

        if (!file->path)
                return false;
        if (stat(file->path, &status) < 0)
                status.st_ino = 0;
        if (status.st_ino == file->status.st_ino && status.st_mtim.tv_sec == file->status.st_mtim.tv_sec &&
            status.st_mtim.tv_nsec == file->status.st_mtim.tv_nsec && status.st_size == file->status.st_size)
                return false;
        file->status = status;
        free(TAKE_PTR(file->text));
        (void) file_read_at(AT_FDCWD, file->path, FILE_MAX, &file->text, NULL);
        return true;
}

static void file_clear(NamesFile *file)
{
        free(TAKE_PTR(file->path));
        free(TAKE_PTR(file->text));
        file->status = (struct stat) { 0 };
}

/* --- Words of a line
 * -------------------------------------------------------------------------------------------------- */

typedef struct Word {
        const char *text;
        size_t size;
} Word;

/* Gives the line's next word and moves on; false at the line's end. */
static bool next_word(const char **at, Word *ret)
{
        while (**at == ' ' || **at == '\t')
                (*at)++;
        *ret = (Word) { *at, strcspn(*at, " \t\n") };
        *at += ret->size;
        return ret->size > 0;
}

static bool next_line(const char **at)
{
        *at += strcspn(*at, "\n");
        if (**at)
                (*at)++;
        return **at;
}

static bool word_is(Word word, const char *text, size_t size)
{
        return word.size == size && strncasecmp(word.text, text, size) == 0;
}

static bool word_copy(Word word, char *buffer, size_t size)
{
        if (word.size >= size)
                return false;
        memcpy(buffer, word.text, word.size);
        buffer[word.size] = 0;
        return true;
}

/* --- The container's file
 * --------------------------------------------------------------------------------------------- */

static void add_server(Names *names, Word word)
{
        char text[INET6_ADDRSTRLEN + IFNAMSIZ + 1];
        struct sockaddr_storage *address = &names->servers[names->n_servers];
        struct sockaddr_in *four = (struct sockaddr_in *) address;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *) address;

        if (names->n_servers == NAMES_SERVERS_MAX || !word_copy(word, text, sizeof(text)))
                return;
        char *scope = strchr(text, '%');
        if (scope)
                *scope++ = 0;
        *address = (struct sockaddr_storage) { 0 };
        if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
                four->sin_family = AF_INET;
                four->sin_port = htons(DNS_PORT);
        } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
                six->sin6_family = AF_INET6;
                six->sin6_port = htons(DNS_PORT);
                six->sin6_scope_id = scope ? if_nametoindex(scope) : 0;
        } else {
                return;
        }
        names->n_servers++;
}

static void each_line(Names *names, const char *text, const char *keyword, void (*each)(Names *names, Word word))
{
        const char *at = text ? text : "";

        if (*at)
                do {
                        Word word;
                        if (next_word(&at, &word) && word_is(word, keyword, strlen(keyword)) && next_word(&at, &word))
                                each(names, word);
                } while (next_line(&at));
}

static void add_network(Names *names, Word word)
{
        if (names->n_networks < NAMES_NETWORKS_MAX)
                names->networks[names->n_networks++].path = strndup(word.text, word.size);
}

static void read_resolver(Names *names)
{
        const char *text = names->resolver.text ? names->resolver.text : "";

        while (names->n_networks > 0)
                file_clear(&names->networks[--names->n_networks]);
        each_line(names, text, "network", add_network);
        names->closed = str_after_prefix(text, "closed\n") || strstr(text, "\nclosed\n");
}

/* Servers that were named for the container take the place of the host's. */
static void read_servers(Names *names)
{
        names->n_servers = 0;
        each_line(names, names->resolver.text, "server", add_server);
        if (names->n_servers == 0)
                each_line(names, names->host.text, "nameserver", add_server);
}

int names_init(Names *names, const char *path)
{
        *names = (Names) { 0 };
        names->resolver.path = strdup(path);
        names->host.path = strdup(RESOLV_CONF);
        return names->resolver.path && names->host.path ? 0 : -ENOMEM;
}

void names_clear(Names *names)
{
        while (names->n_networks > 0)
                file_clear(&names->networks[--names->n_networks]);
        file_clear(&names->resolver);
        file_clear(&names->host);
}

void names_refresh(Names *names)
{
        bool changed = file_refresh(&names->resolver);

        if (changed)
                read_resolver(names);
        if (file_refresh(&names->host) || changed)
                read_servers(names);
        for (size_t i = 0; i < names->n_networks; i++)
                (void) file_refresh(&names->networks[i]);
}

/* --- Finding
 * ---------------------------------------------------------------------------------------------------------- */

static void add_address(Word word, int family, DnsAddress *list, size_t *n)
{
        char text[INET6_ADDRSTRLEN];
        DnsAddress address = { .family = family };

        if (*n < NAMES_ADDRESSES_MAX && word_copy(word, text, sizeof(text)) &&
            inet_pton(family, text, &address.six) == 1)
                list[(*n)++] = address;
}

static bool line_has(const char *at, const char *name, size_t size)
{
        Word word;

        while (next_word(&at, &word))
                if (word_is(word, name, size))
                        return true;
        return false;
}

static bool find_sized(const char *text, const char *name, size_t size, int family, DnsAddress *ret, size_t *ret_n)
{
        const char *at = text ? text : "";
        bool found = false;

        do {
                Word four, six;
                if (!next_word(&at, &four) || !next_word(&at, &six) || word_is(four, "name", 4))
                        continue;
                if (!line_has(at, name, size))
                        continue;
                found = true;
                add_address(family == AF_INET ? four : six, family, ret, ret_n);
        } while (next_line(&at));
        return found;
}

bool names_find_in(const char *text, const char *name, int family, DnsAddress *ret, size_t *ret_n)
{
        return find_sized(text, name, strlen(name), family, ret, ret_n);
}

static bool network_name(const char *text, Word *ret)
{
        const char *at = text ? text : "";

        return next_word(&at, ret) && word_is(*ret, "name", 4) && next_word(&at, ret);
}

/* The name that stands for another in this container alone (a link), or the name itself. */
static void follow_alias(const Names *names, const char *name, char *ret_name)
{
        const char *at = names->resolver.text ? names->resolver.text : "";

        snprintf(ret_name, DNS_NAME_MAX + 1, "%s", name);
        do {
                Word word;
                if (next_word(&at, &word) && word_is(word, "alias", 5) && next_word(&at, &word) &&
                    word_is(word, name, strlen(name)) && next_word(&at, &word) &&
                    word_copy(word, ret_name, DNS_NAME_MAX + 1))
                        return;
        } while (next_line(&at));
}

bool names_find(const Names *names, const char *name, int family, DnsAddress *ret, size_t *ret_n)
{
        char target[DNS_NAME_MAX + 1];
        bool found = false;

        *ret_n = 0;
        follow_alias(names, name, target);
        size_t length = strlen(target);
        for (size_t i = 0; i < names->n_networks && !found; i++)
                found = find_sized(names->networks[i].text, target, length, family, ret, ret_n);
        /* "web.shop": a name of one network. */
        for (size_t i = 0; i < names->n_networks && !found; i++) {
                Word own;
                if (!network_name(names->networks[i].text, &own) || length <= own.size + 1)
                        continue;
                size_t size = length - own.size - 1;
                if (target[size] == '.' && word_is(own, target + size + 1, own.size))
                        found = find_sized(names->networks[i].text, target, size, family, ret, ret_n);
        }
        return found;
}

bool names_find_address(const Names *names, const DnsAddress *address, char ret_name[static DNS_NAME_MAX + 1])
{
        char text[INET6_ADDRSTRLEN];

        inet_ntop(address->family, &address->six, text, sizeof(text));
        for (size_t i = 0; i < names->n_networks; i++) {
                const char *at = names->networks[i].text ? names->networks[i].text : "";
                Word own;

                if (!network_name(at, &own))
                        continue;
                do {
                        Word four, six, name;
                        if (!next_word(&at, &four) || !next_word(&at, &six) || !next_word(&at, &name))
                                continue;
                        if (!word_is(address->family == AF_INET ? four : six, text, strlen(text)))
                                continue;
                        int n = snprintf(ret_name, DNS_NAME_MAX + 1, "%.*s.%.*s", (int) name.size, name.text,
                                         (int) own.size, own.text);
                        return n > 0 && n <= DNS_NAME_MAX;
                } while (next_line(&at));
        }
        return false;
}
