/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stages and steps: looked up in the cache or done, one image after the other. */
#include <fcntl.h>

#include "berth/base64.h"
#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-build-work.h"

#define KEY_VERSION "berth-build-2"

void work_state_clear(WorkState *state)
{
        free(state->id);
        json_decref(state->image);
        json_decref(state->layers);
        free(state->directory);
        *state = (WorkState) { 0 };
}

int work_state_copy(const WorkState *from, WorkState *ret)
{
        WorkState state = { .id = strdup(from->id ?: ""),
                            .image = json_incref(from->image),
                            .layers = json_incref(from->layers) };

        if (!state.id) {
                work_state_clear(&state);
                return -ENOMEM;
        }
        work_state_clear(ret);
        *ret = state;
        return 0;
}

int work_state_set(WorkState *state, const json_t *reply)
{
        WorkState next = { .id = strdup(json_get_string_or(reply, "Id", "")),
                           .image = json_incref(json_get_object(reply, "Config")),
                           .layers = json_incref(json_get_array(reply, "Layers")) };

        if (!next.id || !next.image || !next.layers) {
                work_state_clear(&next);
                return -EBADMSG;
        }
        work_state_clear(state);
        *state = next;
        return 0;
}

int work_stage_directory(BuildWork *work, char **ret_name, int *ret_fd, Error *error)
{
        CLEANUP_JSON json_t *reply = NULL;
        int r = work_ask(work, json_pack("{ss}", "Op", "stage"), &reply, error);
        CLEANUP_FREE char *path =
                r == 0 ? work_path(work, "staging/%s", json_get_string_or(reply, "Staging", "")) : NULL;

        if (r != 0 || !path)
                return r != 0 ? r : -ENOMEM;
        *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*ret_fd < 0)
                return -errno;
        *ret_name = strdup(json_get_string(reply, "Staging"));
        return *ret_name ? 0 : -ENOMEM;
}

StoreChild work_child(const BuildWork *work, const WorkState *state, const json_t *step, const char *created_by)
{
        const char *author = json_get_string(step, "Author");

        return (StoreChild) { .upper_fd = -EBADF,
                              .parent = state->image,
                              .parent_id = str_empty(state->id) ? NULL : state->id,
                              .config = json_get_object(step, "Config"),
                              .author = author ? author : json_get_string(state->image, "author"),
                              .created_by = created_by,
                              .comment = json_get_string(step, "Comment"),
                              .created_ns = work->epoch_ns };
}

int work_commit(BuildWork *work, const char *staging, const json_t *result, const char *key, const json_t *step,
                WorkState *state, Error *error)
{
        int64_t size = json_get_int(json_array_get(json_get_array(result, "Layers"), 0), "Size", 0);
        json_t *request = json_pack("{ss ss sO s{ss ss ss ss sI}}", "Op", "commit", "Staging", staging, "Result",
                                    result, "Cache", "Key", key, "Parent", state->id, "Type", "regular", "Description",
                                    json_get_string_or(step, "Title", ""), "Size", (json_int_t) size);
        CLEANUP_JSON json_t *reply = NULL;
        int r = request ? work_ask(work, request, &reply, error) : -ENOMEM;

        return r == 0 ? work_state_set(state, reply) : r;
}

/* --- The cache ---------------------------------------------------------------------------------------------------- */

/* Whatever the step's result depends on: the state before, what it is, what it makes of the configuration, its mounts
 * and network, and the digest of what it copies. */
static int step_key(const WorkState *state, const json_t *step, const char *created_by, char ret[static ID_LENGTH + 1])
{
        static const char *const counted[] = { "Config",  "Mounts", "Network",  "Owner",   "Mode",
                                               "Target",  "Author", "Link",     "Parents", "Exclude",
                                               "KeepGit", "Unpack", "Checksum", "Script",  "MountSums" };
        CLEANUP_JSON json_t *all = json_pack("[sss]", KEY_VERSION, state->id, created_by);
        char digest[STORE_DIGEST_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
                json_t *value = json_object_get(step, counted[i]);
                json_array_append_new(all, value ? json_incref(value) : json_null());
        }
        CLEANUP_FREE char *text = all ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        int r = text ? store_digest_data(text, strlen(text), digest) : -ENOMEM;
        if (r == 0)
                memcpy(ret, store_digest_hex(digest), ID_LENGTH + 1);
        return r;
}

