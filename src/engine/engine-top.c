/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The processes of a container as the host's ps(1) shows them: a worker runs it with the arguments that were asked for
 * and keeps the lines of the container's processes. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define BLANKS "\t\n\v\f\r "
#define OUTPUT_MAX (16u << 20)
#define READ_SIZE 65536u
#define PROCS_MAX (1u << 20)

typedef struct Top {
        Engine *engine;
        char *group; /* the container's; owned */
        char **arguments;
        EngineJsonDone done;
        void *userdata;
} Top;

static void top_free(Top *top)
{
        free(top->group);
        strv_free(top->arguments);
        free(top);
}

/* --- The container's processes ------------------------------------------------------------------------------------ */

typedef struct Pids {
        int64_t *list;
        size_t n;
} Pids;

static void pids_clear(Pids *pids)
{
        free(pids->list);
}

static bool pids_have(const Pids *pids, int64_t pid)
{
        for (size_t i = 0; i < pids->n; i++)
                if (pids->list[i] == pid)
                        return true;
        return false;
}

static int pids_add(Pids *pids, const char *text)
{
        char *end;

        for (const char *next = text; *next; next = end) {
                long pid = strtol(next, &end, 10);
                if (end == next)
                        break;
                int64_t *list = reallocarray(pids->list, pids->n + 1, sizeof(*list));
                if (!list)
                        return -ENOMEM;
                pids->list = list;
                pids->list[pids->n++] = pid;
        }
        return 0;
}

/* Of the group and those below it: a program may make its own. */
static int pids_collect(int parent, const char *name, Pids *pids)
{
        CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        CLEANUP_FREE char *text = NULL;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        int r = file_read_at(fd, "cgroup.procs", PROCS_MAX, &text, NULL);
        if (r == -EOPNOTSUPP) /* a threaded group: its processes are its parent's */
                return 0;
        r = r < 0 ? r : pids_add(pids, text);

        CLEANUP_CLOSEDIR DIR *directory = r < 0 ? NULL : fdopendir(dup(fd));
        struct dirent *entry;
        while (directory && r >= 0 && (entry = readdir(directory)))
                if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
                        r = pids_collect(fd, entry->d_name, pids);
        return r;
}

/* --- ps ----------------------------------------------------------------------------------------------------------- */

