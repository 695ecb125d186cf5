/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth cp. What a copy is called at its destination follows from five questions: is the source a directory, does the
 * destination exist, is it a directory, and does either path end with "/" or "/.". The archive's first path element is
 * exchanged accordingly, while it is made or while it is extracted. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/base64.h"
#include "berth/json.h"
#include "client-path.h"
#include "client-text.h"
#include "client-unpack.h"
#include "client.h"

#define STAT_HEADER "x-docker-container-path-stat"
#define LINKS_MAX 10
/* Go's os.FileMode. */
#define GO_DIRECTORY (INT64_C(1) << 31)
#define GO_LINK (INT64_C(1) << 27)
#define GO_DEVICE (INT64_C(1) << 26)
#define GO_SPECIAL (GO_DEVICE | INT64_C(1) << 25 | INT64_C(1) << 24 | INT64_C(1) << 21 | INT64_C(1) << 19)

/* One side of a copy. */
typedef struct Side {
        char *path;   /* owned */
        char *rebase; /* the name wanted for what a link leads to; owned, NULL for its own */
        bool exists, directory;
} Side;

static void side_clear(Side *side)
{
        free(side->path);
        free(side->rebase);
}

typedef struct Copy {
        Client *client;
        const char *container; /* owned by the arguments' copy */
        char *inner, *outer;   /* paths in the container and here; borrowed */
        bool follow, owners, loud;
} Copy;

/* --- what is in the container --- */

static int read_stat(HttpClient *http, json_t **ret, Error *error)
{
        const char *header = http_client_header(http, STAT_HEADER);
        CLEANUP_FREE char *text = NULL;
        CLEANUP_JSON json_t *stat = NULL;
        size_t size;

        if (header && base64_decode(header, &text, &size) == 0)
                stat = json_loadb(text, size, 0, NULL);
        if (!json_is_object(stat))
                return error_set(error, OUTCOME_FAILED, "unable to decode container path stat header");
        *ret = TAKE_PTR(stat);
        return 0;
}

/* What PATH is in the container. 1 where it is not there. */
static int stat_inner(const Copy *copy, const char *path, json_t **ret, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", copy->container, "archive");
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        int r;

        target_add(&target, "path", path);
        r = client_connect(copy->client, &http, error);
        if (r == 0)
                r = client_send(http, "HEAD", target.data, NULL, false, error);
        if (r != 0)
                return r;
        r = http_client_read_head(http);
        if (r < 0)
                return client_transport_error(copy->client, r, error);
        if (r == 404)
                return -ENOENT;
        if (r >= 400)
                return error_set(error, OUTCOME_FAILED, "Error response from daemon: status %d", r);
        return read_stat(http, ret, error);
}

/* A link's target, as a path like the link's own. */
static char *follow_link(const char *path, const json_t *stat)
{
        const char *target = json_get_string_or(stat, "linkTarget", "");
        CLEANUP_FREE char *parent = NULL, *joined = NULL;

        if (*target == '/')
                return client_must(strdup(target));
        parent = client_path_parent(path);
        joined = client_must(str_printf("%s/%s", parent, target));
        return client_path_clean(joined);
}

/* --- names --- */

/* PATH was found to be RESOLVED: keeps its "/" or "/." and, if the last parts differ, the name it was asked by. */
static void set_resolved(Side *side, const char *path, const char *resolved)
{
        CLEANUP_FREE char *text = client_must(strdup(resolved)), *name = client_path_base(path), *other = NULL;

        if (client_path_says_current(path) && !client_path_says_current(text)) {
                free(side->path);
                side->path = client_must(str_printf("%s/.", text));
        } else if (str_has_suffix(path, "/") && !str_has_suffix(text, "/")) {
                free(side->path);
                side->path = client_must(str_printf("%s/", text));
        } else {
                free(side->path);
                side->path = TAKE_PTR(text);
        }
        other = client_path_base(side->path);
        if (strcmp(name, other) != 0) {
                free(side->rebase);
                side->rebase = TAKE_PTR(name);
        }
}

/* Decides what the copy is called and in which directory it is made. RET_BASE: NULL to keep its own name. */
static int place(const Side *from, const Side *to, char **ret_directory, char **ret_base, Error *error)
{
        if (to->exists && to->directory) {
                *ret_directory = client_must(strdup(to->path));
                *ret_base = NULL;
                return 0;
        }
        if (to->exists && from->directory)
                return error_set(error, OUTCOME_BAD_REQUEST, "cannot copy directory");
        if (!to->exists && !from->directory && client_path_says_directory(to->path))
                return error_set(error, OUTCOME_BAD_REQUEST, "no such directory");
        *ret_directory = client_path_parent(to->path);
        *ret_base = client_path_base(to->path);
        return 0;
}