/* 1 where the cache had it, which is said, and the state is what it led to. */
static int look_up(BuildWork *work, const json_t *step, const char *created_by, const char *key, WorkState *state,
                   Error *error)
{
        CLEANUP_JSON json_t *reply = NULL;

        if (json_get_bool(work->options, "nocache"))
                return 0;
        int r = work_ask(work, json_pack("{ss ss}", "Op", "lookup", "Key", key), &reply, error);
        if (r != 0)
                return r < 0 ? r : -EIO;
        if (json_get_string(reply, "Id")) {
                r = work_state_set(state, reply);
                r = r < 0 ? r : 1;
        } else
                r = work_cache_from(work, step, created_by, key, state, error);
        if (r == 1 && !error->message)
                work_say(work, " ---> Using cache\n");
        return r;
}

/* --- Mounts of a RUN ---------------------------------------------------------------------------------------------- */

/* What is mounted: the image it is all of, else a digest of the files. Of what is not there the step tells itself. */
static int mount_sum(BuildWork *work, const json_t *mount, json_t **ret, Error *error)
{
        const char *source = json_get_string_or(mount, "Source", "");
        CLEANUP_JSON json_t *step = json_pack("{s[s] s[] s[]}", "Sources", *source ? source : ".", "Inline", "Exclude"),
                            *sum = NULL;
        CLEANUP(work_state_clear) WorkState image = { 0 };
        const WorkState *state = NULL;
        int r = step ? work_find_source(work, mount, &image, &state, error) : -ENOMEM;

        if (r != 0)
                return r;
        source += strspn(source, "/.");
        if (state && !state->directory && !*source)
                *ret = json_string(state->id);
        else {
                CLEANUP_ERROR Error missing = { 0 };
                json_object_update(step, (json_t *) mount);
                r = work_copy_sum(work, step, -EBADF, &sum, &missing);
                *ret = r == 0 ? json_incref(json_object_get(sum, "Sum")) : json_null();
        }
        return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

static bool mount_has_source(const json_t *mount)
{
        const char *type = json_get_string(mount, "Type");

        return str_equal(type, "bind") ||
               (str_equal(type, "cache") && (json_get_string(mount, "From") || json_object_get(mount, "FromStage")));
}

/* The step with the digests of what is mounted for it, as a new reference. */
static int add_mount_sums(BuildWork *work, const json_t *step, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *own = json_copy((json_t *) step), *sums = json_array();
        json_t *mount;
        size_t i;

        json_array_foreach(json_get_array(step, "Mounts"), i, mount) {
                json_t *sum = NULL;
                int r = mount_has_source(mount) ? mount_sum(work, mount, &sum, error) : 0;

                if (r != 0)
                        return r;
                if (sum && json_array_append_new(sums, sum) < 0)
                        return -ENOMEM;
        }
        if (!own || !sums || (json_array_size(sums) > 0 && json_object_set(own, "MountSums", sums) < 0))
                return -ENOMEM;
        int r = work_comment(own);
        if (r == 0)
                *ret = TAKE_PTR(own);
        return r;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

/* An image with another configuration and the same files. */
static int step_config(BuildWork *work, const json_t *step, const char *key, WorkState *state, Error *error)
{
        StoreChild child = work_child(work, state, step, json_get_string(step, "CreatedBy"));
        CLEANUP_CLOSE int staging_fd = -EBADF;
        CLEANUP_FREE char *name = NULL;
        CLEANUP_JSON json_t *result = NULL;
        int r = work_stage_directory(work, &name, &staging_fd, error);
        StoreInput input = { .fd = -EBADF, .staging_fd = staging_fd };

        if (r == 0)
                r = store_child(&input, &child, &result, error);
        return r == 0 ? work_commit(work, name, result, key, step, state, error) : r;
}

/* The classic builder makes a container for each of these; its name is all that anybody sees of it. */
static void say_container(BuildWork *work, bool before, char id[static ID_LENGTH + 1])
{
        if (before && id_generate(id) >= 0)
                work_say(work, " ---> Running in %.12s\n", id);
        else if (!json_is_false(json_object_get(work->options, "rm")))
                work_say(work, " ---> Removed intermediate container %.12s\n", id);
}

static int copied_by(const json_t *step, const json_t *sum, char **ret)
{
        const char *form = json_get_string_or(step, "CreatedBy", ""), *at = strstr(form, "%s");

        if (!at)
                return -EINVAL;
        *ret = str_printf("%.*s%s%s", (int) (at - form), form, json_get_string_or(sum, "Sum", ""), at + 2);
        return *ret ? 0 : -ENOMEM;
}

/* COPY and ADD. The cache goes by what is copied, wherever it came from. */
static int step_copy(BuildWork *work, const json_t *given, WorkState *state, Error *error)
{
        CLEANUP_JSON json_t *step = NULL, *sum = NULL;
        CLEANUP_FREE char *created_by = NULL;
        CLEANUP_CLOSE int fetched_fd = -EBADF;
        char key[ID_LENGTH + 1];
        int r = work_fetch_sources(work, given, &step, &fetched_fd, error);

        if (r == 0)
                r = work_comment(step);
        if (r == 0)
                r = work_copy_sum(work, step, fetched_fd, &sum, error);
        if (r == 0)
                r = copied_by(step, sum, &created_by);
        if (r == 0)
                r = step_key(state, step, created_by, key);
        if (r == 0)
                r = look_up(work, step, created_by, key, state, error);
        if (r > 0 && !error->message)
                return 0;
        return r != 0 ? r
                      : work_files(work, step, json_get_array(sum, "Paths"), fetched_fd, created_by, key, state, error);
}

int work_step(BuildWork *work, const json_t *given, WorkState *state, Error *error)
{
        const char *kind = json_get_string_or(given, "Kind", ""), *by = json_get_string_or(given, "CreatedBy", "");
        CLEANUP_JSON json_t *step = NULL;
        char key[ID_LENGTH + 1], id[ID_LENGTH + 1] = "";

        if (str_equal(kind, "refusal"))
                return error_set(error, OUTCOME_BAD_REQUEST, "%s", json_get_string_or(given, "Message", ""));
        if (str_equal(kind, "copy"))
                return step_copy(work, given, state, error);
        int r = add_mount_sums(work, given, &step, error);
        if (r == 0)
                r = step_key(state, step, by, key);
        if (r == 0)
                r = look_up(work, step, by, key, state, error);
        if (r > 0 && !error->message)
                return 0;
        if (r != 0)
                return r;
        if (str_equal(kind, "run"))
                return work_run(work, step, key, state, error);
        say_container(work, true, id);
        r = str_equal(kind, "workdir") ? work_files(work, step, NULL, -EBADF, by, key, state, error)
                                       : step_config(work, step, key, state, error);
        if (r == 0)
                say_container(work, false, id);
        return r;
}

/* --- Stages ------------------------------------------------------------------------------------------------------- */

static void say_step(BuildWork *work, const char *title)
{
        work_say(work, "Step %zu/%zu : %s", ++work->step, work->total, title);
        work_say(work, "\n");
}

/* What X-Registry-Config has for the image's registry, as an X-Registry-Auth header; NULL where it has nothing. */
static char *registry_auth(const BuildWork *work, const char *name)
{
        const json_t *registries = json_get_object(work->options, "registry");
        CLEANUP_REFERENCE StoreReference reference = { 0 };

        if (!registries || store_reference_parse(name, &reference, NULL) != 0)
                return NULL;
        const json_t *auth = json_get_object(registries, registry_auth_server(reference.domain));
        CLEANUP_FREE char *text = auth ? json_dumps(auth, JSON_COMPACT) : NULL;
        return text ? base64_encode(text, strlen(text), true) : NULL;
}

static int resolve(BuildWork *work, const char *name, const char *platform, bool pull, WorkState *ret, Error *error)
{
        const char *wanted = str_empty(platform) ? json_get_string_or(work->options, "platform", "") : platform;
        CLEANUP_JSON json_t *request = json_pack("{ss ss ss}", "Op", "pull", "Name", name, "Platform", wanted),
                            *reply = NULL;
        int r = 0;

        if (!pull)
                r = work_ask(work, json_pack("{ss ss}", "Op", "resolve", "Name", name), &reply, error);
        if (r == 0 && (!reply || json_get_bool(reply, "Missing"))) {
                CLEANUP_FREE char *auth = registry_auth(work, name);
                json_decref(TAKE_PTR(reply));
                if (auth)
                        json_set_string(request, "Auth", auth);
                r = work_ask(work, json_incref(request), &reply, error);
        }
        return r == 0 ? work_state_set(ret, reply) : r;
}

int work_resolve(BuildWork *work, const char *name, const char *platform, WorkState *ret, Error *error)
{
        return resolve(work, name, platform, json_get_bool(work->options, "pull"), ret, error);
}

int work_find_image(BuildWork *work, const char *name, const char *platform, WorkState *ret, Error *error)
{
        return resolve(work, name, platform, false, ret, error);
}

/* A directory as a base is what COPY makes of it. */
static int start_from_directory(BuildWork *work, const char *name, WorkState *state, Error *error)
{
        CLEANUP_JSON json_t *step = json_pack("{ss ss s[s] ss s[] s[] ss ss s{}}", "Kind", "copy", "Context", name,
                                              "Sources", ".", "Target", "/", "Inline", "Exclude", "Title", name,
                                              "CreatedBy", "/bin/sh -c #(nop) COPY %s in / ", "Config");

        work_state_clear(state);
        state->id = strdup("");
        state->layers = json_array();
        return step && state->id && state->layers ? step_copy(work, step, state, error) : -ENOMEM;
}

static int start_stage(BuildWork *work, const json_t *stage, WorkStage *own, const json_t **ret_parent, Error *error)
{
        int64_t base = json_get_int(stage, "BaseStage", -1);
        const char *name = json_get_string_or(stage, "Base", "");

        *ret_parent = NULL;
        if (base >= 0) {
                int r = work_stage(work, (size_t) base, error);
                if (r != 0)
                        return r;
                *ret_parent = work->stages[base].result;
                say_step(work, json_get_string_or(stage, "Title", ""));
                return work_state_copy(&work->stages[base].state, &own->state);
        }
        say_step(work, json_get_string_or(stage, "Title", ""));
        const char *context = json_get_string(stage, "Context");
        if (context) {
                int r = work_find_context(work, context, json_get_string(stage, "Platform"), &own->state, error);
                return r == 0 && own->state.directory ? start_from_directory(work, context, &own->state, error) : r;
        }
        if (!str_equal(name, "scratch"))
                return work_resolve(work, name, json_get_string(stage, "Platform"), &own->state, error);
        own->state.id = strdup("");
        own->state.layers = json_array();
        return own->state.id && own->state.layers ? 0 : -ENOMEM;
}

static const char *short_id(const WorkState *state)
{
        return str_after_prefix(state->id, STORE_DIGEST_PREFIX) ?: state->id;
}

static int run_steps(BuildWork *work, WorkStage *own, Error *error)
{
        size_t i, n = (size_t) json_get_int(own->result, "Triggers", 0);
        json_t *step;
        int r = 0;

        if (n > 0)
                work_say(work, "# Executing %zu build trigger%s\n", n, n == 1 ? "" : "s");
        json_array_foreach(json_get_array(own->result, "Steps"), i, step) {
                if (i == n)
                        work_say(work, " ---> %.12s\n", short_id(&own->state));
                if (i >= n)
                        say_step(work, json_get_string_or(step, "Title", ""));
                r = work_step(work, step, &own->state, error);
                if (r != 0)
                        return r;
                if (i >= n)
                        work_say(work, " ---> %.12s\n", short_id(&own->state));
        }
        if (json_array_size(json_get_array(own->result, "Steps")) <= n)
                work_say(work, " ---> %.12s\n", short_id(&own->state));
        return r;
}

int work_stage(BuildWork *work, size_t index, Error *error)
{
        WorkStage *own = &work->stages[index];
        const json_t *stage = json_array_get(json_get_array(work->plan, "Stages"), index), *parent;

        if (own->done)
                return 0;
        if (own->running)
                return error_set(error, OUTCOME_BAD_REQUEST, "stage %zu needs itself", index);
        own->running = true;
        int r = start_stage(work, stage, own, &parent, error);
        if (r == 0)
                r = work_state_copy(&own->state, &own->base);
        if (r == 0)
                r = dockerfile_stage(&work->file, &work->dockerfile, work->plan, index,
                                     json_get_object(own->state.image, "config"), parent, &own->result, error);
        if (r == 0)
                r = run_steps(work, own, error);
        if (r == 0 && !work->quiet)
                work_send(work, json_pack("{s{ss}}", "aux", "ID", own->state.id));
        own->done = r == 0;
        return r;
}
