/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The getting process has the network and no privileges. Its bytes go into a pipe; how it began and how it ended are a
 * line of JSON each, {"Length":n,"Modified","Disposition"} and {"Outcome","Message"} with outcome 0 for a good end, on
 * another. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "registry-http.h"
#include "registry-privilege.h"

#define LINE_SIZE_MAX 65536
#define WORDS_MAX 1024

typedef struct Get {
        int data_fd, status_fd;
        bool begun;
} Get;

void registry_get_clear(RegistryGet *get)
{
        fd_close(get->data_fd);
        fd_close(get->status_fd);
        free(get->modified);
        free(get->disposition);
        *get = REGISTRY_GET_NONE;
}

/* --- In the getting process --------------------------------------------------------------------------------------- */

static int say(int fd, json_t *what)
{
        CLEANUP_JSON json_t *line = what;
        CLEANUP_FREE char *text = json_line(line);

        return text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;
}

static int begin(Get *get, const RegistryResponse *response)
{
        get->begun = true;
        json_t *line = json_pack("{sI}", "Length", (json_int_t) response->length);
        /* A header that is no text is as good as none. */
        if (line && response->modified)
                json_object_set_new(line, "Modified", json_string(response->modified));
        if (line && response->disposition)
                json_object_set_new(line, "Disposition", json_string(response->disposition));
        return say(get->status_fd, line);
}

static int pass_on(void *userdata, const RegistryResponse *response, const void *data, size_t size)
{
        Get *get = userdata;
        int r = get->begun ? 0 : begin(get, response);

        return r < 0 ? r : fd_write_all(get->data_fd, data, size);
}

static int refuse(const char *url, const RegistryResponse *response, Error *error)
{
        static const struct {
                int status;
                Outcome outcome;
        } outcomes[] = { { 400, OUTCOME_BAD_REQUEST },
                         { 401, OUTCOME_UNAUTHORIZED },
                         { 403, OUTCOME_FORBIDDEN },
                         { 404, OUTCOME_NOT_FOUND } };
        Outcome outcome = OUTCOME_FAILED;
        const char *words = response->body.data ?: "";
        size_t size = MIN(response->body.size, (size_t) WORDS_MAX);

        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
                if (outcomes[i].status == response->status)
                        outcome = outcomes[i].outcome;
        for (; size > 0 && strchr(" \t\r\n", *words); size--)
                words++;
        while (size > 0 && strchr(" \t\r\n", words[size - 1]))
                size--;
        return error_set(error, outcome, "failed to GET %s with status %s: %.*s", url, response->reason, (int) size,
                         words);
}

static int get_url(Get *get, const RegistryConfig *config, const char *url, Error *error)
{
        CLEANUP_REGISTRY_CLIENT RegistryClient *client = NULL;
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        RegistryRequest request = { .method = "GET", .url = url, .write = pass_on, .userdata = get };
        int r = registry_client_new(config, &client, error);

        if (r == 0) {
                registry_client_prepare_others(client);
                r = registry_become_nobody();
        }
        if (r == 0)
                r = registry_client_send(client, &request, &response, error);
        if (r == 0 && (response.status < 200 || response.status > 299))
                r = refuse(url, &response, error);
        if (r == 0 && !get->begun)
                r = begin(get, &response);
        return r == OUTCOME_UNAVAILABLE ? OUTCOME_FAILED : r;
}

static _Noreturn void get_main(Get *get, const RegistryConfig *config, const char *url, pid_t parent)
{
        CLEANUP_ERROR Error error = { 0 };

        signal(SIGPIPE, SIG_IGN);
        if (registry_close_others(get->data_fd, get->status_fd) < 0 || getppid() != parent)
                _exit(1);
        int r = get_url(get, config, url, &error);
        /* The end of the data has to be seen after what there is to say of it. */
        say(get->status_fd,
            json_pack("{si ss}", "Outcome", r, "Message", r == 0 ? "" : error.message ?: strerror(abs(r))));
        _exit(0);
}

/* --- In the process that wants it --------------------------------------------------------------------------------- */

static int read_line(int fd, json_t **ret)
{
        CLEANUP_BUFFER Buffer line = { 0 };

        while (line.size < LINE_SIZE_MAX && (line.size == 0 || line.data[line.size - 1] != '\n')) {
                ssize_t n = buffer_read(&line, fd, 1);

                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? (int) n : -EPIPE;
        }
        *ret = json_loadb(line.data, line.size, 0, NULL);
        return *ret ? 0 : -EBADMSG;
}

static int outcome_of(const json_t *line, Error *error)
{
        int r = (int) json_get_int(line, "Outcome", -EIO);

        return r == 0 ? 0
                      : error_set(error, r > 0 ? (Outcome) r : OUTCOME_FAILED, "%s",
                                  json_get_string_or(line, "Message", "the process that fetches ended early"));
}

static char *copy_text(const json_t *line, const char *key)
{
        const char *text = json_get_string(line, key);

        return text ? strdup(text) : NULL;
}

int registry_get_start(const RegistryConfig *config, const char *url, RegistryGet *ret, Error *error)
{
        CLEANUP(registry_get_clear) RegistryGet get = REGISTRY_GET_NONE;
        CLEANUP_JSON json_t *line = NULL;
        int data[2], status[2];
        pid_t parent = getpid(), pid;

        if (pipe2(data, O_CLOEXEC) < 0)
                return -errno;
        CLEANUP_CLOSE int data_to = data[1];
        get.data_fd = data[0];
        if (pipe2(status, O_CLOEXEC) < 0)
                return -errno;
        CLEANUP_CLOSE int status_to = status[1];
        get.status_fd = status[0];
        (void) fcntl(data_to, F_SETPIPE_SZ, 1024 * 1024);
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                get_main(&(Get) { .data_fd = data_to, .status_fd = status_to }, config, url, parent);
        data_to = fd_close(data_to);
        status_to = fd_close(status_to);
        if (read_line(get.status_fd, &line) < 0 || !json_object_get(line, "Length"))
                return outcome_of(line, error);
        get.length = MAX(json_get_int(line, "Length", 0), (int64_t) 0);
        get.modified = copy_text(line, "Modified");
        get.disposition = copy_text(line, "Disposition");
        *ret = get;
        get = REGISTRY_GET_NONE;
        return 0;
}

int registry_get_finish(RegistryGet *get, Error *error)
{
        CLEANUP_JSON json_t *line = NULL;

        (void) read_line(get->status_fd, &line);
        return outcome_of(line, error);
}