/* --- progress --- */

static void show_progress(const Copy *copy, const char *what, int64_t bytes)
{
        CLEANUP_FREE char *size = NULL;

        if (!copy->loud)
                return;
        size = client_must(text_size((double) bytes, 3));
        fprintf(stderr, "\r\033[K%s - %s", what, size);
}

static void show_done(const Copy *copy, int64_t bytes, const char *container, const char *path)
{
        CLEANUP_FREE char *size = NULL;

        if (!copy->loud)
                return;
        size = client_must(text_size((double) bytes, 3));
        fprintf(stderr, "\r\033[KSuccessfully copied %s to %s%s%s\n", size, container, *container ? ":" : "", path);
}

/* --- from the container --- */

typedef struct Download {
        const Copy *copy;
        HttpClient *http;
        int64_t count, shown;
} Download;

static ssize_t read_download(void *userdata, void *data, size_t size)
{
        Download *download = userdata;
        Buffer *body = http_client_body(download->http);
        size_t n;

        while (body->size == 0 && !http_client_complete(download->http)) {
                int r = http_client_step(download->http);

                if (r < 0)
                        return r;
        }
        n = MIN(size, body->size);
        memcpy(data, body->data ?: "", n);
        buffer_consume(body, n);
        download->count += (int64_t) n;
        if (download->count - download->shown >= 1 << 20) {
                show_progress(download->copy, "Copying from container", download->count);
                download->shown = download->count;
        }
        return (ssize_t) n;
}

/* Where links at PATH lead to in the end, though there need be nothing. */
static char *resolve_links(const char *path)
{
        char *current = client_must(strdup(path)), target[PATH_MAX];

        for (unsigned i = 0; i < LINKS_MAX; i++) {
                ssize_t n = readlink(current, target, sizeof(target) - 1);
                CLEANUP_FREE char *parent = NULL, *last = current;

                if (n < 0) {
                        last = NULL;
                        break;
                }
                target[n] = 0;
                parent = client_path_parent(current);
                current = client_must(*target == '/' ? strdup(target) : str_printf("%s/%s", parent, target));
        }
        return current;
}

static int examine_target(const char *path, Side *to, Error *error)
{
        struct stat st;

        to->path = resolve_links(path);
        if (stat(to->path, &st) == 0) {
                to->exists = true;
                to->directory = S_ISDIR(st.st_mode);
                if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid output path: \"%s\" must be a directory or a regular file", path);
                return 0;
        }
        CLEANUP_FREE char *parent = client_path_parent(to->path);

        if (stat(parent, &st) < 0)
                return error_set(error, OUTCOME_NOT_FOUND, "invalid output path: directory \"%s\" does not exist",
                                 parent);
        return S_ISDIR(st.st_mode) ? 0 : error_set(error, OUTCOME_BAD_REQUEST, "not a directory");
}

static int unpack_download(const Copy *copy, HttpClient *http, const Side *from, const char *target, Error *error)
{
        CLEANUP_FREE char *directory = NULL, *base = NULL;
        CLEANUP_FREE char *sent = client_path_base(from->path);
        CLEANUP(side_clear) Side to = {};
        Download download = { .copy = copy, .http = http };
        TarReader reader = { .read = read_download, .userdata = &download };
        ClientUnpack unpack = { .owners = copy->owners };
        int r = examine_target(target, &to, error);

        if (r == 0)
                r = place(from, &to, &directory, &base, error);
        if (r != 0)
                return r;
        unpack.directory = directory;
        unpack.new_base = base ?: from->rebase;
        unpack.old_base = unpack.new_base ? sent : NULL;
        r = client_unpack(&unpack, &reader, error);
        /* What follows the end of the archive is read too, so that the size told is that of all of it. */
        while (r == 0) {
                char rest[4096];
                ssize_t n = read_download(&download, rest, sizeof(rest));

                if (n < 0)
                        return client_transport_error(copy->client, (int) n, error);
                if (n == 0)
                        break;
        }
        if (r == 0)
                show_done(copy, download.count, "", target);
        return r;
}

