/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One stage to steps. The configuration is carried from step to step, since words are expanded with what the steps
 * before have set; a base image's triggers come first. */
#include <strings.h>

#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void work_clear(StageWork *work)
{
        json_decref(work->change.config);
        json_decref(work->change.env);
        json_decref((json_t *) work->change.arguments);
        arguments_clear(&work->arguments);
        json_decref(work->steps);
}

json_t *stage_shell(const StageWork *work)
{
        json_t *shell = json_get_array(work->change.config, "Shell");

        return json_array_size(shell) > 0 ? json_copy(shell) : json_pack("[ss]", "/bin/sh", "-c");
}

int stage_expand(StageWork *work, const char *word, char **ret)
{
        CLEANUP_BUFFER Buffer value = { 0 };
        int r = change_expand(word, work->change.escape, work->change.env, &value, work->error);

        if (r != 0)
                return r;
        *ret = buffer_take(&value);
        return *ret ? 0 : -ENOMEM;
}

const char *options_context(const DockerfileOptions *options, const char *name)
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) options->contexts, key, value)
                if (strcasecmp(key, name) == 0)
                        return key;
        return NULL;
}

int stage_from(StageWork *work, const char *from, json_t *object)
{
        const json_t *stages = json_get_array(work->plan, "Stages");
        const char *context = options_context(work->options, from);
        int64_t number;

        if (context)
                return json_set_string(object, "Context", context);

        for (size_t i = work->stage; i > 0; i--) {
                const char *name = json_get_string(json_array_get(stages, i - 1), "Name");
                if (!str_empty(name) && strcasecmp(name, from) == 0)
                        return json_set_int(object, "FromStage", (int64_t) i - 1);
        }
        if (str_to_int64(from, 0, INT32_MAX, &number) >= 0) {
                if ((size_t) number == work->stage)
                        return error_set(work->error, OUTCOME_BAD_REQUEST,
                                         "invalid from flag value %s: refers to current build stage", from);
                if ((size_t) number > work->stage)
                        return error_set(work->error, OUTCOME_BAD_REQUEST,
                                         "invalid from flag value %s: index out of bounds", from);
                return json_set_int(object, "FromStage", number);
        }
        return json_set_string(object, "From", from);
}

/* --- Instructions that change the configuration alone ------------------------------------------------------------- */

/* "/bin/sh -c #(nop)  ENV a=b". */
static char *created_by(const StageWork *work, const char *comment, bool wide)
{
        CLEANUP_JSON json_t *shell = stage_shell(work);
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *word;
        size_t i;

        json_array_foreach(shell, i, word)
                if (buffer_printf(&text, "%s ", json_string_value(word)) < 0)
                        return NULL;
        if (buffer_printf(&text, "#(nop) %s%s", wide ? " " : "", comment) < 0)
                return NULL;
        return buffer_take(&text);
}

static int config_step(StageWork *work, const char *kind, const char *comment, bool wide, json_t **ret_step)
{
        CLEANUP_FREE char *text = comment ? created_by(work, comment, wide) : NULL;

        if (!text)
                return -ENOMEM;
        *ret_step = json_pack("{ss ss}", "Kind", kind, "CreatedBy", text);
        return *ret_step ? 0 : -ENOMEM;
}

static int step_change(StageWork *work, const DockerfileInstruction *item, json_t **ret_step)
{
        bool directory = instruction_is(&item->parsed, "WORKDIR");
        int r = change_apply_instruction(&work->change, &item->parsed);

        if (r != 0)
                return r;
        CLEANUP_FREE char *comment =
                directory ? str_printf("WORKDIR %s", json_get_string_or(work->change.config, "WorkingDir", "/"))
                          : change_comment(&work->change, &item->parsed);
        r = config_step(work, directory ? "workdir" : "config", comment, !directory, ret_step);
        if (r == 0 && directory)
                r = json_set_string(*ret_step, "Path", json_get_string(work->change.config, "WorkingDir"));
        return r;
}

static int step_shell(StageWork *work, const DockerfileInstruction *item, json_t **ret_step)
{
        if (json_object_set_new(work->change.config, "Shell", json_from_strv(item->parsed.words)) < 0)
                return -ENOMEM;
        CLEANUP_FREE char *comment = change_comment(&work->change, &item->parsed);
        return config_step(work, "config", comment, true, ret_step);
}