/* What the program wrote, and the first line of its complaint where it failed (positive result). */
static int run_ps(char *const argv[], Buffer *output, Buffer *complaint)
{
        int out[2], complaints = memfd_create("ps", MFD_CLOEXEC);
        CLEANUP_CLOSE int owned = complaints;
        posix_spawn_file_actions_t actions;
        char *const environment[] = { (char *) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
        char line[512];
        pid_t pid;
        int status;

        if (complaints < 0 || pipe2(out, O_CLOEXEC) < 0)
                return -errno;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, complaints, STDERR_FILENO);
        int r = -posix_spawnp(&pid, "ps", &actions, NULL, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        fd_close(out[1]);
        while (r >= 0 && output->size < OUTPUT_MAX && buffer_read(output, out[0], READ_SIZE) > 0)
                ;
        fd_close(out[0]);
        if (r < 0)
                return r;
        if (waitpid(pid, &status, 0) < 0)
                return -errno;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        ssize_t n = pread(complaints, line, sizeof(line) - 1, 0);
        line[MAX(n, 0)] = 0;
        line[strcspn(line, "\n")] = 0;
        buffer_clear(complaint);
        return buffer_append_string(complaint, line[0] ? line : "it failed") < 0 ? -ENOMEM : 1;
}

static int call_ps(const Top *top, const Pids *pids, Buffer *output, Error *error)
{
        CLEANUP_STRV char **argv = NULL;
        CLEANUP_BUFFER Buffer chosen = { 0 }, complaint = { 0 };

        buffer_append_string(&chosen, "-q");
        for (size_t i = 0; i < pids->n; i++)
                buffer_printf(&chosen, i > 0 ? ",%lld" : "%lld", (long long) pids->list[i]);
        CLEANUP_FREE char *choice = buffer_take(&chosen);
        int r = choice ? strv_append(&argv, "ps") : -ENOMEM;
        for (size_t i = 0; r >= 0 && top->arguments[i]; i++)
                r = strv_append(&argv, top->arguments[i]);
        size_t n = strv_length(argv);
        if (r >= 0)
                r = strv_append(&argv, choice);
        if (r >= 0)
                r = run_ps(argv, output, &complaint);
        if (r > 0) { /* some options go with no choice of processes */
                free(argv[n]);
                argv[n] = NULL;
                buffer_clear(output);
                r = run_ps(argv, output, &complaint);
        }
        if (r == -ENOENT)
                return error_set(error, OUTCOME_FAILED,
                                 "ps: the program is not installed on this host (package procps)");
        if (r > 0)
                return error_set(error, OUTCOME_FAILED, "ps: %.*s", (int) complaint.size, complaint.data);
        return r;
}

/* --- Its table ---------------------------------------------------------------------------------------------------- */

/* The words of the line, at most MAX, the last of which takes the rest with single blanks. */
static json_t *split(char *line, size_t max)
{
        CLEANUP_JSON json_t *words = json_array();
        CLEANUP_BUFFER Buffer rest = { 0 };
        char *state = NULL;

        for (char *word = strtok_r(line, BLANKS, &state); word; word = strtok_r(NULL, BLANKS, &state)) {
                if (json_array_size(words) + 1 < max)
                        json_array_append_new(words, json_stringn_nocheck(word, strlen(word)));
                else
                        buffer_printf(&rest, rest.size > 0 ? " %s" : "%s", word);
        }
        if (rest.size > 0)
                json_array_append_new(words, json_stringn_nocheck(rest.data, rest.size));
        return TAKE_PTR(words);
}

static int title_index(const json_t *titles)
{
        json_t *title;
        size_t i;

        json_array_foreach((json_t *) titles, i, title)
                if (str_equal(json_string_value(title), "PID"))
                        return (int) i;
        return -1;
}

static int parse(char *text, const Pids *pids, json_t **ret_table, Error *error)
{
        char *state = NULL, *line = strtok_r(text, "\n", &state);
        CLEANUP_JSON json_t *titles = line ? split(line, SIZE_MAX) : json_array(), *processes = json_array();
        int index = title_index(titles);
        bool ours = false; /* the process above: lines of its threads have no number */

        if (index < 0)
                return error_set(error, OUTCOME_FAILED, "Couldn't find PID field in ps output");
        while ((line = strtok_r(NULL, "\n", &state))) {
                CLEANUP_JSON json_t *words = split(line, json_array_size(titles));
                const char *text_of_pid = json_string_value(json_array_get(words, (size_t) index));
                int64_t pid;

                if (!text_of_pid)
                        continue;
                if (!str_equal(text_of_pid, "-")) {
                        if (str_to_int64(text_of_pid, 0, INT64_MAX, &pid) < 0)
                                return error_set(error, OUTCOME_FAILED, "Unexpected pid '%s'", text_of_pid);
                        ours = pids_have(pids, pid);
                }
                if (ours)
                        json_array_append(processes, words);
        }
        *ret_table = json_pack("{sO sO}", "Titles", titles, "Processes", processes);
        return *ret_table ? 0 : -ENOMEM;
}

static int run_top(void *userdata, int result_fd)
{
        const Top *top = userdata;
        CLEANUP(pids_clear) Pids pids = { 0 };
        CLEANUP_BUFFER Buffer output = { 0 };
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *table = NULL;
        int r = pids_collect(AT_FDCWD, top->group, &pids);

        if (r >= 0)
                r = call_ps(top, &pids, &output, &error);
        if (r == 0) {
                CLEANUP_FREE char *text = buffer_take(&output);
                r = text ? parse(text, &pids, &table, &error) : -ENOMEM;
        }
        return engine_worker_answer(result_fd, r, table, &error);
}

/* --- The engine's side -------------------------------------------------------------------------------------------- */

static void top_done(int status, const char *text, size_t size, void *userdata)
{
        Top *top = userdata;
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *table = NULL;
        int r = engine_worker_result(status, text, size, &table, &error);

        top->done(r, table, &error, top->userdata);
        top_free(top);
}

/* A column that is called PID and holds something else would choose the wrong lines. */
static int check_arguments(char *const *arguments, Error *error)
{
        for (size_t i = 0; arguments[i]; i++) {
                const char *equals = strchr(arguments[i], '=');
                const char *title = equals && equals[1] ? equals + 1 : equals ? arguments[i + 1] : NULL;

                if (i == 0 || !title || !str_after_prefix(title, "PID") || str_after_prefix(arguments[i], "pid="))
                        continue;
                return error_set(error, OUTCOME_FAILED, "specifying \"%.*s=%s\" is not allowed",
                                 (int) (equals - arguments[i]), arguments[i], title);
        }
        return 0;
}

static int divide(const char *text, char ***ret_arguments)
{
        CLEANUP_STRV char **list = NULL;
        CLEANUP_FREE char *copy = strdup(str_empty(text) ? "-ef" : text);
        char *state = NULL;
        int r = copy ? 0 : -ENOMEM;

        for (char *word = copy ? strtok_r(copy, BLANKS, &state) : NULL; word && r >= 0;
             word = strtok_r(NULL, BLANKS, &state))
                r = strv_append(&list, word);
        if (r >= 0 && !list)
                r = strv_append(&list, "-ef");
        if (r >= 0)
                *ret_arguments = TAKE_PTR(list);
        return r;
}

static int prepare(const Container *container, const char *arguments, Top *top, Error *error)
{
        CLEANUP_FREE char *scope = container_scope_path(container);

        if (container->restarting)
                return container_restarting_refusal(container, error);
        if (!container_is_running(container))
                return container_not_running(container, error);
        top->group = scope ? path_join(scope, "payload") : NULL;
        int r = top->group ? divide(arguments, &top->arguments) : -ENOMEM;
        return r < 0 ? r : check_arguments(top->arguments, error);
}

void container_top(Container *container, const char *arguments, EngineJsonDone done, void *userdata)
{
        CLEANUP_ERROR Error error = { 0 };
        Top *top = calloc(1, sizeof(*top));
        int r = top ? prepare(container, arguments, top, &error) : -ENOMEM;

        if (r == 0) {
                *top = (Top) { container->engine, top->group, top->arguments, done, userdata };
                WorkerJob job = { .run = run_top, .done = top_done, .userdata = top };
                r = engine_worker_start(container->engine, &job);
        }
        if (r == 0) {
                container_event_emit(container, "top", NULL);
                return;
        }
        if (top)
                top_free(top);
        done(r, NULL, &error, userdata);
}
