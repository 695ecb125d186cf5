/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stages side by side. Those that are needed are nodes of a graph, whose edges are the plan's "Needs". One that has all
 * that it needs is built by a process of its own, which asks berthd over a lane of its own and writes what it has to
 * say to a pipe, a line of JSON each:
 *   {"Text":of the steps} {"Message":for the client}
 *   {"Done":{"State":{"Id","Config","Layers"},"Result":of dockerfile_stage(),"Caches"}} or {"Failure","Outcome","Code"}
 * Where nothing else can be done meanwhile no process is made.
 *
 * The client hears of the stages in the Dockerfile's order, each without a word of another: of the first that is not
 * yet over as it goes on, of those behind it when their turn comes. Only where one fails it hears of that at once. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-build-work.h"

#define PROCESSES_MAX 16
#define HELD_MAX (16u * 1024 * 1024)

typedef struct Node {
        bool needed, started, shown;
        size_t first_step; /* the number of the step before its first */
        pid_t pid;         /* 0: no process */
        int fd;            /* owned: what it says; negative: no process */
        Buffer held;       /* whole lines that are not yet told */
        Buffer in;
        json_t *done; /* owned: what it said last */
} Node;

typedef struct Graph {
        BuildWork *work;
        Node *nodes; /* owned */
        size_t count, running;
} Graph;

