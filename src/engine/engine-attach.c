/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attaching: a raw stream is handed to the monitor, or, before the container runs, kept here and in systemd's store. */
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/monitor.h"
#include "engine-bridge.h"
#include "engine-private.h"

struct PendingAttach {
        LIST_ENTRY(PendingAttach) link;
        int fd;        /* owned */
        char *request; /* the monitor's "attach ..." line */
        char *kept;    /* name in systemd's store */
};

static void pending_free(PendingAttach *pending, bool keep)
{
        if (pending->kept && !keep)
                keep_remove(pending->kept);
        fd_close(pending->fd);
        LIST_REMOVE(pending, link);
        free(pending->request);
        free(pending->kept);
        free(pending);
}

void container_forget_attach(Container *container, int fd)
{
        PendingAttach *pending;

        LIST_FOREACH(pending, &container->attaches, link)
                if (pending->fd == fd)
                        break;
        if (pending)
                pending_free(pending, false);
}

void container_drop_attaches(Container *container)
{
        while (!LIST_EMPTY(&container->attaches))
                pending_free(LIST_FIRST(&container->attaches), container->engine->closing);
}

int detach_keys_parse(const char *text, char ret_keys[static DETACH_KEYS_MAX], size_t *ret_n)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = copy;
        size_t n = 0;

        if (!copy)
                return -ENOMEM;
        for (char *key; (key = strsep(&rest, ","));) {
                const char *control = str_after_prefix(key, "ctrl-");
                char byte;
                if (strlen(key) == 1)
                        byte = key[0];
                else if (control && strlen(control) == 1 && strchr("abcdefghijklmnopqrstuvwxyz@[\\]^_", control[0]))
                        byte = control[0] >= 'a' ? (char) (control[0] - 'a' + 1) : (char) (control[0] - '@');
                else
                        return -EINVAL;
                if (n == DETACH_KEYS_MAX)
                        return -EINVAL;
                ret_keys[n++] = byte;
        }
        *ret_n = n;
        return 0;
}

int monitor_request_send_fds(const char *path, const void *request, size_t size, const int *fds, size_t n_fds)
{
        CLEANUP_CLOSE int connection = socket_connect_unix(path, SOCK_SEQPACKET);
        if (connection < 0)
                return connection;
        int r = socket_send_fds(connection, request, size, fds, n_fds);
        return r < 0 ? r : TAKE_FD(connection);
}

int monitor_request_send(const char *path, const void *request, size_t size, int fd)
{
        return monitor_request_send_fds(path, request, size, &fd, fd >= 0 ? 1 : 0);
}

static int send_request(Container *container, const void *request, size_t size, int fd)
{
        CLEANUP_FREE char *path = container_runtime_path(container, MONITOR_SOCKET_NAME);

        return path ? monitor_request_send(path, request, size, fd) : -ENOMEM;
}

int container_send_attaches(Container *container)
{
        PendingAttach *pending;

        while ((pending = LIST_FIRST(&container->attaches))) {
                int r = send_request(container, pending->request, strlen(pending->request), pending->fd);
                if (r < 0)
                        return r;
                fd_close(r); /* the request waits in the monitor's queue */
                pending_free(pending, false);
        }
        return 0;
}

static int keep_pending(Container *container, const char *request, int fd)
{
        static unsigned counter;
        PendingAttach *pending = calloc(1, sizeof(*pending));
        CLEANUP_FREE char *words = strdup(request + strlen("attach "));
        char *space = words ? strchr(words, ' ') : NULL;

        if (!pending || !space) {
                free(pending);
                return -ENOMEM;
        }
        *space = '-';
        pending->fd = fd;
        pending->request = strdup(request);
        pending->kept = str_printf("attach-%s-%s-%d-%u", container->id, words, (int) getpid(), counter++);
        LIST_INSERT_HEAD(&container->attaches, pending, link);
        if (!pending->request || !pending->kept) {
                pending->fd = -EBADF;
                pending_free(pending, false);
                return -ENOMEM;
        }
        keep_store(pending->kept, fd);
        return 0;
}

void attach_restore(Engine *engine, const char *arguments, int fd)
{
        CLEANUP_CLOSE int owned = fd;
        char id[ID_LENGTH + 1], flags[16], keys[160];
        Container *container;

        if (sscanf(arguments, "%64[0-9a-f]-%15[ioemn]-%159[^-]", id, flags, keys) != 3 &&
            sscanf(arguments, "%64[0-9a-f]-%15[ioemn]-", id, flags) != 2)
                return;
        if (!strchr(arguments + ID_LENGTH + 1 + strlen(flags) + 1, '-'))
                return;
        if (arguments[ID_LENGTH + 1 + strlen(flags) + 1] == '-')
                strcpy(keys, "-");
        if (engine_container_find(engine, id, &container, NULL) != 0 || container->status == CONTAINER_RUNNING)
                return;
        CLEANUP_FREE char *request = str_printf("attach %s %s", flags, keys);
        if (request && keep_pending(container, request, owned) >= 0)
                TAKE_FD(owned);
}

int attach_message(const char *request, const Buffer *early, Buffer *message)
{
        int r = buffer_append_string(message, request);

        if (r >= 0 && early->size > 0)
                r = buffer_append_string(message, "\n");
        return r < 0 ? r : buffer_append(message, early->data, early->size);
}

