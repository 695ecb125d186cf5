/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One poll(2) loop over standard input, the raw stream, signals, the daemon's side connection and the wait. Nothing in
 * it waits for the daemon: terminal bytes go on while the daemon restarts. Standard output is the only thing that may
 * block, as it would in the program itself. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "berth/file.h"
#include "client-stream.h"
#include "client-terminal.h"

#define PIECE_SIZE (64u * 1024)
#define SIGNALS_MAX 16

/* Signals meant for the program in the container, where they are passed on. */
static const int proxied[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCONT };

static sigset_t signal_set(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGWINCH);
        for (size_t i = 0; i < ARRAY_SIZE(proxied); i++)
                sigaddset(&set, proxied[i]);
        return set;
}

void client_stream_block_signals(void)
{
        sigset_t set = signal_set();

        sigprocmask(SIG_BLOCK, &set, NULL);
}

void client_stream_unblock_signals(void)
{
        sigset_t set = signal_set();

        sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* --- frames --- */

int client_frames_write(StreamFrames *frames, const char *data, size_t size, int out, int err)
{
        while (size > 0) {
                size_t n;
                int r;

                if (frames->left == 0 || frames->n_header < sizeof(frames->header)) {
                        n = MIN(size, sizeof(frames->header) - frames->n_header);
                        memcpy(frames->header + frames->n_header, data, n);
                        frames->n_header += n;
                        data += n;
                        size -= n;
                        if (frames->n_header < sizeof(frames->header))
                                break;
                        if (frames->header[0] > 3 || frames->header[1] || frames->header[2] || frames->header[3])
                                return -EBADMSG;
                        frames->left = (size_t) frames->header[4] << 24 | frames->header[5] << 16 |
                                       frames->header[6] << 8 | frames->header[7];
                        if (frames->left == 0)
                                frames->n_header = 0;
                        continue;
                }
                n = MIN(size, frames->left);
                r = fd_write_all(frames->header[0] >= 2 ? err : out, data, n);
                if (r < 0)
                        return r;
                data += n;
                size -= n;
                frames->left -= n;
                if (frames->left == 0)
                        frames->n_header = 0;
        }
        return 0;
}

/* --- the loop --- */

typedef struct Pump {
        ClientStream *stream;
        StreamFrames frames;
        Buffer pending;   /* input that the socket did not take yet */
        bool input_open;  /* standard input may have more */
        bool half_closed; /* our side of the socket is shut */
        int signals;      /* signalfd, owned */
        HttpClient *side; /* owned: signals and sizes, one request at a time */
        bool side_busy;
        int queue[SIGNALS_MAX]; /* signals to send; 0 stands for the window's size */
        size_t n_queue;
        uint8_t keys[DETACH_KEYS_MAX];
        int n_keys, n_matched; /* the end of the input sent so far matches that much of the detach keys */
} Pump;

static void pump_clear(Pump *pump)
{
        buffer_clear(&pump->pending);
        fd_close(pump->signals);
        http_client_free(pump->side);
}

static int write_output(Pump *pump, const char *data, size_t size)
{
        if (pump->stream->terminal)
                return fd_write_all(STDOUT_FILENO, data, size);
        return client_frames_write(&pump->frames, data, size, STDOUT_FILENO, STDERR_FILENO);
}

/* The server looks for the detach keys; this only remembers whether they were the last that was typed. */
static void match_keys(Pump *pump, const char *data, size_t size)
{
        for (size_t i = 0; i < size; i++) {
                uint8_t key = data[i];

                if (pump->n_matched == pump->n_keys)
                        pump->n_matched = 0;
                if (key == pump->keys[pump->n_matched])
                        pump->n_matched++;
                else
                        pump->n_matched = key == pump->keys[0];
        }
}

static int flush_input(Pump *pump)
{
        while (pump->pending.size > 0) {
                ssize_t n =
                        send(pump->stream->socket, pump->pending.data, pump->pending.size, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n < 0) {
                        /* The container does not read any more; its output may still come. */
                        pump->pending.size = 0;
                        pump->input_open = false;
                        return 0;
                }
                buffer_consume(&pump->pending, n);
        }
        if (!pump->input_open && !pump->half_closed && pump->stream->input) {
                shutdown(pump->stream->socket, SHUT_WR);
                pump->half_closed = true;
        }
        return 0;
}

static int read_input(Pump *pump)
{
        size_t before = pump->pending.size;
        ssize_t n = buffer_read(&pump->pending, STDIN_FILENO, PIECE_SIZE);

        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n <= 0)
                pump->input_open = false;
        else if (pump->n_keys > 0)
                match_keys(pump, pump->pending.data + before, n);
        return flush_input(pump);
}

/* 0: more may come; 1: the end of the stream. */
static int read_output(Pump *pump, char *piece)
{
        ssize_t n = recv(pump->stream->socket, piece, PIECE_SIZE, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n < 0 && errno != ECONNRESET)
                return -errno;
        return n <= 0 ? 1 : write_output(pump, piece, n);
}

/* --- the side connection --- */

