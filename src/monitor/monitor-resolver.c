/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The name server of one container, at 127.0.0.11 in it. Names of its networks are answered at once; everything else is
 * asked of the host's resolvers, from the host's namespace, so that one on the host's loopback (systemd-resolved) can
 * be asked too. A name of a single label goes to nobody outside.
 *
 * A question that is forwarded has a socket of its own, and with it a port and an identifier that nobody can guess. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "berth/cleanup.h"
#include "berth/string.h"
#include "monitor-names.h"
#include "monitor-net.h"

#define TTL 600
#define QUERIES_MAX 512u
#define CLIENTS_MAX 64u
#define SERVER_PATIENCE_NS (2 * 1000000000LL)
#define CLIENT_PATIENCE_NS (10 * 1000000000LL)
#define ROUNDS 2u
#define QUESTIONS_AT_ONCE 256

typedef struct MonitorResolver {
        NetSource udp, tcp;
        Names names;
        size_t n_queries, n_clients, turn;
} MonitorResolver;

/* A client over TCP: one question at a time, any number after each other. */
typedef struct Client {
        NetSource source;
        MonitorResolver *resolver;
        struct Query *query;
        size_t n;
        uint8_t in[2 + 4096]; /* a question, with its length before it */
        uint8_t *out;
        size_t out_begin, out_end;
} Client;

/* A question on its way. */
typedef struct Query {
        NetSource source; /* connected to the server */
        MonitorResolver *resolver;
        Client *client; /* or a datagram's sender: */
        struct sockaddr_in sender;
        DnsQuestion question;
        uint16_t id; /* towards the server */
        unsigned tries;
        bool connecting;
        uint8_t *answer; /* over TCP: what has come */
        size_t n_answer;
        size_t size;
        uint8_t message[]; /* with room for a length before it */
} Query;

static uint8_t buffer[DNS_MESSAGE_MAX + 2];

static void client_send(Client *client, const uint8_t *message, size_t size);
static void query_try(Query *query, int64_t now);

/* --- Answers
 * ---------------------------------------------------------------------------------------------------------- */

static void send_answer(MonitorResolver *resolver, Client *client, const struct sockaddr_in *sender,
                        const uint8_t *message, size_t size)
{
        if (client)
                client_send(client, message, size);
        else
                (void) sendto(resolver->udp.fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                              (const struct sockaddr *) sender, sizeof(*sender));
}

static void answer_code(MonitorResolver *resolver, Client *client, const struct sockaddr_in *sender,
                        const uint8_t *message, const DnsQuestion *question, DnsCode code)
{
        const DnsAnswer answer = { .code = code, .limit = DNS_UDP_SIZE };
        static uint8_t out[DNS_UDP_SIZE + 64];

        send_answer(resolver, client, sender, out, dns_write_answer(message, question, &answer, out));
}

static void rotate(DnsAddress *list, size_t n, size_t turn)
{
        static DnsAddress copy[NAMES_ADDRESSES_MAX];

        if (n < 2)
                return;
        memcpy(copy, list, n * sizeof(*list));
        for (size_t i = 0; i < n; i++)
                list[i] = copy[(i + turn) % n];
}

/* True where it was answered. */
static bool answer_here(MonitorResolver *resolver, Client *client, const struct sockaddr_in *sender,
                        const uint8_t *message, const DnsQuestion *question)
{
        static DnsAddress addresses[NAMES_ADDRESSES_MAX];
        static uint8_t out[DNS_MESSAGE_MAX];
        char name[DNS_NAME_MAX + 1];
        DnsAddress address;
        DnsAnswer answer = { .ttl = TTL, .addresses = addresses };
        bool four = question->type == DNS_A || question->type == DNS_ANY;

        answer.limit = client ? sizeof(out) : MIN(question->udp_size, sizeof(out));
        if (question->type == DNS_PTR) {
                if (!dns_parse_reverse(question->name, &address) ||
                    !names_find_address(&resolver->names, &address, name))
                        return false;
                answer.pointer = name;
        } else if (!names_find(&resolver->names, question->name, four ? AF_INET : AF_INET6, addresses,
                               &answer.n_addresses))
                return false;
        if (!four && question->type != DNS_AAAA)
                answer.n_addresses = 0; /* the name is there, of this type it has nothing */
        rotate(addresses, answer.n_addresses, resolver->turn++);
        send_answer(resolver, client, sender, out, dns_write_answer(message, question, &answer, out));
        return true;
}

