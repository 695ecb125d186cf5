/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stages of a Dockerfile, what each is based on, and which of them the target needs. */
#include <ctype.h>
#include <strings.h>

#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

typedef struct Plan {
        const Dockerfile *file;
        const DockerfileOptions *options;
        Arguments arguments;
        json_t *metas, *stages; /* owned */
        Error *error;
} Plan;

static void plan_clear(Plan *plan)
{
        arguments_clear(&plan->arguments);
        json_decref(plan->metas);
        json_decref(plan->stages);
}

static int expand_global(Plan *plan, const char *word, char **ret)
{
        CLEANUP_JSON json_t *env = arguments_list(&plan->arguments, true);
        CLEANUP_BUFFER Buffer value = { 0 };
        int r = change_expand(word, plan->file->escape, env, &value, plan->error);

        if (r != 0)
                return r;
        *ret = buffer_take(&value);
        return *ret ? 0 : -ENOMEM;
}

static int add_global(Plan *plan, const DockerfileInstruction *item)
{
        int r = 0;

        for (char **word = item->parsed.words; r == 0 && *word; word++) {
                CLEANUP_FREE char *name = NULL, *value = NULL;
                const char *equals = strchr(*word, '=');

                name = strndup(*word, equals ? (size_t) (equals - *word) : strlen(*word));
                r = !name ? -ENOMEM : equals ? expand_global(plan, equals + 1, &value) : 0;
                if (r == 0)
                        r = arguments_declare(&plan->arguments, true, name, value);
        }
        if (r == 0 && json_array_append_new(plan->metas, json_pack("{ss si}", "Title", item->parsed.original, "First",
                                                                   (int) item->first)) < 0)
                r = -ENOMEM;
        return r;
}

/* The stage of that name or number among the first N; -1 where there is none. */
static int find_stage(const json_t *stages, const char *name, size_t n)
{
        int64_t number;

        for (size_t i = MIN(n, json_array_size(stages)); i > 0; i--) {
                const char *own = json_get_string(json_array_get(stages, i - 1), "Name");
                if (!str_empty(own) && strcasecmp(own, name) == 0)
                        return (int) i - 1;
        }
        if (str_to_int64(name, 0, (int64_t) n - 1, &number) >= 0)
                return (int) number;
        return -1;
}

static int refuse_at(int r, unsigned line, Error *error)
{
        char prefix[64];

        if (r <= 0)
                return r;
        snprintf(prefix, sizeof(prefix), "dockerfile parse error on line %u", line);
        return error_prefix(error, prefix);
}

static int add_stage(Plan *plan, const DockerfileInstruction *item)
{
        const char *platform = instruction_flag(&item->parsed, "platform");
        char *const *words = item->parsed.words;
        CLEANUP_FREE char *base = NULL, *wanted = NULL, *name = NULL;
        int r = expand_global(plan, words[0], &base);

        if (r == 0 && platform)
                r = expand_global(plan, platform, &wanted);
        if (r == 0 && !*base)
                r = error_set(plan->error, OUTCOME_BAD_REQUEST, "base name (%s) should not be blank", words[0]);
        if (r != 0)
                return r;
        name = strdup(words[1] ? words[2] : "");
        for (char *p = name; p && *p; p++)
                *p = (char) tolower((unsigned char) *p);
        int other = find_stage(plan->stages, base, json_array_size(plan->stages));
        int64_t number;
        if (other >= 0 && str_to_int64(base, 0, INT32_MAX, &number) >= 0)
                other = -1; /* FROM takes names alone */
        const char *context = options_context(plan->options, base);
        json_t *stage =
                json_pack("{ss ss ss ss si si si}", "Name", name ?: "", "Base", base, "Platform", wanted ?: "", "Title",
                          item->parsed.original, "First", (int) item->first, "Last", (int) item->last, "Commands", 0);
        if (stage && context)
                json_set_string(stage, "Context", context);
        else if (stage && other >= 0)
                json_set_int(stage, "BaseStage", other);
        return stage && json_array_append_new(plan->stages, stage) >= 0 ? 0 : -ENOMEM;
}

static int read_stages(Plan *plan)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < plan->file->count; i++) {
                const DockerfileInstruction *item = &plan->file->items[i];
                size_t n = json_array_size(plan->stages);

                if (instruction_is(&item->parsed, "FROM"))
                        r = add_stage(plan, item);
                else if (n > 0) {
                        json_t *stage = json_array_get(plan->stages, n - 1);
                        r = json_set_int(stage, "Commands", json_get_int(stage, "Commands", 0) + 1);
                } else if (instruction_is(&item->parsed, "ARG"))
                        r = add_global(plan, item);
                else
                        return error_set(plan->error, OUTCOME_BAD_REQUEST, "no build stage in current context");
                r = refuse_at(r, item->first, plan->error);
        }
        if (r == 0 && json_array_size(plan->stages) == 0)
                return error_set(plan->error, OUTCOME_BAD_REQUEST, "no build stage in current context");
        return r;
}