static void side_send(Pump *pump)
{
        CLEANUP_BUFFER Buffer target = {};
        int number = pump->queue[0];
        unsigned rows, columns;

        memmove(pump->queue, pump->queue + 1, --pump->n_queue * sizeof(int));
        if (number != 0) {
                CLEANUP_FREE char *name = client_must(str_printf("%s", sigabbrev_np(number) ?: ""));

                target = target_make("containers", pump->stream->id, "kill");
                target_add(&target, "signal", name);
        } else {
                CLEANUP_FREE char *h = NULL, *w = NULL;

                if (!client_terminal_size(&rows, &columns))
                        return;
                h = client_must(str_printf("%u", rows));
                w = client_must(str_printf("%u", columns));
                target = target_make(pump->stream->exec ? "exec" : "containers", pump->stream->id, "resize");
                target_add(&target, "h", h);
                target_add(&target, "w", w);
        }
        if (pump->side && !http_client_reusable(pump->side)) {
                http_client_free(pump->side);
                pump->side = NULL;
        }
        if (!pump->side && client_connect(pump->stream->client, &pump->side, NULL) != 0)
                return;
        pump->side_busy = client_send(pump->side, "POST", target.data, NULL, false, NULL) == 0;
        if (!pump->side_busy) {
                http_client_free(pump->side);
                pump->side = NULL;
        }
}

static void side_queue(Pump *pump, int number)
{
        if (number == 0)
                for (size_t i = 0; i < pump->n_queue; i++)
                        if (pump->queue[i] == 0)
                                return;
        if (pump->n_queue < SIGNALS_MAX)
                pump->queue[pump->n_queue++] = number;
        while (!pump->side_busy && pump->n_queue > 0)
                side_send(pump);
}

/* An answer came, or part of it. Refusals are none of the user's business: the program may just have ended. */
static void side_continue(Pump *pump)
{
        int r = http_client_step(pump->side);

        if (r == 0 || r == -EAGAIN)
                return;
        pump->side_busy = false;
        if (r < 0) {
                http_client_free(pump->side);
                pump->side = NULL;
        }
        while (!pump->side_busy && pump->n_queue > 0)
                side_send(pump);
}

static void take_signal(Pump *pump)
{
        struct signalfd_siginfo info;

        if (read(pump->signals, &info, sizeof(info)) != sizeof(info))
                return;
        if (info.ssi_signo == SIGWINCH) {
                if (pump->stream->terminal)
                        side_queue(pump, 0);
                return;
        }
        if (pump->stream->proxy_signals && !pump->stream->exec) {
                side_queue(pump, info.ssi_signo);
                return;
        }
        if (info.ssi_signo == SIGTSTP || info.ssi_signo == SIGCONT)
                return;
        /* Not for the container: it ends this process, as it would have without the loop. */
        client_terminal_restore();
        client_stream_unblock_signals();
        raise(info.ssi_signo);
}

enum { SOCKET, INPUT, SIGNALS, SIDE, WAIT, N_FDS };

static void fill_set(const Pump *pump, struct pollfd set[static N_FDS])
{
        const ClientStream *stream = pump->stream;
        HttpClient *wait = stream->wait ? stream->wait->http : NULL;

        set[SOCKET] = (struct pollfd) { stream->socket, POLLIN | (pump->pending.size > 0 ? POLLOUT : 0), 0 };
        set[INPUT] = (struct pollfd) { pump->input_open && pump->pending.size == 0 ? STDIN_FILENO : -1, POLLIN, 0 };
        set[SIGNALS] = (struct pollfd) { pump->signals, POLLIN, 0 };
        set[SIDE] = (struct pollfd) { pump->side_busy ? http_client_fd(pump->side) : -1, POLLIN, 0 };
        set[WAIT] = (struct pollfd) { wait ? http_client_fd(wait) : -1, POLLIN, 0 };
}

static int pump_run(Pump *pump)
{
        CLEANUP_FREE char *piece = client_must(malloc(PIECE_SIZE));
        struct pollfd set[N_FDS];

        for (;;) {
                bool retry = pump->stream->wait && pump->stream->wait->retry;
                int r = 0;

                fill_set(pump, set);
                if (poll(set, N_FDS, retry ? CLIENT_WAIT_PAUSE_MS : -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (set[SIGNALS].revents)
                        take_signal(pump);
                if (set[SIDE].revents)
                        side_continue(pump);
                if (set[WAIT].revents || retry)
                        client_wait_continue(pump->stream->wait);
                if (set[INPUT].revents)
                        r = read_input(pump);
                if (r == 0 && (set[SOCKET].revents & POLLOUT))
                        r = flush_input(pump);
                if (r == 0 && (set[SOCKET].revents & ~POLLOUT))
                        r = read_output(pump, piece);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
}

int client_stream_run(ClientStream *stream, Error *error)
{
        CLEANUP(pump_clear) Pump pump = { .stream = stream, .signals = -EBADF, .input_open = stream->input };
        sigset_t set = signal_set();
        int r;

        pump.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (pump.signals < 0)
                return error_set(error, OUTCOME_FAILED, "cannot watch signals: %s", strerror(errno));
        if (stream->terminal && stream->input) {
                pump.n_keys = client_terminal_detach_keys(stream->detach_keys, pump.keys);
                if (isatty(STDIN_FILENO))
                        client_terminal_raw(STDIN_FILENO);
        }
        if (stream->terminal)
                side_queue(&pump, 0);
        r = write_output(&pump, stream->early->data ?: "", stream->early->size);
        if (r == 0)
                r = pump_run(&pump);
        client_terminal_restore();
        client_stream_unblock_signals();
        stream->detached =
                pump.n_keys > 0 && pump.n_matched == pump.n_keys && !(stream->wait && stream->wait->answered);
        if (r < 0 && r != -EPIPE)
                return error_set(error, OUTCOME_FAILED, "the stream of the container broke: %s", strerror(-r));
        return 0;
}