static int copy_from(const Copy *copy, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", copy->container, "archive");
        CLEANUP_FREE char *outer = strcmp(copy->outer, "-") == 0 ? NULL : client_path_absolute(copy->outer);
        CLEANUP(side_clear) Side from = { .path = client_must(strdup(copy->inner)), .exists = true }, check = {};
        CLEANUP_JSON json_t *stat = NULL;
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        HttpClientRequest request = { .method = "GET" };
        int r;

        if (outer) {
                r = examine_target(outer, &check, error);
                if (r != 0)
                        return r;
        } else if (isatty(STDOUT_FILENO)) {
                return error_set(error, OUTCOME_BAD_REQUEST, "refusing to write an archive to a terminal");
        }
        if (copy->follow && stat_inner(copy, from.path, &stat, NULL) == 0 &&
            (json_get_int(stat, "mode", 0) & GO_LINK)) {
                CLEANUP_FREE char *resolved = follow_link(from.path, stat);

                set_resolved(&from, copy->inner, resolved);
        }
        target_add(&target, "path", from.path);
        request.target = target.data;
        r = client_open(copy->client, &request, &http, error);
        if (r != 0)
                return r;
        if (!outer)
                return client_copy_body(copy->client, http, STDOUT_FILENO, error);
        if (stat)
                json_decref(TAKE_PTR(stat));
        r = read_stat(http, &stat, error);
        from.directory = json_get_int(stat, "mode", 0) & GO_DIRECTORY;
        return r != 0 ? r : unpack_download(copy, http, &from, outer, error);
}

/* --- to the container --- */

/* What is at PATH here: a link is followed where that was asked for or the path says that it is a directory. */
static int examine_source(const Copy *copy, const char *path, Side *from, Error *error)
{
        CLEANUP_FREE char *resolved = NULL;
        struct stat st;

        from->path = client_must(strdup(path));
        if (copy->follow || client_path_says_directory(path)) {
                resolved = realpath(path, NULL);
                if (!resolved)
                        return error_set(error, OUTCOME_NOT_FOUND, "lstat %s: %s", path,
                                         errno == ENOENT ? "no such file or directory" : strerror(errno));
                set_resolved(from, path, resolved);
        }
        if (lstat(from->path, &st) < 0)
                return error_set(error, OUTCOME_NOT_FOUND, "lstat %s: %s", path,
                                 errno == ENOENT ? "no such file or directory" : strerror(errno));
        from->exists = true;
        from->directory = S_ISDIR(st.st_mode);
        return 0;
}

static int examine_inner(const Copy *copy, Side *to, Error *error)
{
        CLEANUP_JSON json_t *stat = NULL;
        int64_t mode;
        int r;

        to->path = client_must(strdup(copy->inner));
        r = stat_inner(copy, to->path, &stat, error);
        if (r == 0 && (json_get_int(stat, "mode", 0) & GO_LINK)) {
                CLEANUP_FREE char *resolved = follow_link(to->path, stat);

                free(to->path);
                to->path = TAKE_PTR(resolved);
                json_decref(TAKE_PTR(stat));
                r = stat_inner(copy, to->path, &stat, error);
        }
        if (r != 0) {
                /* Perhaps only the last part is missing; if there is more to it, the upload fails. */
                error_clear(error);
                return 0;
        }
        mode = json_get_int(stat, "mode", 0);
        if (mode & GO_SPECIAL)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "destination \"%s:%s\" must be a directory or a regular file", copy->container,
                                 copy->inner);
        to->exists = true;
        to->directory = mode & GO_DIRECTORY;
        return 0;
}

static int upload(const Copy *copy, const char *directory, int fd, Error *error)
{
        CLEANUP_BUFFER Buffer target = target_make("containers", copy->container, "archive");
        CLEANUP_HTTP_CLIENT HttpClient *http = NULL;
        HttpClientRequest request = { .method = "PUT", .content_type = "application/x-tar", .chunked = true };
        int r;

        target_add(&target, "path", directory);
        target_add(&target, "noOverwriteDirNonDir", "true");
        target_add(&target, "copyUIDGID", copy->owners ? "true" : NULL);
        request.target = target.data;
        r = client_connect(copy->client, &http, error);
        if (r != 0)
                return r;
        r = http_client_send(http, &request);
        if (r == 0)
                r = http_client_upload(http, fd, NULL, NULL);
        if (r == 0)
                r = http_client_read_head(http);
        if (r < 0)
                return client_transport_error(copy->client, r, error);
        return r >= 400 ? client_refusal(http, error) : 0;
}