/* --- Forwarding
 * ------------------------------------------------------------------------------------------------------- */

static void query_destroy(NetSource *source)
{
        Query *query = (Query *) source;

        free(query->answer);
        free(query);
}

static void query_end(Query *query)
{
        if (query->client)
                query->client->query = NULL;
        query->client = NULL;
        query->resolver->n_queries--;
        net_source_close(&query->source);
}

static void query_fail(Query *query)
{
        answer_code(query->resolver, query->client, &query->sender, query->message + 2, &query->question,
                    DNS_SERVER_FAILURE);
        query_end(query);
}

/* Whether it is the answer to the question that was asked. */
static bool fits(const Query *query, const uint8_t *answer, size_t size)
{
        DnsQuestion question;

        if (size < query->question.size || !(answer[2] & 0x80) || answer[0] != query->id >> 8 ||
            answer[1] != (query->id & 0xff))
                return false;
        static uint8_t head[DNS_HEADER_SIZE + DNS_NAME_MAX + 6];
        if (query->question.size > sizeof(head))
                return false;
        memcpy(head, answer, query->question.size);
        head[2] = 0;
        return dns_read_question(head, query->question.size, &question) == 0 && question.type == query->question.type &&
               question.class == query->question.class && str_equal(question.name, query->question.name);
}

static void query_answered(Query *query, uint8_t *answer, size_t size)
{
        answer[0] = (uint8_t) (query->question.id >> 8);
        answer[1] = (uint8_t) query->question.id;
        send_answer(query->resolver, query->client, &query->sender, answer, size);
        query_end(query);
}

static void query_readable(Query *query, int64_t now)
{
        ssize_t n = recv(query->source.fd, buffer, sizeof(buffer), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0)
                query_try(query, now);
        else if (fits(query, buffer, (size_t) n))
                query_answered(query, buffer, (size_t) n);
}

/* Over TCP: the length, and so many bytes. */
static void query_stream(Query *query, uint32_t events, int64_t now)
{
        if (query->connecting) {
                if ((events & (EPOLLERR | EPOLLHUP)) ||
                    send(query->source.fd, query->message, query->size + 2, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                            (ssize_t) query->size + 2) {
                        query_try(query, now);
                        return;
                }
                query->connecting = false;
                net_source_want(&query->source, EPOLLIN);
                return;
        }
        if (!query->answer)
                query->answer = malloc(DNS_MESSAGE_MAX + 2);
        ssize_t n = query->answer ? recv(query->source.fd, query->answer + query->n_answer,
                                         DNS_MESSAGE_MAX + 2 - query->n_answer, MSG_DONTWAIT)
                                  : 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                query_try(query, now);
                return;
        }
        query->n_answer += (size_t) n;
        size_t size = query->n_answer < 2 ? DNS_MESSAGE_MAX : (size_t) (query->answer[0] << 8 | query->answer[1]);
        if (query->n_answer < size + 2)
                return;
        if (fits(query, query->answer + 2, size))
                query_answered(query, query->answer + 2, size);
        else
                query_fail(query);
}

static void query_ready(NetSource *source, uint32_t events, int64_t now)
{
        Query *query = (Query *) source;

        if (query->client)
                query_stream(query, events, now);
        else
                query_readable(query, now);
}

static void query_due(NetSource *source, int64_t now)
{
        query_try((Query *) source, now);
}

/* A copy of the query takes its place: its socket is another one. */
static Query *query_copy(const Query *query)
{
        Query *copy = malloc(sizeof(*copy) + query->size + 2);

        if (!copy)
                return NULL;
        memcpy(copy, query, sizeof(*copy) + query->size + 2);
        copy->answer = NULL;
        copy->n_answer = 0;
        copy->source = (NetSource) { .ready = query_ready, .due = query_due, .destroy = query_destroy, .fd = -EBADF };
        return copy;
}

