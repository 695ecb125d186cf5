/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists as one cell of a table. Values from the daemon are taken for what they are: a missing member is empty or zero.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "berth/json.h"
#include "client-list.h"
#include "client.h"

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

const char **client_sorted_keys(json_t *object)
{
        const char **keys = client_must(calloc(json_object_size(object) + 1, sizeof(char *)));
        const char *key;
        json_t *value;
        size_t n = 0;

        json_object_foreach(object, key, value) {
                keys[n++] = key;
        }
        qsort(keys, n, sizeof(char *), compare_names);
        return keys;
}

char *client_list_labels(json_t *labels)
{
        CLEANUP_FREE const char **keys = client_sorted_keys(labels);
        CLEANUP_BUFFER Buffer list = {};

        for (size_t i = 0; keys[i]; i++)
                client_must_zero(buffer_printf(&list, "%s%s=%s", i > 0 ? "," : "", keys[i],
                                               json_get_string_or(labels, keys[i], "")));
        return client_must(buffer_take(&list));
}

typedef struct Port {
        const char *address, *protocol; /* borrowed; an empty address: not published */
        int64_t inner, outer;
} Port;

static int compare_ports(const void *a, const void *b)
{
        const Port *p = a, *q = b;

        if (p->inner != q->inner)
                return p->inner < q->inner ? -1 : 1;
        if (strcmp(p->address, q->address) != 0)
                return strcmp(p->address, q->address);
        if (p->outer != q->outer)
                return p->outer < q->outer ? -1 : 1;
        return strcmp(p->protocol, q->protocol);
}

/* A run of ports of one address and protocol whose two sides are the same. */
typedef struct PortRun {
        const Port *port;
        int64_t first, last;
} PortRun;

static void add_run(Buffer *list, const PortRun *run)
{
        const Port *port = run->port;
        char range[48];
        bool v6 = strchr(port->address, ':') != NULL;

        if (run->first == run->last)
                snprintf(range, sizeof(range), "%lld", (long long) run->first);
        else
                snprintf(range, sizeof(range), "%lld-%lld", (long long) run->first, (long long) run->last);
        client_must_zero(buffer_printf(list, "%s", list->size > 0 ? ", " : ""));
        if (*port->address)
                client_must_zero(
                        buffer_printf(list, "%s%s%s:%s->", v6 ? "[" : "", port->address, v6 ? "]" : "", range));
        client_must_zero(buffer_printf(list, "%s/%s", range, port->protocol));
}

static PortRun *find_run(PortRun *runs, size_t n, const Port *port)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(runs[i].port->address, port->address) == 0 &&
                    strcmp(runs[i].port->protocol, port->protocol) == 0)
                        return &runs[i];
        return NULL;
}

static size_t read_ports(json_t *ports, Port *ret)
{
        json_t *port;
        size_t i;

        json_array_foreach(ports, i, port) {
                ret[i] = (Port) {
                        .address = json_get_string_or(port, "IP", ""),
                        .protocol = json_get_string_or(port, "Type", ""),
                        .inner = json_get_int(port, "PrivatePort", 0),
                        .outer = json_get_int(port, "PublicPort", 0),
                };
        }
        qsort(ret, json_array_size(ports), sizeof(Port), compare_ports);
        return json_array_size(ports);
}

char *client_list_ports(json_t *ports)
{
        CLEANUP_FREE Port *sorted = client_must(calloc(json_array_size(ports) + 1, sizeof(Port)));
        CLEANUP_FREE PortRun *runs = client_must(calloc(json_array_size(ports) + 1, sizeof(PortRun)));
        CLEANUP_BUFFER Buffer list = {}, moved = {};
        size_t n = read_ports(ports, sorted), n_runs = 0;

        for (size_t i = 0; i < n; i++) {
                const Port *port = &sorted[i];
                bool v6 = strchr(port->address, ':') != NULL;
                PortRun *run;

                if (*port->address && port->outer != port->inner) {
                        client_must_zero(buffer_printf(&moved, ", %s%s%s:%lld->%lld/%s", v6 ? "[" : "", port->address,
                                                       v6 ? "]" : "", (long long) port->outer, (long long) port->inner,
                                                       port->protocol));
                        continue;
                }
                run = find_run(runs, n_runs, port);
                if (run && port->inner == run->last + 1) {
                        run->last = port->inner;
                        continue;
                }
                if (run)
                        add_run(&list, run);
                else
                        run = &runs[n_runs++];
                *run = (PortRun) { port, port->inner, port->inner };
        }
        for (size_t i = 0; i < n_runs; i++)
                add_run(&list, &runs[i]);
        if (moved.size > 0)
                client_must_zero(buffer_append_string(&list, moved.data + (list.size > 0 ? 0 : 2)));
        return client_must(buffer_take(&list));
}

int client_compare_natural(const void *a, const void *b)
{
        const char *p = *(const char *const *) a, *q = *(const char *const *) b;

        while (*p && *q) {
                if (isdigit((unsigned char) *p) && isdigit((unsigned char) *q)) {
                        size_t n, m;

                        p += strspn(p, "0");
                        q += strspn(q, "0");
                        n = strspn(p, "0123456789");
                        m = strspn(q, "0123456789");
                        if (n != m)
                                return n < m ? -1 : 1;
                        if (strncmp(p, q, n) != 0)
                                return strncmp(p, q, n);
                        p += n;
                        q += n;
                } else {
                        if (*p != *q)
                                return (unsigned char) *p < (unsigned char) *q ? -1 : 1;
                        p++;
                        q++;
                }
        }
        return (*p != 0) - (*q != 0);
}

typedef struct Named {
        const char *name; /* first, as that is what is compared; borrowed */
        json_t *object;   /* owned */
} Named;

void client_sort_by_name(json_t *array)
{
        size_t n = json_array_size(array);
        CLEANUP_FREE Named *items = client_must(calloc(n + 1, sizeof(Named)));

        for (size_t i = 0; i < n; i++) {
                json_t *object = json_array_get(array, i);

                items[i] = (Named) { json_get_string_or(object, "Name", ""), json_incref(object) };
        }
        qsort(items, n, sizeof(Named), client_compare_natural);
        for (size_t i = 0; i < n; i++)
                json_array_set_new(array, i, items[i].object);
}
