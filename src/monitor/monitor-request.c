/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-request.h. The socket lies in a directory that only root can enter, and whoever connects is the engine;
 * what it sends is checked all the same. A descriptor that comes with a message is closed unless the request keeps it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/string.h"
#include "monitor-journal.h"
#include "monitor-request.h"

#define MESSAGE_MAX (128u * 1024)
#define WORDS_SIZE_MAX 512
#define WORDS_MAX 3
#define FDS_MAX 250
/* Whoever holds up the container for longer has come to grief. */
#define HOLD_NS 10000000000LL

typedef struct Context {
        MonitorRequests *requests;
        MonitorConnection *connection;
        MonitorClients *clients;
        MonitorInput *input;
        int fds[FDS_MAX]; /* came with the message. A handler that keeps one leaves -EBADF */
        size_t n_fds;
        const char *early; /* bytes behind the words */
        size_t n_early;
} Context;

static int handle_attach(Context *context, char *const *words)
{
        int r;

        if (context->n_fds == 0)
                return -EBADF;
        r = monitor_clients_add(context->clients, context->fds[0], words[1], words[2],
                                context->requests->terminal >= 0);
        if (r < 0)
                return r;
        context->fds[0] = -EBADF;
        if (strchr(words[1], 'h')) {
                r = context->requests->join(context->requests->userdata);
                if (r < 0) {
                        monitor_clients_drop_last(context->clients);
                        return r;
                }
                context->connection->hold_ns = monitor_clock() + HOLD_NS;
        }
        monitor_clients_early(context->clients, context->early, context->n_early, context->input);
        return 0;
}

static int handle_resize(Context *context, char *const *words)
{
        int64_t rows, columns;
        struct winsize size = {};

        if (str_to_int64(words[1], 0, UINT16_MAX, &rows) < 0 || str_to_int64(words[2], 0, UINT16_MAX, &columns) < 0)
                return -EINVAL;
        if (context->requests->terminal < 0)
                return -ENOTTY;
        size.ws_row = (unsigned short) rows;
        size.ws_col = (unsigned short) columns;
        return ioctl(context->requests->terminal, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

static int handle_ports(Context *context, char *const *words)
{
        CLEANUP_FREE char *lines = context->early ? strndup(context->early, context->n_early) : NULL;
        size_t n = context->n_fds;
        (void) words;

        if (!lines)
                return -EINVAL;
        context->n_fds = 0;
        return monitor_relay_add(context->requests->net, lines, context->fds, n);
}

static int handle_target(Context *context, char *const *words)
{
        monitor_relay_target(context->requests->net, words[1], words[2]);
        return 0;
}

static int handle_resolver(Context *context, char *const *words)
{
        (void) words;
        if (context->n_fds != 2)
                return -EBADF;
        context->n_fds = 0;
        return monitor_resolver_start(context->requests->net, context->requests->resolver_file, context->fds[0],
                                      context->fds[1]);
}

static int handle(Context *context, char *message)
{
        static const struct {
                const char *name;
                int (*function)(Context *context, char *const *words);
        } table[] = { { "attach", handle_attach },
                      { "resize", handle_resize },
                      { "ports", handle_ports },
                      { "target", handle_target },
                      { "resolver", handle_resolver } };
        char *words[WORDS_MAX], *word, *rest = message;
        size_t n = 0;

        while ((word = strsep(&rest, " "))) {
                if (n == WORDS_MAX)
                        return -EINVAL;
                words[n++] = word;
        }
        if (n != WORDS_MAX)
                return -EINVAL;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (str_equal(words[0], table[i].name))
                        return table[i].function(context, words);
        return -EOPNOTSUPP;
}

/* Ends the words where the early bytes begin. */
static int split(Context *context, char *message, size_t size)
{
        char *end = memchr(message, '\n', size);

        if (end) {
                *end = '\0';
                context->early = end + 1;
                context->n_early = size - (size_t) (end + 1 - message);
        }
        message[size] = '\0';
        return strlen(message) > WORDS_SIZE_MAX ? -EMSGSIZE : 0;
}

/* Answers the messages of one connection that wait. False when it has ended. */
static bool serve_connection(MonitorRequests *requests, MonitorClients *clients, MonitorInput *input,
                             MonitorConnection *connection)
{
        static char message[MESSAGE_MAX + 1];

        for (;;) {
                Context context = { .requests = requests,
                                    .connection = connection,
                                    .clients = clients,
                                    .input = input,
                                    .n_fds = FDS_MAX };
                char answer[32];
                ssize_t n = socket_recv_fds(connection->fd, message, MESSAGE_MAX, context.fds, &context.n_fds);
                int r, length;

                if (n == -EAGAIN)
                        return true;
                if (n <= 0) {
                        if (n < 0)
                                log_debug("request: %s", strerror((int) -n));
                        return false;
                }
                r = split(&context, message, (size_t) n);
                if (r >= 0)
                        r = handle(&context, message);
                for (size_t i = 0; i < context.n_fds; i++)
                        fd_close(context.fds[i]);
                length = r < 0 ? snprintf(answer, sizeof(answer), "error %d", -r)
                               : snprintf(answer, sizeof(answer), "ok");
                if (send(connection->fd, answer, (size_t) length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                        return false;
        }
}

void monitor_requests_serve(MonitorRequests *requests, MonitorClients *clients, MonitorInput *input)
{
        int fd;

        while (requests->n < MONITOR_CONNECTIONS_MAX &&
               (fd = accept4(requests->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
                requests->list[requests->n++] = (MonitorConnection) { .fd = fd };
        for (size_t i = requests->n; i-- > 0;) {
                if (serve_connection(requests, clients, input, &requests->list[i]))
                        continue;
                fd_close(requests->list[i].fd);
                requests->list[i] = requests->list[--requests->n];
        }
}

int64_t monitor_requests_hold(const MonitorRequests *requests)
{
        int64_t hold_ns = 0;

        for (size_t i = 0; i < requests->n; i++)
                hold_ns = MAX(hold_ns, requests->list[i].hold_ns);
        return hold_ns;
}

size_t monitor_requests_poll(const MonitorRequests *requests, struct pollfd *fds)
{
        size_t n = 0;

        if (requests->listen >= 0 && requests->n < MONITOR_CONNECTIONS_MAX)
                fds[n++] = (struct pollfd) { .fd = requests->listen, .events = POLLIN };
        for (size_t i = 0; i < requests->n; i++)
                fds[n++] = (struct pollfd) { .fd = requests->list[i].fd, .events = POLLIN };
        return n;
}

void monitor_requests_close(MonitorRequests *requests)
{
        while (requests->n > 0)
                fd_close(requests->list[--requests->n].fd);
        requests->listen = fd_close(requests->listen);
}
