/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a build's worker says to berthd and to the client, and how it waits for either. */
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build-work.h"

#define FRAME_HEADER 8

/* --- To the client ------------------------------------------------------------------------------------------------ */

/* Nobody is there to build for: berthd clears up after this process. */
static _Noreturn void give_up(void)
{
        _exit(ECANCELED & 0xff);
}

void work_tell(BuildWork *work, json_t *line)
{
        CLEANUP_JSON json_t *owned = line;
        CLEANUP_FREE char *text = json_line(owned);

        if (text && fd_write_all(work->tell_fd, text, strlen(text)) < 0)
                give_up();
}

void work_send(BuildWork *work, json_t *message)
{
        if (work->tell_fd >= 0) {
                work_tell(work, json_pack("{so}", "Message", message));
                return;
        }
        CLEANUP_JSON json_t *owned = message;
        CLEANUP_FREE char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
        CLEANUP_FREE char *line = text ? str_printf("%s\r\n", text) : NULL;

        if (!line)
                return;
        work->begun = true;
        if (stream_write(&work->build->stream, line, strlen(line)) < 0)
                give_up();
}

void work_say_text(BuildWork *work, const char *text, size_t size)
{
        if (work->tell_fd >= 0)
                work_tell(work, json_pack("{so}", "Text", json_stringn_nocheck(text, size)));
        else if (work->quiet)
                (void) buffer_append(&work->silent, text, size);
        else
                work_send(work, json_pack("{so}", "stream", json_stringn_nocheck(text, size)));
}

void work_say(BuildWork *work, const char *format, ...)
{
        char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        int n = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (n < 0)
                return;
        work_say_text(work, text, (size_t) n);
        free(text);
}

/* --- A container's output ----------------------------------------------------------------------------------------- */

/* Bytes that are no UTF-8 are shown by the sign for that. */
static void say_output(BuildWork *work, const char *data, size_t size, bool is_error)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        CLEANUP_JSON json_t *valid = json_stringn(data, size);
        int r = is_error ? buffer_append_string(&text, "\033[91m") : 0;

        for (size_t i = 0; r >= 0 && !valid && i < size;) {
                size_t n = 1;
                while (n < 4 && i + n < size && ((unsigned char) data[i + n] & 0xc0) == 0x80)
                        n++;
                CLEANUP_JSON json_t *one = json_stringn(data + i, n);
                r = one ? buffer_append(&text, data + i, n) : buffer_append_string(&text, "\xef\xbf\xbd");
                i += one ? n : 1;
        }
        if (r >= 0 && valid)
                r = buffer_append(&text, data, size);
        if (r >= 0 && is_error)
                r = buffer_append_string(&text, "\033[0m");
        if (r >= 0)
                work_say_text(work, text.data ?: "", text.size);
}

/* What came so far, of whole frames. */
static void pass_output(BuildWork *work)
{
        Buffer *in = &work->output_in;

        for (;;) {
                while (in->size >= FRAME_HEADER) {
                        const uint8_t *head = (const uint8_t *) in->data;
                        size_t size = (size_t) head[4] << 24 | (size_t) head[5] << 16 | (size_t) head[6] << 8 | head[7];

                        if (in->size < FRAME_HEADER + size)
                                break;
                        say_output(work, in->data + FRAME_HEADER, size, head[0] == 2);
                        buffer_consume(in, FRAME_HEADER + size);
                }
                ssize_t n = work->output_fd < 0 ? 0 : buffer_read(in, work->output_fd, 65536);
                if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
                        work->output_fd = fd_close(work->output_fd);
                if (n <= 0)
                        return;
        }
}

/* --- To berthd ---------------------------------------------------------------------------------------------------- */

static void wait_for(BuildWork *work, int fd)
{
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = fd, .events = POLLIN },
                        { .fd = work->output_fd, .events = POLLIN },
                        { .fd = work->build->stream.fd, .events = 0 },
                };

                if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
                        give_up();
                if (fds[2].revents & (POLLHUP | POLLERR | POLLNVAL))
                        give_up();
                if (work->output_fd >= 0 && fds[1].revents)
                        pass_output(work);
                if (fds[0].revents)
                        return;
        }
}

void work_poll(BuildWork *work, const int *fds, bool *ready, size_t n)
{
        CLEANUP_FREE struct pollfd *all = calloc(n + 2, sizeof(*all));

        if (!all)
                give_up();
        all[n] = (struct pollfd) { .fd = work->build->stream.fd };
        all[n + 1] = (struct pollfd) { .fd = work->rpc_fd };
        for (size_t i = 0; i < n; i++)
                all[i] = (struct pollfd) { .fd = fds[i], .events = POLLIN };
        int r = poll(all, n + 2, -1);
        if ((r < 0 && errno != EINTR) ||
            (r > 0 && ((all[n].revents | all[n + 1].revents) & (POLLHUP | POLLERR | POLLNVAL))))
                give_up();
        for (size_t i = 0; i < n; i++)
                ready[i] = r > 0 && all[i].revents;
}

