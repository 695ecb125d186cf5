/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plays the part of testcontainers' reaper in an image made here: clients connect to port 8080, send one
 * "label=NAME=VALUE" a line, each answered by "ACK", and when no client has been connected for REAPER_SECONDS (2),
 * every other container, network and volume that bears one of the labels goes, by way of the engine's socket in
 * /var/run/docker.sock. */
#include <arpa/inet.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT 8080
#define MAX_CLIENTS 32
#define MAX_LABELS 32

typedef struct Client {
        int fd;
        size_t used;
        char line[512];
} Client;

static Client clients[MAX_CLIENTS];
static size_t n_clients;
static char labels[MAX_LABELS][512];
static size_t n_labels;

/* The engine's whole answer, or as much of it as fits. */
static void ask_engine(const char *method, const char *path, char *answer, size_t size)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/var/run/docker.sock" };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        size_t used = 0;
        ssize_t n;

        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                err(1, "the engine's socket");
        if (dprintf(fd, "%s %s HTTP/1.0\r\nHost: engine\r\nContent-Length: 0\r\n\r\n", method, path) < 0)
                err(1, "%s %s", method, path);
        while (used < size - 1 && (n = read(fd, answer + used, size - 1 - used)) > 0)
                used += (size_t) n;
        answer[used] = '\0';
        close(fd);
}

/* {"label":{"NAME=VALUE":true}}, with the characters that a query must not have written as %XX. */
static void filter_of(const char *label, char *ret, size_t size)
{
        char text[600];
        size_t used = 0;

        snprintf(text, sizeof(text), "{\"label\":{\"%s\":true}}", label);
        for (const char *c = text; *c && used + 4 < size; c++)
                used += (size_t) snprintf(ret + used, size - used, strchr("{}\":= %&+", *c) ? "%%%02X" : "%c", *c);
}

static void reap(const char *label)
{
        static char answer[1 << 20], ignored[4096];
        char filter[2048], path[2200], self[65] = "", *id;

        gethostname(self, sizeof(self) - 1);
        filter_of(label, filter, sizeof(filter));
        snprintf(path, sizeof(path), "/containers/json?all=1&filters=%s", filter);
        ask_engine("GET", path, answer, sizeof(answer));
        for (id = answer; (id = strstr(id, "\"Id\":\"")); id++) {
                if (strncmp(id + strlen("\"Id\":\""), self, strlen(self)) == 0)
                        continue; /* its own end comes last, and removes it */
                snprintf(path, sizeof(path), "/containers/%.64s?force=1&v=1", id + strlen("\"Id\":\""));
                ask_engine("DELETE", path, ignored, sizeof(ignored));
        }
        snprintf(path, sizeof(path), "/networks/prune?filters=%s", filter);
        ask_engine("POST", path, ignored, sizeof(ignored));
        snprintf(path, sizeof(path), "/volumes/prune?filters=%s", filter);
        ask_engine("POST", path, ignored, sizeof(ignored));
}

static void take_line(Client *client)
{
        char *line = client->line;

        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "label=", strlen("label=")) == 0 && n_labels < MAX_LABELS) {
                snprintf(labels[n_labels++], sizeof(labels[0]), "%s", line + strlen("label="));
                printf("Adding %s\n", line);
        }
        if (write(client->fd, "ACK\n", 4) < 0)
                warn("answering");
        client->used = 0;
}

/* 0 when the client has gone. */
static int read_client(Client *client)
{
        char c;

        if (read(client->fd, &c, 1) != 1)
                return 0;
        if (client->used < sizeof(client->line) - 1)
                client->line[client->used++] = c;
        client->line[client->used] = '\0';
        if (c == '\n')
                take_line(client);
        return 1;
}

static int listen_on(int port)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short) port) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, MAX_CLIENTS) < 0)
                err(1, "port %d", port);
        return fd;
}

/* 0 when nobody has been connected for the given time after the first client came. */
static int serve(int listener, int timeout_ms)
{
        struct pollfd polled[MAX_CLIENTS + 1] = { { .fd = listener, .events = POLLIN } };
        size_t left = 0;

        for (size_t i = 0; i < n_clients; i++)
                polled[i + 1] = (struct pollfd) { .fd = clients[i].fd, .events = POLLIN };
        if (poll(polled, n_clients + 1, n_labels && !n_clients ? timeout_ms : -1) == 0)
                return 0;
        for (size_t i = 0; i < n_clients; i++) {
                if (polled[i + 1].revents && !read_client(&clients[i]))
                        close(clients[i].fd);
                else if (left++ != i)
                        clients[left - 1] = clients[i];
        }
        n_clients = left;
        if (polled[0].revents && n_clients < MAX_CLIENTS)
                clients[n_clients++] = (Client) { .fd = accept(listener, NULL, NULL) };
        return 1;
}

int main(void)
{
        const char *seconds = getenv("REAPER_SECONDS");
        int listener = listen_on(PORT);

        setlinebuf(stdout);
        printf("Started!\n");
        while (serve(listener, 1000 * (seconds ? atoi(seconds) : 2)))
                ;
        for (size_t i = 0; i < n_labels; i++)
                reap(labels[i]);
        printf("Removed what bore %zu labels\n", n_labels);
        return 0;
}