/* The archive is made by a child, which tells in a shared page how far it is. It ends when nobody reads any more. */
static int upload_tree(const Copy *copy, const Side *from, const char *directory, const char *base, int64_t *ret_count,
                       Error *error)
{
        volatile int64_t *count =
                mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CLEANUP_CLOSE int near = -EBADF;
        int pipes[2], status, r;
        pid_t pid;

        if (count == MAP_FAILED || pipe2(pipes, O_CLOEXEC) < 0)
                return error_set(error, OUTCOME_FAILED, "cannot make a pipe: %s", strerror(errno));
        near = pipes[0];
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                CLEANUP_ERROR Error reason = {};

                fd_close(TAKE_FD(near));
                r = client_pack(from->path, base, pipes[1], count, &reason);
                if (r != 0)
                        client_complain("%s", reason.message);
                _exit(r != 0);
        }
        fd_close(pipes[1]);
        if (pid < 0)
                return error_set(error, OUTCOME_FAILED, "fork: %s", strerror(errno));
        r = upload(copy, directory, near, error);
        near = fd_close(near);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        *ret_count = *count;
        munmap((void *) count, sizeof(int64_t));
        if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
                return error_set(error, OUTCOME_FAILED, "the copy is not complete");
        return r;
}

static int copy_to(const Copy *copy, Error *error)
{
        CLEANUP(side_clear) Side from = {}, to = {};
        CLEANUP_FREE char *directory = NULL, *base = NULL, *outer = NULL, *own = NULL;
        int64_t count = 0;
        int r = examine_inner(copy, &to, error);

        if (r != 0)
                return r;
        if (strcmp(copy->outer, "-") == 0) {
                if (!to.directory)
                        return error_set(error, OUTCOME_BAD_REQUEST, "destination \"%s:%s\" must be a directory",
                                         copy->container, copy->inner);
                return upload(copy, to.path, STDIN_FILENO, error);
        }
        outer = client_path_absolute(copy->outer);
        r = examine_source(copy, outer, &from, error);
        if (r == 0)
                r = place(&from, &to, &directory, &base, error);
        if (r != 0)
                return r;
        own = client_path_base(from.path);
        if (strcmp(own, "/") == 0)
                strcpy(own, ".");
        show_progress(copy, "Copying to container", 0);
        r = upload_tree(copy, &from, directory, base ?: from.rebase ?: own, &count, error);
        if (r == 0)
                show_done(copy, count, copy->container, to.path);
        return r;
}

/* --- the command --- */

/* "container:path"; a path that begins with "/" or "." is one of this host. NULL: no container. */
static char *split_container(const char *word, char **ret_path)
{
        const char *colon = strchr(word, ':');

        *ret_path = (char *) word;
        if (*word == '/' || *word == '.' || !colon)
                return NULL;
        *ret_path = (char *) colon + 1;
        return client_must(strndup(word, colon - word));
}

static int run_cp(Client *client, const ClientArguments *arguments)
{
        char *from_path, *to_path;
        CLEANUP_FREE char *from = split_container(arguments->words[0], &from_path);
        CLEANUP_FREE char *to = split_container(arguments->words[1], &to_path);
        CLEANUP_ERROR Error error = {};
        Copy copy = {
                .client = client,
                .container = from ?: to,
                .inner = from ? from_path : to_path,
                .outer = from ? to_path : from_path,
                .follow = client_flag(arguments, "follow-link"),
                .owners = client_flag(arguments, "archive"),
                .loud = client_value(arguments, "quiet")->set ? !client_flag(arguments, "quiet")
                                                              : isatty(STDERR_FILENO),
        };
        int r;

        if (!*arguments->words[0])
                r = error_set(&error, OUTCOME_BAD_REQUEST, "source can not be empty");
        else if (!*arguments->words[1])
                r = error_set(&error, OUTCOME_BAD_REQUEST, "destination can not be empty");
        else if (from && to)
                r = error_set(&error, OUTCOME_BAD_REQUEST, "copying between containers is not supported");
        else if (from)
                r = copy_from(&copy, &error);
        else if (to)
                r = copy_to(&copy, &error);
        else
                r = error_set(&error, OUTCOME_BAD_REQUEST, "must specify at least one container source");
        return r != 0 ? client_fail(&error) : 0;
}

static const ClientOption cp_options[] = {
        { 'a', "archive", OPTION_BOOL, NULL, NULL, "Keep the owners of the files", NULL, NULL, false },
        { 'L', "follow-link", OPTION_BOOL, NULL, NULL, "Copy what a link at SRC_PATH leads to", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Suppress the progress, which only a terminal gets", NULL, NULL,
          false },
        {},
};

const ClientCommand client_cp = {
        .usage = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tberth cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        .summary = "Copy files/folders between a container and the local filesystem",
        .options = cp_options,
        .min_words = 2,
        .max_words = 2,
        .run = run_cp,
};