void work_pause(BuildWork *work, int ms)
{
        struct pollfd fds[] = { { .fd = work->build->stream.fd, .events = 0 }, { .fd = work->rpc_fd, .events = 0 } };

        if (poll(fds, ARRAY_SIZE(fds), ms) > 0 && ((fds[0].revents | fds[1].revents) & (POLLHUP | POLLERR | POLLNVAL)))
                give_up();
}

/* A descriptor that comes with a reply is a container's output, or a lane. */
static void receive(BuildWork *work)
{
        size_t n_fds = 1;
        int fd = -EBADF;
        ssize_t n = buffer_reserve(&work->rpc_in, 65536);

        if (n >= 0)
                n = socket_recv_fds(work->rpc_fd, work->rpc_in.data + work->rpc_in.size, 65535, &fd, &n_fds);
        if (n == -EINTR || n == -EAGAIN)
                return;
        if (n <= 0)
                give_up();
        work->rpc_in.size += (size_t) n;
        work->rpc_in.data[work->rpc_in.size] = 0;
        if (n_fds > 0) {
                fd_close(work->output_fd);
                work->output_fd = fd;
                fd_set_nonblock(fd, true);
        }
}

static int next_line(BuildWork *work, json_t **ret)
{
        size_t size;

        while (!buffer_line(&work->rpc_in, &size)) {
                wait_for(work, work->rpc_fd);
                receive(work);
        }
        *ret = json_loadb(work->rpc_in.data, size, 0, NULL);
        buffer_consume(&work->rpc_in, size + 1);
        return *ret ? 0 : -EBADMSG;
}

int work_wait(BuildWork *work, json_t **ret_reply, Error *error)
{
        for (;;) {
                CLEANUP_JSON json_t *reply = NULL;
                int r = next_line(work, &reply);

                if (r < 0)
                        return r;
                json_t *progress = json_get_object(reply, "Progress");
                const char *failure = json_get_string(reply, "Failure");
                if (progress) {
                        if (!work->quiet)
                                work_send(work, json_incref(progress));
                        continue;
                }
                if (json_object_get(reply, "Exit"))
                        while (work->output_fd >= 0)
                                pass_output(work);
                if (failure)
                        return error_set(error, (Outcome) json_get_int(reply, "Outcome", OUTCOME_FAILED), "%s",
                                         failure);
                *ret_reply = TAKE_PTR(reply);
                return 0;
        }
}

int work_ask(BuildWork *work, json_t *request, json_t **ret_reply, Error *error)
{
        CLEANUP_JSON json_t *owned = request;
        CLEANUP_FREE char *line = json_line(owned);

        if (!line)
                return -ENOMEM;
        if (fd_write_all(work->rpc_fd, line, strlen(line)) < 0)
                give_up();
        return work_wait(work, ret_reply, error);
}

int work_lane(BuildWork *work, int *ret_fd, Error *error)
{
        CLEANUP_JSON json_t *reply = NULL;
        int r = work_ask(work, json_pack("{ss}", "Op", "lane"), &reply, error);

        if (r != 0 || work->output_fd < 0)
                return r != 0 ? r : -EBADMSG;
        *ret_fd = TAKE_FD(work->output_fd);
        fd_set_nonblock(*ret_fd, false);
        return 0;
}

/* --- Children ----------------------------------------------------------------------------------------------------- */

int work_in_child(BuildWork *work, int (*run)(void *userdata, int result_fd, json_t **ret, Error *error),
                  void *userdata, json_t **ret, Error *error)
{
        int fds[2], r = socket_pair(SOCK_STREAM, fds), status = 0;
        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        CLEANUP_BUFFER Buffer text = { 0 };
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0) {
                CLEANUP_JSON json_t *result = NULL;
                CLEANUP_ERROR Error failure = { 0 };

                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                r = run(userdata, theirs, &result, &failure);
                _exit(engine_worker_answer(theirs, r, result, &failure) < 0);
        }
        theirs = fd_close(theirs);
        do {
                wait_for(work, ours);
                r = (int) buffer_read(&text, ours, 65536);
        } while (r > 0 || r == -EINTR);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return engine_worker_result(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO, text.data, text.size, ret,
                                    error);
}
