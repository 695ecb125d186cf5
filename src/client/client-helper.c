/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One short-lived child a question. The question goes through a socket, which a child that does not read can't turn
 * into a SIGPIPE; it is far smaller than a socket's buffer. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-helper.h"
#include "client.h"

#define ANSWER_MAX (1024u * 1024)
#define PIECE_SIZE 4096
#define NOT_FOUND "credentials not found in native keychain"

static void run_child(const char *program, const char *action, int in, int out)
{
        if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
                _exit(127);
        execlp(program, program, action, NULL);
        fprintf(stderr, "exec: \"%s\": %s\n", program,
                errno == ENOENT ? "executable file not found in $PATH" : strerror(errno));
        _exit(127);
}

static int wait_for_child(pid_t pid)
{
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int read_answer(int fd, Buffer *answer)
{
        for (;;) {
                ssize_t n = buffer_read(answer, fd, PIECE_SIZE);

                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        return n;
                if (answer->size > ANSWER_MAX)
                        return -EFBIG;
        }
}

/* Runs the helper. Its exit status, or a negative errno where it could not be run. */
static int run_helper(const char *program, const char *action, const char *question, Buffer *answer)
{
        CLEANUP_CLOSE int near = -EBADF, far = -EBADF, out_near = -EBADF, out_far = -EBADF;
        int sockets[2], pipes[2], r, status;
        pid_t pid;

        r = socket_pair(SOCK_STREAM, sockets);
        if (r < 0)
                return r;
        near = sockets[0];
        far = sockets[1];
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        out_near = pipes[0];
        out_far = pipes[1];
        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_child(program, action, far, out_far);
        far = fd_close(far);
        out_far = fd_close(out_far);
        /* What a helper does not read, it does not want. */
        r = send(near, question, strlen(question), MSG_NOSIGNAL) < 0 && errno != EPIPE ? -errno : 0;
        near = fd_close(near);
        if (r == 0)
                r = read_answer(out_near, answer);
        out_near = fd_close(out_near);
        status = wait_for_child(pid);
        while (answer->size > 0 && strchr(" \r\n\t", answer->data[answer->size - 1]))
                answer->data[--answer->size] = 0;
        return r < 0 ? r : status;
}

static int ask(const char *name, const char *action, const char *verb, const char *question, Buffer *answer,
               Error *error)
{
        CLEANUP_FREE char *program = client_must(str_printf("docker-credential-%s", name));
        int status = run_helper(program, action, question, answer);

        if (status == 0 || str_equal(answer->data, NOT_FOUND))
                return 0;
        if (status < 0)
                return error_set(error, OUTCOME_FAILED, "error %s credentials - err: %s", verb, strerror(-status));
        return error_set(error, OUTCOME_FAILED, "error %s credentials - err: exit status %d, out: `%s`", verb, status,
                         answer->data ?: "");
}

int client_helper_get(const char *name, const char *server, json_t **ret, Error *error)
{
        CLEANUP_BUFFER Buffer answer = {};
        CLEANUP_JSON json_t *found = NULL;
        int r = ask(name, "get", "getting", server, &answer, error);

        if (r != 0)
                return r;
        if (!str_equal(answer.data, NOT_FOUND)) {
                found = json_loadb(answer.data ?: "", answer.size, 0, NULL);
                if (!json_is_object(found))
                        return error_set(error, OUTCOME_FAILED,
                                         "error getting credentials - docker-credential-%s did not answer in JSON",
                                         name);
        }
        *ret = TAKE_PTR(found);
        return 0;
}

int client_helper_store(const char *name, const char *server, const char *user, const char *secret, Error *error)
{
        CLEANUP_JSON json_t *entry =
                client_must(json_pack("{s:s,s:s,s:s}", "ServerURL", server, "Username", user, "Secret", secret));
        CLEANUP_FREE char *compact = client_must(json_dumps(entry, JSON_COMPACT));
        CLEANUP_FREE char *text = client_must(str_printf("%s\n", compact));
        CLEANUP_BUFFER Buffer answer = {};

        return ask(name, "store", "storing", text, &answer, error);
}

int client_helper_erase(const char *name, const char *server, Error *error)
{
        CLEANUP_BUFFER Buffer answer = {};

        return ask(name, "erase", "erasing", server, &answer, error);
}
