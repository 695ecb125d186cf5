/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Job and slot speak over a pair of SOCK_SEQPACKET sockets: a task's number down, JSON up, {"Event":...} any number of
 * times and {"Result":...} once a task. The job is its descendants' reaper, so that it outlives all of them. */
#include "registry-pool.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/string.h"

#define MESSAGE_SIZE_MAX (64u * 1024)
#define SLOTS_MAX 64

typedef struct Slot {
        pid_t pid;
        int socket; /* owned; negative: free */
        bool busy;
        unsigned task;
} Slot;

typedef struct Run {
        const RegistryPool *pool;
        Slot slots[SLOTS_MAX];
        unsigned n_slots;
} Run;

static int slot_socket = -EBADF;

bool registry_client_gone(int fd)
{
        struct pollfd poller = { .fd = fd, .events = POLLRDHUP };

        return fd >= 0 && poll(&poller, 1, 0) > 0 && (poller.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* --- In a slot ---------------------------------------------------------------------------------------------------- */

static int send_json(const char *member, json_t *value)
{
        CLEANUP_JSON json_t *message = json_pack("{so}", member, value);
        CLEANUP_FREE char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

        if (!text)
                return -ENOMEM;
        return send(slot_socket, text, strlen(text), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int registry_pool_tell(json_t *event)
{
        return event ? send_json("Event", event) : -ENOMEM;
}

static _Noreturn void slot_main(const RegistryPool *pool, int socket, pid_t parent)
{
        unsigned task;

        slot_socket = socket;
        setpgid(0, 0);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || pool->start(pool->userdata, socket) != 0)
                _exit(1);
        while (recv(socket, &task, sizeof(task), 0) == sizeof(task)) {
                json_t *result = NULL;

                if (pool->work(pool->userdata, task, &result) < 0 || !result || send_json("Result", result) < 0)
                        _exit(1);
        }
        _exit(0);
}

/* --- In the job --------------------------------------------------------------------------------------------------- */

static int slot_add(Run *run)
{
        int fds[2];
        int r = socket_pair(SOCK_SEQPACKET, fds);
        pid_t parent = getpid(), pid;

        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                fd_close(ours);
                for (unsigned i = 0; i < run->n_slots; i++)
                        fd_close(run->slots[i].socket);
                slot_main(run->pool, theirs, parent);
        }
        /* Here too, as either may be first. */
        setpgid(pid, pid);
        run->slots[run->n_slots++] = (Slot) { .pid = pid, .socket = TAKE_FD(ours) };
        return 0;
}

static void slot_end(Slot *slot)
{
        kill(slot->pid, SIGKILL);
        slot->socket = fd_close(slot->socket);
}

static void run_clear(Run *run)
{
        for (unsigned i = 0; i < run->n_slots; i++)
                if (run->slots[i].socket >= 0)
                        slot_end(&run->slots[i]);
        /* Each slot is a process group with its children, who have lost their parent and are ours now. The job may have
         * other children. */
        for (unsigned i = 0; i < run->n_slots; i++)
                while (waitpid(-run->slots[i].pid, NULL, 0) > 0 || errno == EINTR)
                        ;
}

/* An idle slot's index, or where a new one goes; -EAGAIN where all are busy and no other is allowed. */
static int find_slot(const Run *run)
{
        unsigned living = 0;

        for (unsigned i = 0; i < run->n_slots; i++) {
                living += run->slots[i].socket >= 0;
                if (run->slots[i].socket >= 0 && !run->slots[i].busy)
                        return (int) i;
        }
        return living >= MAX(run->pool->slots, 1u) || run->n_slots == SLOTS_MAX ? -EAGAIN : (int) run->n_slots;
}

static int assign(Run *run)
{
        int index, task;

        while ((index = find_slot(run)) >= 0 && (task = run->pool->next(run->pool->userdata)) >= 0) {
                int r = (unsigned) index == run->n_slots ? slot_add(run) : 0;

                if (r < 0)
                        return r;
                Slot *slot = &run->slots[index];
                slot->busy = true;
                slot->task = (unsigned) task;
                /* Where it has died the end of its stream tells so. */
                (void) !send(slot->socket, &slot->task, sizeof(slot->task), MSG_NOSIGNAL);
        }
        return 0;
}

static int on_message(Run *run, Slot *slot)
{
        const RegistryPool *pool = run->pool;
        static char text[MESSAGE_SIZE_MAX];
        ssize_t n = recv(slot->socket, text, sizeof(text), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        CLEANUP_JSON json_t *message = n > 0 ? json_loadb(text, (size_t) n, 0, NULL) : NULL;
        if (!message) {
                bool busy = slot->busy;

                slot_end(slot);
                slot->busy = false;
                return busy ? pool->done(pool->userdata, slot->task, NULL) : 0;
        }
        json_t *event = json_object_get(message, "Event");
        if (event)
                return pool->event(pool->userdata, slot->task, event);
        slot->busy = false;
        return pool->done(pool->userdata, slot->task, json_object_get(message, "Result"));
}

static int wait_once(Run *run)
{
        const RegistryPool *pool = run->pool;
        struct pollfd pollers[SLOTS_MAX + 2];
        unsigned n = run->n_slots;
        int r = 0;

        for (unsigned i = 0; i < n; i++)
                pollers[i] = (struct pollfd) { .fd = run->slots[i].socket, .events = POLLIN };
        pollers[n] = (struct pollfd) { .fd = pool->client_fd, .events = POLLRDHUP };
        pollers[n + 1] = (struct pollfd) { .fd = pool->control_fd, .events = POLLIN };
        if (poll(pollers, n + 2, -1) < 0)
                return errno == EINTR ? 0 : -errno;
        if (pollers[n].revents & (POLLRDHUP | POLLHUP | POLLERR))
                return -ECANCELED;
        if (pollers[n + 1].revents)
                r = pool->control(pool->userdata);
        for (unsigned i = 0; i < n && r == 0; i++)
                if (pollers[i].revents)
                        r = on_message(run, &run->slots[i]);
        return r;
}

int registry_pool_run(const RegistryPool *pool)
{
        CLEANUP(run_clear) Run run = { .pool = pool };
        int r = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;

        while (r == 0 && !pool->complete(pool->userdata)) {
                r = assign(&run);
                /* Looking for a task may have shown that there is none. */
                if (r == 0 && !pool->complete(pool->userdata))
                        r = wait_once(&run);
        }
        return r;
}
