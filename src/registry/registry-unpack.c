/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request is an Order with the pipe's read end; the answer is JSON: {"Layer":...} or {"Outcome","Message"}. */
#include "registry-unpack.h"

#include <poll.h>
#include <sys/socket.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"

#define ANSWER_SIZE_MAX 16384

typedef struct Order {
        char staged[32];
        char diff_id[STORE_DIGEST_SIZE];
} Order;

typedef struct Source {
        int fd;
        int64_t *consumed;
} Source;

/* --- In the unpacker ---------------------------------------------------------------------------------------------- */

static ssize_t read_pipe(void *userdata, void *buffer, size_t size)
{
        Source *source = userdata;
        ssize_t n;

        do
                n = read(source->fd, buffer, size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        __atomic_fetch_add(source->consumed, n, __ATOMIC_RELAXED);
        return n;
}

static int unpack(const Order *order, int fd, int staging_fd, int64_t *consumed, json_t **ret)
{
        CLEANUP_ERROR Error error = { 0 };
        Source source = { .fd = fd, .consumed = consumed };
        StoreInput input = { .fd = -EBADF, .read = read_pipe, .staging_fd = staging_fd, .userdata = &source };
        json_t *layer = NULL;

        __atomic_store_n(consumed, 0, __ATOMIC_RELAXED);
        /* The blob's digest is the sender's part; what counts here is the diff ID. */
        int r = store_stage_layer(&input, order->staged, NULL, order->diff_id, &layer, &error);
        *ret = r == 0 ? json_pack("{so}", "Layer", layer)
                      : json_pack("{si ss*}", "Outcome", r, "Message", error.message);
        return *ret ? 0 : -ENOMEM;
}

static void unpacker_main(int socket, int staging_fd, int64_t *consumed)
{
        int keep[] = { socket };

        if (store_worker_confine(staging_fd, keep, 1) < 0)
                _exit(1);
        for (;;) {
                Order order;
                CLEANUP_CLOSE int fd = -EBADF;
                size_t n_fds = 1;
                ssize_t n = socket_recv_fds(socket, &order, sizeof(order), &fd, &n_fds);

                if (n != sizeof(order) || n_fds != 1)
                        _exit(n != 0);
                CLEANUP_JSON json_t *answer = NULL;
                if (unpack(&order, fd, staging_fd, consumed, &answer) < 0)
                        _exit(1);
                /* Whoever writes has to notice a failure at once. */
                fd = fd_close(fd);
                CLEANUP_FREE char *text = json_dumps(answer, JSON_COMPACT);
                if (!text || send(socket, text, strlen(text), MSG_NOSIGNAL) < 0)
                        _exit(1);
        }
}

/* --- In the downloading process ----------------------------------------------------------------------------------- */

int registry_unpacker_start(RegistryCompanion *unpacker, int staging_fd)
{
        return registry_companion_start(unpacker, unpacker_main, staging_fd);
}

int registry_unpacker_begin(RegistryCompanion *unpacker, const char *staged, const char *diff_id, int *ret_fd)
{
        Order order = { 0 };

        snprintf(order.staged, sizeof(order.staged), "%s", staged);
        snprintf(order.diff_id, sizeof(order.diff_id), "%s", diff_id);
        return registry_companion_order(unpacker, &order, sizeof(order), REGISTRY_PIPE_TO_IT, ret_fd);
}

int registry_unpacker_finish(RegistryCompanion *unpacker, int timeout_ms, json_t **ret_layer, Error *error)
{
        struct pollfd poller = { .fd = unpacker->socket, .events = POLLIN };
        char text[ANSWER_SIZE_MAX];
        int r = poll(&poller, 1, timeout_ms);

        if (r == 0 || (r < 0 && errno == EINTR))
                return -EAGAIN;
        ssize_t n = recv(unpacker->socket, text, sizeof(text), 0);
        CLEANUP_JSON json_t *answer = n > 0 ? json_loadb(text, (size_t) n, 0, NULL) : NULL;
        json_t *layer = json_get_object(answer, "Layer");
        if (layer) {
                *ret_layer = json_incref(layer);
                return 0;
        }
        if (!answer)
                return error_set(error, OUTCOME_FAILED, "the process that unpacks layers ended early");
        r = (int) json_get_int(answer, "Outcome", -EIO);
        const char *message = json_get_string(answer, "Message");
        return error_set(error, OUTCOME_FAILED, "failed to register layer: %s", message ?: strerror(abs(r)));
}
