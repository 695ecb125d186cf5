/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Long jobs in processes of their own. A worker shares nothing with the engine after the fork but the pipe that its
 * result comes back through; it changes no metadata. */
#include <linux/close_range.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

#define RESULT_SIZE_MAX (64u * 1024 * 1024)

struct Worker {
        LIST_ENTRY(Worker) link;
        Engine *engine;
        pid_t pid;
        int pidfd;
        int result_fd;
        sd_event_source *exit, *readable;
        Buffer result;
        bool exited, read_all;
        JournalCaller caller; /* who is to thank for what it did */
        int status;
        void (*done)(int status, const char *result, size_t size, void *userdata);
        void (*line)(const char *line, size_t size, void *userdata);
        void *userdata;
};

static void worker_free(Worker *worker)
{
        sd_event_source_disable_unref(worker->exit);
        sd_event_source_disable_unref(worker->readable);
        fd_close(worker->pidfd);
        fd_close(worker->result_fd);
        buffer_clear(&worker->result);
        LIST_REMOVE(worker, link);
        free(worker);
}

static void finish_if_complete(Worker *worker)
{
        if (!worker->exited || !worker->read_all)
                return;
        Engine *engine = worker->engine;
        engine->caller = worker->caller;
        worker->done(worker->status, worker->result.data, worker->result.size, worker->userdata);
        worker_free(worker);
        engine_set_caller(engine, 0, 0);
        engine_job_end(engine);
}

static int on_exit_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Worker *worker = userdata;
        siginfo_t info = { 0 };
        (void) source;
        (void) fd;
        (void) revents;

        sd_event_source_set_enabled(worker->exit, SD_EVENT_OFF);
        worker->status = -EIO;
        if (waitid(P_PIDFD, (id_t) worker->pidfd, &info, WEXITED) == 0 && info.si_code == CLD_EXITED)
                worker->status = -info.si_status;
        worker->exited = true;
        finish_if_complete(worker);
        return 0;
}

static void pass_lines(Worker *worker)
{
        Buffer *result = &worker->result;
        size_t size;

        while (worker->line && buffer_line(result, &size)) {
                worker->line(result->data, size, worker->userdata);
                buffer_consume(result, size + 1);
        }
}

void worker_kill(Worker *worker)
{
        kill(worker->pid, SIGKILL);
}

int worker_send(Worker *worker, const char *text)
{
        size_t size = strlen(text);
        ssize_t n = send(worker->result_fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        return n < 0 ? -errno : (size_t) n == size ? 0 : -EAGAIN;
}

int worker_send_fd(Worker *worker, const char *text, int fd)
{
        return fd < 0 ? worker_send(worker, text) : socket_send_fds(worker->result_fd, text, strlen(text), &fd, 1);
}

static int on_result(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        Worker *worker = userdata;
        (void) source;
        (void) revents;

        ssize_t n = buffer_read(&worker->result, fd, 65536);
        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n > 0)
                pass_lines(worker);
        if (n <= 0 || worker->result.size > RESULT_SIZE_MAX) {
                sd_event_source_set_enabled(worker->readable, SD_EVENT_OFF);
                worker->read_all = true;
                finish_if_complete(worker);
        }
        return 0;
}

static int compare_fds(const void *a, const void *b)
{
        return *(const int *) a - *(const int *) b;
}

/* Closes all but the standard descriptors and those given. */
static void close_others(const WorkerJob *job, int result_fd)
{
        int keep[35], network_fd = store_worker_network();
        size_t n = 0;
        unsigned next = 3;

        for (size_t i = 0; i < job->n_keep_fds && n < ARRAY_SIZE(keep) - 2; i++)
                keep[n++] = job->keep_fds[i];
        keep[n++] = result_fd;
        if (network_fd >= 0)
                keep[n++] = network_fd;
        qsort(keep, n, sizeof(int), compare_fds);
        for (size_t i = 0; i < n; i++) {
                if (keep[i] < (int) next)
                        continue;
                if ((unsigned) keep[i] > next)
                        syscall(SYS_close_range, next, (unsigned) keep[i] - 1, 0);
                next = (unsigned) keep[i] + 1;
        }
        syscall(SYS_close_range, next, UINT_MAX, 0);
}

