/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-client.h. Calls on the sockets never block, whatever their mode is: others may share it. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "berth/cleanup.h"
#include "monitor-client.h"

#define INPUT_CHUNK 4096

/* Ends the connection for whoever else holds the descriptor, too. Unread input would make the peer see a reset instead
 * of an end, so it is taken first. */
static void client_free(MonitorClient *client)
{
        char discarded[INPUT_CHUNK];

        (void) shutdown(client->fd, SHUT_RDWR);
        for (size_t i = 0; i < 64 && recv(client->fd, discarded, sizeof(discarded), MSG_DONTWAIT) > 0; i++)
                ;
        fd_close(client->fd);
        buffer_clear(&client->queue);
        free(client);
}

static void remove_at(MonitorClients *clients, size_t i)
{
        client_free(clients->list[i]);
        clients->n--;
        memmove(clients->list + i, clients->list + i + 1, (clients->n - i) * sizeof(clients->list[0]));
}

void monitor_clients_clear(MonitorClients *clients)
{
        while (clients->n > 0)
                remove_at(clients, clients->n - 1);
}

static int parse_flags(MonitorClient *client, const char *flags)
{
        for (; *flags; flags++) {
                switch (*flags) {
                case 'i':
                        client->input = true;
                        break;
                case 'o':
                        client->output[0] = true;
                        break;
                case 'e':
                        client->output[1] = true;
                        break;
                case 'm':
                        client->framed = true;
                        break;
                case 'h': /* the request's, not the client's */
                case '-':
                        break;
                default:
                        return -EINVAL;
                }
        }
        return 0;
}

int monitor_clients_add(MonitorClients *clients, int fd, const char *flags, const char *keys, bool terminal)
{
        CLEANUP_FREE MonitorClient *client = calloc(1, sizeof(*client));
        struct stat st;
        int r;

        if (!client)
                return -ENOMEM;
        if (clients->n == MONITOR_CLIENTS_MAX)
                return -EMFILE;
        if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
                return -ENOTSOCK;
        r = parse_flags(client, flags);
        if (r >= 0)
                r = monitor_detach_parse(&client->detach, terminal ? keys : "-");
        if (r < 0)
                return r;
        client->fd = fd;
        client->poll_index = SIZE_MAX;
        clients->list[clients->n++] = TAKE_PTR(client);
        return 0;
}

void monitor_clients_early(MonitorClients *clients, const char *data, size_t size, MonitorInput *input)
{
        MonitorClient *client = clients->list[clients->n - 1];

        if (size == 0 || !client->input)
                return;
        if (monitor_detach_feed(&client->detach, (const uint8_t *) data, size, &input->pending) != 0)
                remove_at(clients, clients->n - 1);
        monitor_input_write(input);
}

/* Takes no more output, but what it sent is still to be read. */
static void client_hang_up(MonitorClient *client)
{
        client->hung_up = true;
        buffer_clear(&client->queue);
}

static void client_send_queue(MonitorClient *client, int64_t now)
{
        ssize_t n;

        while (client->queue.size > 0) {
                n = send(client->fd, client->queue.data, client->queue.size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        if (errno != EAGAIN)
                                client_hang_up(client);
                        return;
                }
                buffer_consume(&client->queue, (size_t) n);
                client->since_ns = now;
        }
        buffer_clear(&client->queue);
}

static void client_output(MonitorClient *client, bool error_stream, const char *data, size_t size, int64_t now)
{
        struct {
                uint8_t stream, zero[3];
                uint32_t size;
        } header = { .stream = error_stream ? 2 : 1, .size = htonl((uint32_t) size) };
        struct iovec iov[2] = { { &header, client->framed ? sizeof(header) : 0 }, { (char *) data, size } };
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
        ssize_t n = 0;

        if (client->queue.size == 0) {
                client->since_ns = now;
                n = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno != EAGAIN && errno != EINTR) {
                        client_hang_up(client);
                        return;
                }
                n = MAX(n, 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(iov); i++) {
                size_t sent = MIN((size_t) n, iov[i].iov_len);

                n -= (ssize_t) sent;
                if (buffer_append(&client->queue, (char *) iov[i].iov_base + sent, iov[i].iov_len - sent) < 0) {
                        client_hang_up(client);
                        return;
                }
        }
}