/* Sends the question to the next server. False where it can't be reached. */
static bool query_open(Query *query, int64_t now)
{
        const Names *names = &query->resolver->names;
        const struct sockaddr_storage *server = &names->servers[query->tries % names->n_servers];
        socklen_t size = server->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        int type = query->client ? SOCK_STREAM : SOCK_DGRAM;
        CLEANUP_CLOSE int fd = socket(server->ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || getrandom(&query->id, sizeof(query->id), 0) != sizeof(query->id) ||
            (connect(fd, (const struct sockaddr *) server, size) < 0 && errno != EINPROGRESS))
                return false;
        query->message[0] = (uint8_t) (query->size >> 8);
        query->message[1] = (uint8_t) query->size;
        query->message[2] = (uint8_t) (query->id >> 8);
        query->message[3] = (uint8_t) query->id;
        query->connecting = query->client;
        if (!query->client && send(fd, query->message + 2, query->size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return false;
        if (net_source_add(query->resolver->udp.net, &query->source, TAKE_FD(fd), query->client ? EPOLLOUT : EPOLLIN) <
            0)
                return false;
        query->source.due_ns = now + SERVER_PATIENCE_NS;
        return true;
}

/* The first time, or once more after a failure: each server in turn, and all of them twice. */
static void query_begin(Query *query, int64_t now)
{
        while (query->tries < ROUNDS * query->resolver->names.n_servers) {
                bool open = query_open(query, now);
                query->tries++;
                if (open)
                        return;
        }
        answer_code(query->resolver, query->client, &query->sender, query->message + 2, &query->question,
                    DNS_SERVER_FAILURE);
        if (query->client)
                query->client->query = NULL;
        query->resolver->n_queries--;
        free(query);
}

static void query_try(Query *query, int64_t now)
{
        Query *next = query_copy(query);

        if (!next) {
                query_fail(query);
                return;
        }
        /* The answer to the client carries its own identifier. */
        next->message[2] = (uint8_t) (query->question.id >> 8);
        next->message[3] = (uint8_t) query->question.id;
        if (query->client)
                query->client->query = next;
        query->client = NULL;
        net_source_close(&query->source);
        query_begin(next, now);
}

static void forward(MonitorResolver *resolver, Client *client, const struct sockaddr_in *sender, const uint8_t *message,
                    size_t size, const DnsQuestion *question, int64_t now)
{
        Query *query = NULL;

        if (!resolver->names.closed && resolver->names.n_servers > 0 && resolver->n_queries < QUERIES_MAX)
                query = calloc(1, sizeof(*query) + size + 2);
        if (!query) {
                answer_code(resolver, client, sender, message, question, DNS_SERVER_FAILURE);
                return;
        }
        query->resolver = resolver;
        query->client = client;
        if (sender)
                query->sender = *sender;
        query->question = *question;
        query->size = size;
        memcpy(query->message + 2, message, size);
        query->source = (NetSource) { .ready = query_ready, .due = query_due, .destroy = query_destroy, .fd = -EBADF };
        if (client)
                client->query = query;
        resolver->n_queries++;
        query_begin(query, now);
}

static void handle(MonitorResolver *resolver, Client *client, const struct sockaddr_in *sender, const uint8_t *message,
                   size_t size, int64_t now)
{
        DnsQuestion question;
        int r = dns_read_question(message, size, &question);

        if (r < 0)
                return;
        if (r > 0) {
                question.size = DNS_HEADER_SIZE;
                answer_code(resolver, client, sender, message, &question, (DnsCode) r);
                return;
        }
        names_refresh(&resolver->names);
        if (answer_here(resolver, client, sender, message, &question))
                return;
        if (*question.name && !strchr(question.name, '.'))
                answer_code(resolver, client, sender, message, &question, DNS_NO_SUCH_NAME);
        else
                forward(resolver, client, sender, message, size, &question, now);
}

/* --- Clients
 * ---------------------------------------------------------------------------------------------------------- */

static void receive_all(NetSource *source, uint32_t events, int64_t now)
{
        static uint8_t message[4096];
        MonitorResolver *resolver = source->net->resolver;
        (void) events;

        for (int i = 0; i < QUESTIONS_AT_ONCE; i++) {
                struct sockaddr_in sender;
                socklen_t size = sizeof(sender);
                ssize_t n = recvfrom(source->fd, message, sizeof(message), MSG_DONTWAIT, (struct sockaddr *) &sender,
                                     &size);
                if (n < 0)
                        return;
                handle(resolver, NULL, &sender, message, (size_t) n, now);
        }
}

static void client_destroy(NetSource *source)
{
        Client *client = (Client *) source;

        free(client->out);
        free(client);
}

static void client_close(Client *client)
{
        if (client->query)
                query_end(client->query);
        client->resolver->n_clients--;
        net_source_close(&client->source);
}

static void client_due(NetSource *source, int64_t now)
{
        (void) now;
        client_close((Client *) source);
}

static void client_send(Client *client, const uint8_t *message, size_t size)
{
        uint8_t *out = malloc(size + 2);

        if (!out)
                return;
        out[0] = (uint8_t) (size >> 8);
        out[1] = (uint8_t) size;
        memcpy(out + 2, message, size);
        free(client->out);
        client->out = out;
        client->out_begin = 0;
        client->out_end = size + 2;
        net_source_want(&client->source, EPOLLOUT);
}

static void client_next(Client *client, int64_t now)
{
        size_t size = client->n < 2 ? DNS_MESSAGE_MAX : (size_t) (client->in[0] << 8 | client->in[1]);

        if (client->query || client->out_begin < client->out_end || client->n < size + 2)
                return;
        static uint8_t message[4096];
        memcpy(message, client->in + 2, size);
        client->n -= size + 2;
        memmove(client->in, client->in + size + 2, client->n);
        handle(client->resolver, client, NULL, message, size, now);
}

static void client_ready(NetSource *source, uint32_t events, int64_t now)
{
        Client *client = (Client *) source;

        source->due_ns = now + CLIENT_PATIENCE_NS;
        if (client->out_begin < client->out_end) {
                ssize_t n = send(source->fd, client->out + client->out_begin, client->out_end - client->out_begin,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && errno != EAGAIN && errno != EINTR) {
                        client_close(client);
                        return;
                }
                client->out_begin += n > 0 ? (size_t) n : 0;
        } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                ssize_t n = recv(source->fd, client->in + client->n, sizeof(client->in) - client->n, MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                        client_close(client);
                        return;
                }
                client->n += n > 0 ? (size_t) n : 0;
                if (client->n == sizeof(client->in) && (client->in[0] << 8 | client->in[1]) > 4096) {
                        client_close(client);
                        return;
                }
        }
        client_next(client, now);
        net_source_want(source, client->out_begin < client->out_end ? EPOLLOUT : client->query ? 0 : EPOLLIN);
}

static void accept_all(NetSource *source, uint32_t events, int64_t now)
{
        MonitorResolver *resolver = source->net->resolver;
        int fd;
        (void) events;

        while ((fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                Client *client = resolver->n_clients < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
                if (!client) {
                        fd_close(fd);
                        continue;
                }
                client->resolver = resolver;
                client->source = (NetSource) { .ready = client_ready, .due = client_due, .destroy = client_destroy };
                if (net_source_add(source->net, &client->source, fd, EPOLLIN) < 0) {
                        free(client);
                        continue;
                }
                resolver->n_clients++;
                client->source.due_ns = now + CLIENT_PATIENCE_NS;
        }
}

/* --- Beginning and end
 * ------------------------------------------------------------------------------------------------ */

static void nothing(NetSource *source)
{
        (void) source; /* part of the resolver */
}

void monitor_resolver_free(MonitorResolver *resolver)
{
        names_clear(&resolver->names);
        free(resolver);
}

int monitor_resolver_start(MonitorNet *net, const char *file, int udp, int tcp)
{
        CLEANUP_CLOSE int owned_udp = udp, owned_tcp = tcp;
        MonitorResolver *resolver;

        if (net->resolver)
                return -EEXIST;
        resolver = calloc(1, sizeof(*resolver));
        if (!resolver)
                return -ENOMEM;
        resolver->udp = (NetSource) { .ready = receive_all, .destroy = nothing, .fd = -EBADF };
        resolver->tcp = (NetSource) { .ready = accept_all, .destroy = nothing, .fd = -EBADF };
        int r = names_init(&resolver->names, file);
        if (r >= 0)
                r = net_source_add(net, &resolver->udp, TAKE_FD(owned_udp), EPOLLIN);
        if (r < 0) {
                monitor_resolver_free(resolver);
                return r;
        }
        net->resolver = resolver; /* from here on it goes with the rest */
        return net_source_add(net, &resolver->tcp, TAKE_FD(owned_tcp), EPOLLIN);
}