static int step_maintainer(StageWork *work, const DockerfileInstruction *item, json_t **ret_step)
{
        CLEANUP_FREE char *comment = change_comment(&work->change, &item->parsed);
        int r = config_step(work, "config", comment, true, ret_step);

        return r == 0 ? json_set_string(*ret_step, "Author", item->parsed.words[0]) : r;
}

static int declare_argument(StageWork *work, const char *word, Buffer *comment)
{
        const char *equals = strchr(word, '=');
        CLEANUP_FREE char *name = strndup(word, equals ? (size_t) (equals - word) : strlen(word)), *value = NULL;
        int r = !name ? -ENOMEM : equals ? stage_expand(work, equals + 1, &value) : 0;

        if (r == 0)
                r = buffer_printf(comment, " %s%s%s", name, value ? "=" : "", value ?: "");
        return r == 0 ? arguments_declare(&work->arguments, false, name, value) : r;
}

static int step_argument(StageWork *work, const DockerfileInstruction *item, json_t **ret_step)
{
        CLEANUP_BUFFER Buffer comment = { 0 };
        int r = buffer_append_string(&comment, "ARG");

        for (char **word = item->parsed.words; r == 0 && *word; word++)
                r = declare_argument(work, *word, &comment);
        return r == 0 ? config_step(work, "config", comment.data, true, ret_step) : r;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        int (*make)(StageWork *work, const DockerfileInstruction *item, json_t **ret_step);
} kinds[] = {
        { "ADD", stage_copy }, { "ARG", step_argument }, { "COPY", stage_copy },
        { "RUN", stage_run },  { "SHELL", step_shell },  { "MAINTAINER", step_maintainer },
};

/* The configuration's variables and the arguments are what words are expanded with. */
static int take_environment(StageWork *work)
{
        const json_t *env = json_get_array(work->change.config, "Env");

        json_decref((json_t *) work->change.arguments);
        work->change.arguments = arguments_environment(&work->arguments, env, true);
        return work->change.arguments ? change_take_environment(&work->change) : -ENOMEM;
}

static int add_step(StageWork *work, const DockerfileInstruction *item)
{
        json_t *step = NULL;
        size_t i = 0;
        int r = take_environment(work);

        while (i < ARRAY_SIZE(kinds) && !instruction_is(&item->parsed, kinds[i].name))
                i++;
        if (r == 0)
                r = i < ARRAY_SIZE(kinds) ? kinds[i].make(work, item, &step) : step_change(work, item, &step);
        CLEANUP_JSON json_t *owned = step;
        if (r != 0)
                return r;
        r = json_set_string(step, "Title", item->parsed.original);
        if (r == 0)
                r = json_set_int(step, "First", item->first);
        if (r == 0)
                r = json_set_int(step, "Last", item->last);
        if (r == 0 && (json_object_set_new(step, "Config", json_deep_copy(work->change.config)) < 0 ||
                       json_array_append(work->steps, step) < 0))
                r = -ENOMEM;
        return r;
}

/* What is wrong with an instruction is told when its turn comes, as it may hang on those before. */
static int add_refusal(StageWork *work, const DockerfileInstruction *item)
{
        json_t *step = json_pack("{ss ss si si ss}", "Kind", "refusal", "Title", item->parsed.original, "First",
                                 (int) item->first, "Last", (int) item->last, "Message", work->error->message);

        error_clear(work->error);
        work->refused = true;
        return step && json_array_append_new(work->steps, step) >= 0 ? 0 : -ENOMEM;
}

static int add_steps(StageWork *work, const Dockerfile *file, size_t first, size_t end)
{
        int r = 0;

        for (size_t i = first; r == 0 && i < end && !work->refused; i++) {
                r = add_step(work, &file->items[i]);
                if (r > 0)
                        r = add_refusal(work, &file->items[i]);
        }
        return r;
}

/* Each is a line that was written for another file, with its own escape character. */
static int add_triggers(StageWork *work, const json_t *triggers)
{
        json_t *trigger;
        size_t i;
        int r = 0;

        json_array_foreach((json_t *) triggers, i, trigger) {
                CLEANUP_DOCKERFILE Dockerfile file = { 0 };
                const char *text = json_string_value(trigger) ?: "";

                r = dockerfile_parse(text, strlen(text), &file, work->error);
                for (size_t k = 0; r == 0 && k < file.count; k++)
                        if (instruction_is(&file.items[k].parsed, "FROM"))
                                return error_set(work->error, OUTCOME_BAD_REQUEST,
                                                 "FROM isn't allowed as an ONBUILD trigger");
                if (r == 0)
                        r = add_steps(work, &file, 0, file.count);
                if (r != 0)
                        return r;
        }
        return r;
}