static void node_stop(Node *node)
{
        if (node->pid > 0) {
                kill(node->pid, SIGKILL);
                while (waitpid(node->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        node->pid = 0;
        node->fd = fd_close(node->fd);
        buffer_clear(&node->held);
        buffer_clear(&node->in);
        json_decref(TAKE_PTR(node->done));
}

static void graph_clear(Graph *graph)
{
        for (size_t i = 0; i < graph->count; i++)
                node_stop(&graph->nodes[i]);
        free(graph->nodes);
}

static int graph_init(Graph *graph, BuildWork *work)
{
        const json_t *stages = json_get_array(work->plan, "Stages");
        size_t step = work->step;

        *graph = (Graph) { .work = work, .nodes = calloc(work->n_stages, sizeof(Node)) };
        if (!graph->nodes)
                return -ENOMEM;
        graph->count = work->n_stages;
        for (size_t i = 0; i < graph->count; i++) {
                const json_t *stage = json_array_get(stages, i);

                graph->nodes[i] = (Node) { .fd = -EBADF, .first_step = step, .needed = json_get_bool(stage, "Needed") };
                if (graph->nodes[i].needed)
                        step += 1 + (size_t) json_get_int(stage, "Commands", 0);
        }
        return 0;
}

static bool is_ready(const Graph *graph, size_t index)
{
        const json_t *stage = json_array_get(json_get_array(graph->work->plan, "Stages"), index);
        json_t *need;
        size_t i;

        if (!graph->nodes[index].needed || graph->nodes[index].started)
                return false;
        json_array_foreach(json_get_array(stage, "Needs"), i, need)
                if (!graph->work->stages[json_integer_value(need)].done)
                        return false;
        return true;
}

/* The first that the client has not heard the end of. */
static size_t front(const Graph *graph)
{
        size_t i = 0;

        while (i < graph->count && (!graph->nodes[i].needed || graph->nodes[i].shown))
                i++;
        return i;
}

/* --- A stage's process -------------------------------------------------------------------------------------------- */

static json_t *describe_stage(const BuildWork *work, const WorkStage *stage)
{
        json_t *state = json_pack("{ss sO}", "Id", stage->state.id, "Layers", stage->state.layers);

        if (state && stage->state.image)
                json_object_set(state, "Config", stage->state.image);
        return json_pack("{s{so sO sO}}", "Done", "State", state, "Result", stage->result, "Caches", work->caches);
}

static _Noreturn void run_process(BuildWork *work, size_t index, int lane_fd, int tell_fd)
{
        CLEANUP_ERROR Error error = { 0 };

        work->rpc_fd = lane_fd;
        work->tell_fd = tell_fd;
        int r = work_stage(work, index, &error);
        CLEANUP_JSON json_t *last =
                r == 0 ? describe_stage(work, &work->stages[index])
                       : json_pack("{ss si si}", "Failure", error.message ? error.message : strerror(abs(r)), "Outcome",
                                   r > 0 ? r : (int) OUTCOME_FAILED, "Code", work->failed_code);
        work_tell(work, json_incref(last));
        _exit(0);
}

static int start_process(Graph *graph, size_t index, Error *error)
{
        BuildWork *work = graph->work;
        Node *node = &graph->nodes[index];
        CLEANUP_CLOSE int lane_fd = -EBADF, read_fd = -EBADF, write_fd = -EBADF;
        int fds[2], r = work_lane(work, &lane_fd, error);

        if (r != 0)
                return r;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        read_fd = fds[0];
        write_fd = fds[1];
        work->step = node->first_step;
        pid_t parent = getpid(), pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                run_process(work, index, TAKE_FD(lane_fd), TAKE_FD(write_fd));
        }
        fd_set_nonblock(read_fd, true);
        node->pid = pid;
        node->fd = TAKE_FD(read_fd);
        node->started = true;
        graph->running++;
        return 0;
}

/* --- What it says ------------------------------------------------------------------------------------------------- */

static void tell_line(BuildWork *work, const char *text, size_t size)
{
        CLEANUP_JSON json_t *line = json_loadb(text, size, 0, NULL);
        json_t *said = json_object_get(line, "Text"), *message = json_object_get(line, "Message");

        if (said)
                work_say_text(work, json_string_value(said) ?: "", json_string_length(said));
        else if (message)
                work_send(work, json_incref(message));
}

static void tell_held(BuildWork *work, Node *node)
{
        size_t size;

        while (buffer_line(&node->held, &size)) {
                tell_line(work, node->held.data, size);
                buffer_consume(&node->held, size + 1);
        }
}

/* Whole lines go to what is held; the last one is for the graph. */
static int take_lines(Node *node)
{
        size_t size;

        while (buffer_line(&node->in, &size)) {
                int r = 0;

                if (str_after_prefix(node->in.data, "{\"Text\"") || str_after_prefix(node->in.data, "{\"Message\""))
                        r = buffer_append(&node->held, node->in.data, size + 1);
                else
                        node->done = json_loadb(node->in.data, size, 0, NULL);
                if (r < 0)
                        return r;
                buffer_consume(&node->in, size + 1);
        }
        return 0;
}

static int take_state(const json_t *described, WorkState *ret)
{
        ret->id = strdup(json_get_string_or(described, "Id", ""));
        ret->image = json_incref(json_get_object(described, "Config"));
        ret->layers = json_incref(json_get_array(described, "Layers"));
        return ret->id && ret->layers ? 0 : -EBADMSG;
}

static int take_result(Graph *graph, size_t index, Error *error)
{
        Node *node = &graph->nodes[index];
        WorkStage *stage = &graph->work->stages[index];
        const json_t *done = json_get_object(node->done, "Done");
        const char *failure = json_get_string(node->done, "Failure");

        if (failure) {
                tell_held(graph->work, node);
                graph->work->failed_code = (int) json_get_int(node->done, "Code", 0);
                return error_set(error, (Outcome) json_get_int(node->done, "Outcome", OUTCOME_FAILED), "%s", failure);
        }
        if (!done)
                return error_set(error, OUTCOME_FAILED, "the process that built stage %zu ended early", index);
        int r = take_state(json_get_object(done, "State"), &stage->state);
        if (r == 0 && json_object_update(graph->work->caches, json_get_object(done, "Caches")) < 0)
                r = -ENOMEM;
        stage->result = json_incref(json_get_object(done, "Result"));
        stage->done = r == 0;
        return r;
}

static int read_node(Graph *graph, size_t index, Error *error)
{
        Node *node = &graph->nodes[index];
        ssize_t n = buffer_read(&node->in, node->fd, 65536);

        if (n == -EAGAIN || n == -EINTR)
                return 0;
        int r = take_lines(node);
        if (r < 0 || n > 0)
                return r;
        node->fd = fd_close(node->fd);
        while (waitpid(node->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        node->pid = 0;
        graph->running--;
        return take_result(graph, index, error);
}

/* --- All of them -------------------------------------------------------------------------------------------------- */

/* What the first one said, and what those behind it did, where it is over. */
static void show(Graph *graph)
{
        size_t i;

        while ((i = front(graph)) < graph->count) {
                tell_held(graph->work, &graph->nodes[i]);
                if (!graph->work->stages[i].done)
                        return;
                graph->nodes[i].shown = true;
        }
}

/* Nothing is read of one behind the first that has said very much. */
static int wait_for_any(Graph *graph, Error *error)
{
        size_t first = front(graph), n = 0, of[PROCESSES_MAX + 1];
        int fds[PROCESSES_MAX + 1], r = 0;
        bool ready[PROCESSES_MAX + 1];

        for (size_t i = 0; i < graph->count && n < ARRAY_SIZE(fds); i++) {
                const Node *node = &graph->nodes[i];

                if (node->fd < 0 || (i != first && node->held.size >= HELD_MAX))
                        continue;
                of[n] = i;
                fds[n++] = node->fd;
        }
        work_poll(graph->work, fds, ready, n);
        for (size_t i = 0; r == 0 && i < n; i++)
                if (ready[i])
                        r = read_node(graph, of[i], error);
        return r;
}

/* The first is always among those that run, as the others may wait for it. */
static int start_ready(Graph *graph, Error *error)
{
        size_t first = front(graph), n_ready = 0, last = 0;
        int r = 0;

        for (size_t i = 0; i < graph->count; i++)
                if (is_ready(graph, i)) {
                        n_ready++;
                        last = i;
                }
        if (graph->running == 0 && n_ready == 1) {
                graph->nodes[last].started = true;
                graph->work->step = graph->nodes[last].first_step;
                return work_stage(graph->work, last, error);
        }
        for (size_t i = 0; r == 0 && i < graph->count; i++)
                if (is_ready(graph, i) && (i == first || graph->running < PROCESSES_MAX))
                        r = start_process(graph, i, error);
        return r;
}

int work_stages(BuildWork *work, Error *error)
{
        CLEANUP(graph_clear) Graph graph = { 0 };
        int r = graph_init(&graph, work);

        while (r == 0 && front(&graph) < graph.count) {
                r = start_ready(&graph, error);
                if (r == 0 && graph.running > 0)
                        r = wait_for_any(&graph, error);
                if (r == 0)
                        show(&graph);
        }
        return r;
}