void monitor_clients_output(MonitorClients *clients, bool error_stream, const char *data, size_t size, int64_t now)
{
        for (size_t i = 0; i < clients->n; i++)
                if (clients->list[i]->output[error_stream] && !clients->list[i]->hung_up)
                        client_output(clients->list[i], error_stream, data, size, now);
}

void monitor_clients_output_last(MonitorClients *clients, bool error_stream, const char *data, size_t size, int64_t now)
{
        MonitorClient *client = clients->list[clients->n - 1];

        if (size > 0 && client->output[error_stream])
                client_output(client, error_stream, data, size, now);
}

void monitor_clients_drop_last(MonitorClients *clients)
{
        remove_at(clients, clients->n - 1);
}

bool monitor_clients_are_behind(const MonitorClients *clients)
{
        for (size_t i = 0; i < clients->n; i++)
                if (clients->list[i]->queue.size > 0)
                        return true;
        return false;
}

void monitor_clients_drop_stuck(MonitorClients *clients, int64_t since_ns)
{
        for (size_t i = clients->n; i-- > 0;)
                if (clients->list[i]->queue.size > 0 && clients->list[i]->since_ns <= since_ns)
                        remove_at(clients, i);
}

short monitor_client_events(const MonitorClient *client, const MonitorInput *input)
{
        short events = 0;

        if (client->queue.size > 0)
                events |= POLLOUT;
        if (client->input && monitor_input_has_room(input))
                events |= POLLIN;
        /* Of a client whose input is not wanted or has ended only the end is of interest, which needs no flag; but one
         * whose input is only held up must not report its end before that input was read. */
        if (events == 0 && client->input && input->fd >= 0)
                return 0;
        return (short) (events | POLLERR);
}

/* Its input has ended. */
static int client_end_input(MonitorClient *client, MonitorInput *input)
{
        client->input = false;
        if (input->fd >= 0 && !input->ended) {
                if (monitor_detach_end(&client->detach, &input->pending) < 0)
                        return -ENOMEM;
                monitor_input_write(input);
                monitor_input_client_ended(input);
        }
        return 0;
}

/* Reads input once. 1 when the client has detached. */
static int client_read(MonitorClient *client, MonitorInput *input)
{
        uint8_t chunk[INPUT_CHUNK];
        ssize_t n = recv(client->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        int r;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0)
                return client_end_input(client, input);
        r = monitor_detach_feed(&client->detach, chunk, (size_t) n, &input->pending);
        monitor_input_write(input);
        return r;
}

/* Returns false when the client is to be forgotten. */
static bool client_dispatch(MonitorClient *client, short revents, MonitorInput *input, int64_t now)
{
        if (revents & POLLOUT)
                client_send_queue(client, now);
        if (revents & (POLLHUP | POLLERR))
                client_hang_up(client);
        if (client->input && (revents & (POLLIN | POLLHUP | POLLERR)) && monitor_input_has_room(input) &&
            client_read(client, input) != 0)
                return false;
        return !client->hung_up || (client->input && input->fd >= 0);
}

void monitor_clients_dispatch(MonitorClients *clients, const struct pollfd *fds, MonitorInput *input, int64_t now)
{
        for (size_t i = clients->n; i-- > 0;) {
                MonitorClient *client = clients->list[i];
                short revents = client->poll_index == SIZE_MAX ? 0 : fds[client->poll_index].revents;

                if ((revents != 0 || client->hung_up) && !client_dispatch(client, revents, input, now))
                        remove_at(clients, i);
        }
}