/* The labels that came with the build, one step each, in the order of their names. */
static int add_labels(StageWork *work)
{
        CLEANUP_BUFFER Buffer name_buffer = { 0 };
        CLEANUP_STRV char **names = calloc(1, sizeof(char *));
        const char *name;
        json_t *value;
        int r = names ? 0 : -ENOMEM;

        json_object_foreach((json_t *) work->options->labels, name, value)
                r = r == 0 ? strv_append(&names, name) : r;
        for (size_t i = 0; r == 0 && names[i]; i++)
                for (size_t k = i + 1; names[k]; k++)
                        if (strcmp(names[i], names[k]) > 0) {
                                char *swap = names[i];
                                names[i] = names[k];
                                names[k] = swap;
                        }
        for (size_t i = 0; r == 0 && names[i]; i++) {
                const char *text = json_get_string_or(work->options->labels, names[i], "");
                json_t *config = work->change.config, *labels = json_get_object(config, "Labels");

                labels = labels ? json_deep_copy(labels) : json_object();
                json_object_set_new(config, "Labels", labels);
                CLEANUP_FREE char *title = str_printf("LABEL %s=%s", names[i], text);
                CLEANUP_FREE char *by = title ? created_by(work, title, true) : NULL;
                if (!by || json_set_string(labels, names[i], text) < 0 ||
                    json_array_append_new(work->steps, json_pack("{ss ss ss si si so}", "Kind", "config", "CreatedBy",
                                                                 by, "Title", title, "First", 0, "Last", 0, "Config",
                                                                 json_deep_copy(config))) < 0)
                        r = -ENOMEM;
        }
        return r;
}

static int begin(StageWork *work, const json_t *base_config, const json_t *parent)
{
        json_t *config = base_config ? json_deep_copy(base_config) : json_object();
        json_t *env = json_get_array(config, "Env"), *inherited = json_get_object(parent, "Arguments");

        work->steps = json_array();
        work->arguments.options = work->options;
        work->arguments.meta = json_deep_copy(json_get_object(work->plan, "Values"));
        work->arguments.stage = inherited ? json_deep_copy(inherited) : json_object();
        work->change = (Change) { .config = config, .escape = work->file->escape, .error = work->error };
        if (!config || !work->steps || !work->arguments.meta || !work->arguments.stage)
                return -ENOMEM;
        if (json_object_get(config, "OnBuild"))
                json_object_set_new(config, "OnBuild", json_null());
        if (environment_names(env, "PATH", 4))
                return 0;
        env = env ? json_copy(env) : json_array();
        json_array_append_new(env, json_string(DEFAULT_PATH));
        return json_object_set_new(config, "Env", env) < 0 ? -ENOMEM : 0;
}

/* Where the instructions of a stage are. */
static void find_items(const StageWork *work, size_t *ret_first, size_t *ret_end)
{
        size_t stage = SIZE_MAX, first = work->file->count, i;

        for (i = 0; i < work->file->count; i++) {
                if (!instruction_is(&work->file->items[i].parsed, "FROM"))
                        continue;
                if (++stage == work->stage)
                        first = i + 1;
                else if (stage == work->stage + 1)
                        break;
        }
        *ret_first = first;
        *ret_end = i;
}

int dockerfile_stage(const Dockerfile *file, const DockerfileOptions *options, const json_t *plan, size_t stage,
                     const json_t *base_config, const json_t *parent, json_t **ret_stage, Error *error)
{
        CLEANUP(work_clear)
        StageWork work = { .file = file, .options = options, .plan = plan, .stage = stage, .error = error };
        size_t first, end, n_triggers;
        int r = begin(&work, base_config, parent);

        CLEANUP_JSON json_t *start = r == 0 ? json_deep_copy(work.change.config) : NULL;
        if (r == 0)
                r = add_triggers(&work, json_get_array(base_config, "OnBuild"));
        if (r != 0)
                return r;
        n_triggers = json_array_size(work.steps);
        find_items(&work, &first, &end);
        r = add_steps(&work, file, first, end);
        if (r == 0 && !work.refused && (int64_t) stage == json_get_int(plan, "Target", -1))
                r = add_labels(&work);
        if (r != 0)
                return r;
        *ret_stage = json_pack("{sO si sO sO}", "Config", start, "Triggers", (int) n_triggers, "Arguments",
                               work.arguments.stage, "Steps", work.steps);
        return *ret_stage ? 0 : -ENOMEM;
}
