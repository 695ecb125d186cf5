/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A build from its options to its end, as the client sees it: Docker's classic messages. */
#include <fcntl.h>

#include "berth/digest.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/platform.h"
#include "engine-build-work.h"

static void work_clear(BuildWork *work)
{
        for (size_t i = 0; i < work->n_stages; i++) {
                work_state_clear(&work->stages[i].base);
                work_state_clear(&work->stages[i].state);
                json_decref(work->stages[i].result);
        }
        free(work->stages);
        json_decref(work->plan);
        json_decref(work->contexts);
        json_decref(work->sources);
        json_decref(work->caches);
        dockerfile_clear(&work->file);
        buffer_clear(&work->rpc_in);
        buffer_clear(&work->output_in);
        buffer_clear(&work->silent);
        fd_close(work->context_fd);
        fd_close(work->output_fd);
}

/* --- The beginning ------------------------------------------------------------------------------------------------ */

static int check_tags(const BuildWork *work, json_t *normal, Error *error)
{
        json_t *tag;
        size_t i;

        json_array_foreach(json_get_array(work->options, "t"), i, tag) {
                CLEANUP_REFERENCE StoreReference reference = { 0 };
                int r = store_reference_parse(json_string_value(tag), &reference, error);

                if (r == 0 && reference.digest)
                        r = error_set(error, OUTCOME_BAD_REQUEST, "build tag cannot contain a digest");
                if (r == 0)
                        r = store_reference_default_tag(&reference);
                if (r > 0) /* dockerd has the one status for all that is wrong with a tag of a build */
                        r = (int) (error->outcome = OUTCOME_FAILED);
                if (r != 0)
                        return r;
                CLEANUP_FREE char *name = store_reference_normal(&reference),
                                  *familiar = store_reference_familiar(&reference);
                if (!name || !familiar || json_array_append_new(normal, json_pack("[ss]", name, familiar)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int take_epoch(BuildWork *work, Error *error)
{
        const char *text = json_get_string(work->dockerfile.arguments, "SOURCE_DATE_EPOCH");
        int64_t seconds;

        if (str_empty(text))
                return 0;
        if (str_to_int64(text, 1, INT64_C(9000000000), &seconds) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid SOURCE_DATE_EPOCH: %s", text);
        work->epoch_ns = seconds * INT64_C(1000000000);
        return 0;
}

static int make_plan(BuildWork *work, Error *error)
{
        json_t *stage;
        size_t i;
        int r = dockerfile_plan(&work->file, &work->dockerfile, &work->plan, error);

        if (r != 0)
                return r;
        work->n_stages = json_array_size(json_get_array(work->plan, "Stages"));
        work->stages = calloc(work->n_stages, sizeof(*work->stages));
        if (!work->stages)
                return -ENOMEM;
        work->total =
                json_array_size(json_get_array(work->plan, "Arguments")) + json_object_size(work->dockerfile.labels);
        json_array_foreach(json_get_array(work->plan, "Stages"), i, stage)
                if (json_get_bool(stage, "Needed"))
                        work->total += 1 + (size_t) json_get_int(stage, "Commands", 0);
        return 0;
}

static int begin(BuildWork *work, json_t *tags, Error *error)
{
        int r = check_tags(work, tags, error);

        if (r == 0)
                r = take_epoch(work, error);
        if (r == 0)
                r = work_read_context(work, error);
        return r == 0 ? make_plan(work, error) : r;
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

static int run_stages(BuildWork *work, Error *error)
{
        json_t *argument;
        size_t i;

        json_array_foreach(json_get_array(work->plan, "Arguments"), i, argument) {
                work_say(work, "Step %zu/%zu : %s", ++work->step, work->total,
                         json_get_string_or(argument, "Title", ""));
                work_say(work, "\n");
        }
        return work_stages(work, error);
}

static int warn_unused(BuildWork *work)
{
        CLEANUP_STRV char **names = NULL;
        CLEANUP_BUFFER Buffer text = { 0 };
        int r = dockerfile_unused(&work->file, &work->dockerfile, &names);

        for (size_t i = 0; r == 0 && names[i]; i++)
                r = buffer_printf(&text, "%s%s", i > 0 ? " " : "", names[i]);
        if (r == 0 && text.size > 0)
                work_say(work, "[Warning] One or more build-args [%s] were not consumed\n", text.data);
        return r;
}

static int finish(BuildWork *work, const json_t *tags, Error *error)
{
        WorkStage *stage = &work->stages[json_get_int(work->plan, "Target", 0)];
        WorkState *state = &stage->state;
        json_t *tag;
        size_t i;
        int r = 0;

        if (str_empty(state->id))
                return error_set(error, OUTCOME_FAILED, "No image was generated. Is your Dockerfile empty?");
        if (json_get_bool(work->options, "squash"))
                r = work_squash(work, &stage->base, state, error);
        if (r == 0)
                r = warn_unused(work);
        if (r != 0)
                return r;
        work_say(work, "Successfully built %.12s\n", str_after_prefix(state->id, STORE_DIGEST_PREFIX) ?: "");
        json_array_foreach((json_t *) tags, i, tag) {
                CLEANUP_JSON json_t *reply = NULL;
                const char *name = json_string_value(json_array_get(tag, 0));

                if (r == 0)
                        r = work_ask(work, json_pack("{ss ss ss}", "Op", "tag", "Id", state->id, "Name", name), &reply,
                                     error);
                if (r == 0)
                        work_say(work, "Successfully tagged %s\n", json_string_value(json_array_get(tag, 1)));
        }
        if (r == 0 && work->quiet) {
                CLEANUP_FREE char *line = str_printf("%s\n", state->id);
                work_send(work, json_pack("{ss}", "stream", line ?: ""));
        }
        return r;
}

/* Before the first message a failure has a status of its own; later it is a message. */
static void tell_failure(BuildWork *work, int r, const Error *error)
{
        const char *text = error->message ? error->message : strerror(abs(r));
        CLEANUP_FREE char *whole = NULL;

        if (!work->begun && !(work->quiet && work->silent.size > 0)) {
                work->build->refuse(&work->build->stream, r, error);
                return;
        }
        if (work->quiet && work->silent.size > 0) {
                whole = str_printf("%s%s", work->silent.data, text);
                text = whole ?: text;
        }
        if (work->failed_code != 0)
                work_send(work, json_pack("{s{si ss} ss}", "errorDetail", "code", work->failed_code, "message", text,
                                          "error", text));
        else
                work_send(work, json_pack("{s{ss} ss}", "errorDetail", "message", text, "error", text));
        stream_end(&work->build->stream);
}

static char *host_platform(void)
{
        StorePlatform platform;

        if (store_platform_parse(NULL, &platform, NULL) != 0)
                return NULL;
        return str_printf("%s/%s%s%s", platform.os, platform.architecture, *platform.variant ? "/" : "",
                          platform.variant);
}

/* Before the client knows that it is over: what it then asks for finds no build under way. */
static void tell_end(BuildWork *work)
{
        CLEANUP_JSON json_t *reply = NULL;
        CLEANUP_ERROR Error error = { 0 };

        (void) work_ask(work, json_pack("{ss}", "Op", "end"), &reply, &error);
}

/* Changes only were sent: how much there is now is to be measured, when the client no longer waits. */
static int open_kept(const BuildWork *work)
{
        bool changed = json_get_string(build_keep(work->build), "Base");
        CLEANUP_FREE char *path = changed ? work_path(work, "staging/%s/" BUILD_KEPT, work->build->context) : NULL;

        return path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
}

int build_worker(Build *build, int result_fd)
{
        CLEANUP(work_clear)
        BuildWork work = { .build = build,
                           .options = build->options,
                           .rpc_fd = result_fd,
                           .tell_fd = -EBADF,
                           .quiet = json_get_bool(build->options, "q"),
                           .context_fd = -EBADF,
                           .output_fd = -EBADF };
        work.caches = json_object();
        work.sources = json_array();
        work.contexts = json_object();
        CLEANUP_FREE char *host = host_platform();
        CLEANUP_JSON json_t *tags = json_array();
        CLEANUP_ERROR Error error = { 0 };
        const char *platform = json_get_string(build->options, "platform");

        work.dockerfile = (DockerfileOptions) { .arguments = json_get_object(build->options, "buildargs"),
                                                .labels = json_get_object(build->options, "labels"),
                                                .contexts = json_get_object(build->options, "contexts"),
                                                .target = json_get_string(build->options, "target"),
                                                .platform = str_empty(platform) ? host : platform,
                                                .host_platform = host };
        int r = tags && host ? begin(&work, tags, &error) : -ENOMEM;
        if (r == 0)
                r = work_cache_sources(&work);
        if (r == 0)
                r = run_stages(&work, &error);
        if (r == 0)
                r = finish(&work, tags, &error);
        CLEANUP_CLOSE int kept_fd = open_kept(&work);
        tell_end(&work);
        if (r != 0)
                tell_failure(&work, r, &error);
        else
                stream_end(&build->stream);
        const char *cache;
        json_t *used;
        json_object_foreach(work.caches, cache, used)
                build_mount_measure(build->engine, cache);
        if (kept_fd >= 0)
                build_keep_measure(kept_fd);
        return 0;
}
