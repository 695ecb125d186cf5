/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request is an Order with the pipe's read end; the answer is JSON: {"Layer":...} or {"Outcome","Message"}. */
#include "registry-unpack.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"

#define PIPE_SIZE (1024 * 1024)
#define ANSWER_SIZE_MAX 16384

typedef struct Order {
        char staged[32];
        char digest[STORE_DIGEST_SIZE];
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
        int r = store_stage_layer(&input, order->staged, order->digest, order->diff_id, &layer, &error);
        *ret = r == 0 ? json_pack("{so}", "Layer", layer)
                      : json_pack("{si ss*}", "Outcome", r, "Message", error.message);
        return *ret ? 0 : -ENOMEM;
}

static _Noreturn void unpacker_main(int socket, int staging_fd, int64_t *consumed)
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

int registry_unpacker_start(RegistryUnpacker *unpacker, int staging_fd)
{
        int fds[2];
        pid_t parent = getpid(), pid;
        int r = socket_pair(SOCK_SEQPACKET, fds);

        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        int64_t *consumed = mmap(NULL, sizeof(*consumed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (consumed == MAP_FAILED)
                return -errno;
        pid = fork();
        if (pid < 0) {
                r = -errno;
                munmap(consumed, sizeof(*consumed));
                return r;
        }
        if (pid == 0) {
                fd_close(ours);
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                unpacker_main(theirs, staging_fd, consumed);
        }
        *unpacker = (RegistryUnpacker) { .socket = TAKE_FD(ours), .consumed = consumed };
        return 0;
}

void registry_unpacker_clear(RegistryUnpacker *unpacker)
{
        fd_close(unpacker->socket);
        if (unpacker->consumed)
                munmap(unpacker->consumed, sizeof(*unpacker->consumed));
        *unpacker = (RegistryUnpacker) { .socket = -EBADF };
}

int registry_unpacker_begin(RegistryUnpacker *unpacker, const char *staged, const char *digest, const char *diff_id,
                            int *ret_fd)
{
        Order order = { 0 };
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        CLEANUP_CLOSE int theirs = fds[0], ours = fds[1];
        /* The kernel may refuse this much to an unprivileged process: what it has will do. */
        (void) fcntl(ours, F_SETPIPE_SZ, PIPE_SIZE);
        snprintf(order.staged, sizeof(order.staged), "%s", staged);
        snprintf(order.digest, sizeof(order.digest), "%s", digest);
        snprintf(order.diff_id, sizeof(order.diff_id), "%s", diff_id);
        r = socket_send_fds(unpacker->socket, &order, sizeof(order), &theirs, 1);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(ours);
        return 0;
}

int registry_unpacker_finish(RegistryUnpacker *unpacker, int timeout_ms, json_t **ret_layer, Error *error)
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