char *attach_request(const ContainerAttach *attach)
{
        char keys[2 * sizeof(attach->detach_keys) + 1] = "-";

        if (attach->n_detach_keys > 0)
                hex_encode((const uint8_t *) attach->detach_keys, attach->n_detach_keys, keys);
        return str_printf("attach %s%s%s%s%s %s", attach->standard_input ? "i" : "", attach->standard_output ? "o" : "",
                          attach->standard_error ? "e" : "", attach->multiplexed ? "m" : "",
                          !attach->standard_input && !attach->standard_output && !attach->standard_error &&
                                          !attach->multiplexed
                                  ? "n"
                                  : "",
                          keys);
}

int container_attach_check(Container *container, Error *error)
{
        if (container->restarting)
                return error_set(error, OUTCOME_CONFLICT,
                                 "container %s is restarting, wait until the container is running", container->id);
        if (container_is_paused(container))
                return error_set(error, OUTCOME_CONFLICT, "container %s is paused, unpause the container before attach",
                                 container->id);
        return 0;
}

/* Nothing is attached. As with dockerd, only a container that lives by its input is then waited for. */
static bool is_over(const Container *container, const ContainerAttach *attach)
{
        return !attach->standard_input && !attach->standard_output && !attach->standard_error &&
               !(attach->stream && container_is_running(container) && !container_has_terminal(container) &&
                 json_get_bool(container_config(container), "StdinOnce"));
}

/* Small, and the first on its way there. */
static int tell(int fd, const Buffer *answer)
{
        return answer->size > 0 ? fd_write_all(fd, answer->data, answer->size) : 0;
}

/* Nobody reads what the client has sent already before the container runs, by when this process may be gone: a worker
 * holds it, and stands before what the client sends later. */
static int keep_early(Container *container, const char *request, int fd, Buffer *early, const Buffer *answer)
{
        CLEANUP_BRIDGE Bridge bridge = { .client_fd = fd, .stream_fd = -EBADF, .plain = true };
        CLEANUP_CLOSE int stream_fd = -EBADF;
        int r = bridge_open(&bridge, answer, early, &stream_fd);

        if (r >= 0)
                r = keep_pending(container, request, stream_fd);
        if (r < 0)
                return r;
        int kept_fd = TAKE_FD(stream_fd);
        r = bridge_start(container->engine, &bridge);
        if (r < 0)
                container_forget_attach(container, kept_fd);
        return r;
}

static int keep_stream(Container *container, const char *request, int fd, Buffer *early, const Buffer *answer)
{
        CLEANUP_CLOSE int owned = fd;

        if (early->size > 0)
                return keep_early(container, request, TAKE_FD(owned), early, answer);
        int r = keep_pending(container, request, owned);
        return r < 0 ? r : tell(TAKE_FD(owned), answer);
}

int container_attach(Container *container, const ContainerAttach *attach, int fd, Buffer *received,
                     const Buffer *answer, Error *error)
{
        CLEANUP_CLOSE int owned = fd;
        CLEANUP_BUFFER Buffer early = *received, message = { 0 };
        *received = (Buffer) { 0 };

        if (container->removing)
                return error_set(error, OUTCOME_CONFLICT, "container %s is being removed", container->id);
        CLEANUP_FREE char *request = attach_request(attach);
        if (!request)
                return -ENOMEM;
        bool over = is_over(container, attach), replayed = attach->logs && container->status != CONTAINER_CREATED;
        if (!replayed && !over && !container_is_running(container)) {
                int r = keep_stream(container, request, TAKE_FD(owned), &early, answer);
                container_event_emit(container, "attach", NULL);
                return r;
        }
        container_event_emit(container, "attach", NULL);
        int r = tell(owned, answer);
        if (r >= 0 && replayed) {
                int stream_fd;
                r = replay_start(container, attach, TAKE_FD(owned), &early, &stream_fd);
                if (r < 0 || stream_fd < 0)
                        return r;
                owned = stream_fd;
                buffer_clear(&early); /* the worker has it */
        }
        if (r < 0 || over)
                return MIN(r, 0);
        if (!container_is_running(container)) {
                r = keep_pending(container, request, owned);
                if (r >= 0)
                        TAKE_FD(owned);
                return r;
        }
        r = attach_message(request, &early, &message);
        if (r >= 0)
                r = send_request(container, message.data, message.size, owned);
        if (r >= 0)
                fd_close(r);
        return MIN(r, 0);
}

int container_resize(Container *container, int64_t rows, int64_t columns, Error *error)
{
        char request[64];

        if (!container_is_running(container))
                return container_not_running(container, error);
        snprintf(request, sizeof(request), "resize %lld %lld", (long long) rows, (long long) columns);
        int connection = send_request(container, request, strlen(request), -EBADF);
        if (connection < 0)
                return connection;
        fd_close(connection);
        char height[24], width[24];
        snprintf(height, sizeof(height), "%lld", (long long) rows);
        snprintf(width, sizeof(width), "%lld", (long long) columns);
        container_event_emit(container, "resize", json_pack("{ss ss}", "height", height, "width", width));
        return 0;
}