/* --- Which stages are needed -------------------------------------------------------------------------------------- */

static int need(json_t *needs, int stage)
{
        json_t *have;
        size_t i;

        json_array_foreach(needs, i, have)
                if (json_integer_value(have) == stage)
                        return 0;
        return stage >= 0 && json_array_append_new(needs, json_integer(stage)) < 0 ? -ENOMEM : 0;
}

static int need_from(const Plan *plan, const char *from, size_t before, json_t *needs)
{
        return options_context(plan->options, from) ? 0 : need(needs, find_stage(plan->stages, from, before));
}

/* "from=x" among the options of a mount. */
static int need_mount(const Plan *plan, const char *mount, size_t before, json_t *needs)
{
        CLEANUP_FREE char *copy = strdup(mount);
        char *rest = copy, *option;
        int r = copy ? 0 : -ENOMEM;

        while (r == 0 && (option = strsep(&rest, ","))) {
                const char *from = str_after_prefix(option, "from=");
                if (from)
                        r = need_from(plan, from, before, needs);
        }
        return r;
}

static int need_instruction(const Plan *plan, const ChangeInstruction *instruction, size_t before, json_t *needs)
{
        bool copies = instruction_is(instruction, "COPY") || instruction_is(instruction, "ADD");
        const char *from = copies ? instruction_flag(instruction, "from") : NULL;
        int r = from ? need_from(plan, from, before, needs) : 0;

        if (r < 0 || !instruction_is(instruction, "RUN"))
                return r;
        for (char **flag = instruction->flags; r == 0 && *flag; flag++)
                if (str_after_prefix(*flag, "--mount="))
                        r = need_mount(plan, str_after_prefix(*flag, "--mount="), before, needs);
        return r;
}

/* What each stage needs itself: earlier ones only. What a base's triggers need is not seen here. */
static int find_needs(const Plan *plan)
{
        size_t at = 0;
        json_t *needs = NULL;
        int r = 0;

        for (size_t i = 0; r == 0 && i < plan->file->count; i++) {
                const ChangeInstruction *instruction = &plan->file->items[i].parsed;

                if (instruction_is(instruction, "FROM")) {
                        json_t *stage = json_array_get(plan->stages, at++);
                        needs = json_array();
                        if (!needs || json_object_set_new(stage, "Needs", needs) < 0)
                                return -ENOMEM;
                        r = need(needs, (int) json_get_int(stage, "BaseStage", -1));
                } else if (needs)
                        r = need_instruction(plan, instruction, at - 1, needs);
        }
        return r;
}

/* From the target backwards. */
static int mark_needed(const Plan *plan, size_t target)
{
        CLEANUP_FREE bool *needed = calloc(json_array_size(plan->stages), sizeof(bool));
        json_t *stage, *need;
        size_t i;

        if (!needed)
                return -ENOMEM;
        needed[target] = true;
        for (size_t at = target + 1; at > 0; at--)
                json_array_foreach(json_get_array(json_array_get(plan->stages, at - 1), "Needs"), i, need)
                        if (needed[at - 1])
                                needed[json_integer_value(need)] = true;
        json_array_foreach(plan->stages, i, stage)
                if (json_set_bool(stage, "Needed", needed[i]) < 0)
                        return -ENOMEM;
        return 0;
}

static int find_target(Plan *plan, size_t *ret)
{
        size_t n = json_array_size(plan->stages);
        const char *target = plan->options->target;
        int found = (int) n - 1;

        if (!str_empty(target))
                found = find_stage(plan->stages, target, n);
        if (found < 0)
                return error_set(plan->error, OUTCOME_BAD_REQUEST, "target stage \"%s\" could not be found", target);
        *ret = (size_t) found;
        return 0;
}

int dockerfile_plan(const Dockerfile *file, const DockerfileOptions *options, json_t **ret_plan, Error *error)
{
        CLEANUP(plan_clear)
        Plan plan = { .file = file,
                      .options = options,
                      .arguments = { options, json_object(), json_object() },
                      .metas = json_array(),
                      .stages = json_array(),
                      .error = error };
        size_t target = 0;
        int r;

        if (!plan.metas || !plan.stages || !plan.arguments.meta || !plan.arguments.stage)
                return -ENOMEM;
        r = read_stages(&plan);
        if (r == 0)
                r = find_target(&plan, &target);
        if (r == 0)
                r = find_needs(&plan);
        if (r == 0)
                r = mark_needed(&plan, target);
        if (r != 0)
                return r;
        *ret_plan = json_pack("{sO sO si sO}", "Arguments", plan.metas, "Values", plan.arguments.meta, "Target",
                              (int) target, "Stages", plan.stages);
        return *ret_plan ? 0 : -ENOMEM;
}