static _Noreturn void run_child(const WorkerJob *job, pid_t parent, int result_fd)
{
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (!job->detached && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
                _exit(1);
        close_others(job, result_fd);
        int r = job->run(job->userdata, result_fd);
        _exit(MIN(abs(r), 255));
}

static int watch_worker(Engine *engine, const WorkerJob *job, pid_t pid, int *result_fd)
{
        CLEANUP_CLOSE int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        Worker *worker = calloc(1, sizeof(*worker));

        if (pidfd < 0 || !worker) {
                free(worker);
                return -ENOMEM;
        }
        LIST_INSERT_HEAD(&engine->workers, worker, link);
        worker->engine = engine;
        worker->caller = engine->caller;
        worker->pid = pid;
        worker->pidfd = TAKE_FD(pidfd);
        worker->result_fd = TAKE_FD(*result_fd);
        worker->done = job->done;
        worker->line = job->line;
        worker->userdata = job->userdata;
        fd_set_nonblock(worker->result_fd, true);
        int r = sd_event_add_io(engine->event, &worker->exit, worker->pidfd, EPOLLIN, on_exit_event, worker);
        if (r >= 0)
                r = sd_event_add_io(engine->event, &worker->readable, worker->result_fd, EPOLLIN, on_result, worker);
        if (r < 0) {
                worker_free(worker);
                return r;
        }
        if (job->ret_worker)
                *job->ret_worker = worker;
        engine_job_begin(engine);
        return 0;
}

int engine_worker_start(Engine *engine, const WorkerJob *job)
{
        int fds[2];
        int r = socket_pair(SOCK_STREAM, fds);
        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];

        pid_t parent = getpid(), pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                if (job->detached && fork() != 0) /* its own parent is gone at once: nobody has to reap it */
                        _exit(0);
                run_child(job, parent, theirs);
        }
        if (job->detached) {
                waitpid(pid, NULL, 0);
                if (job->ret_end_fd)
                        *job->ret_end_fd = TAKE_FD(ours);
                return 0;
        }
        r = watch_worker(engine, job, pid, &ours);
        if (r < 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
        }
        return r;
}

void engine_workers_free(Engine *engine)
{
        Worker *worker;

        while ((worker = LIST_FIRST(&engine->workers))) {
                kill(worker->pid, SIGKILL);
                waitpid(worker->pid, NULL, 0);
                worker_free(worker);
        }
}

/* --- What workers and the engine tell each other ------------------------------------------------------------------ */

void engine_worker_raise_files(void)
{
        struct rlimit files;

        if (getrlimit(RLIMIT_NOFILE, &files) >= 0) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
}

int engine_worker_answer(int result_fd, int r, const json_t *result, const Error *error)
{
        CLEANUP_JSON json_t *failure = NULL;

        if (r != 0)
                failure = json_pack("{ss si}", "Failure", error->message ? error->message : strerror(abs(r)), "Outcome",
                                    r > 0 ? r : 0);
        CLEANUP_FREE char *text = json_dumps(r != 0 ? failure : result, JSON_COMPACT | JSON_ENCODE_ANY);
        return text ? fd_write_all(result_fd, text, strlen(text)) : -ENOMEM;
}

int engine_worker_result(int status, const char *text, size_t size, json_t **ret_result, Error *error)
{
        CLEANUP_JSON json_t *value = size > 0 ? json_loadb(text, size, JSON_DECODE_ANY, NULL) : NULL;
        const char *failure = json_get_string(value, "Failure");
        int64_t outcome = json_get_int(value, "Outcome", 0);

        if (failure)
                return error_set(error,
                                 outcome > 0 && outcome <= OUTCOME_UNAVAILABLE ? (Outcome) outcome : OUTCOME_FAILED,
                                 "%s", failure);
        if (status < 0 || !value)
                return error_set(error, OUTCOME_FAILED, "the worker that did this ended early");
        *ret_result = TAKE_PTR(value);
        return 0;
}
