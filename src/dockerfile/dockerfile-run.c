/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RUN to a step: its command, environment, mounts. */
#include <strings.h>

#include "berth/json.h"
#include "berth/string.h"
#include "dockerfile-private.h"

/* --- Mounts ------------------------------------------------------------------------------------------------------- */

typedef enum OptionKind { TEXT, FLAG, NUMBER, OCTAL, BYTES } OptionKind;

#define BIND 1
#define CACHE 2
#define TMPFS 4
#define SECRET 8
#define SSH 16

static const char *const mount_types[] = { "bind", "cache", "tmpfs", "secret", "ssh" };

static const struct {
        const char *name, *key;
        OptionKind kind;
        unsigned types;
} mount_options[] = {
        { "target", "Target", TEXT, BIND | CACHE | TMPFS | SECRET | SSH },
        { "dst", "Target", TEXT, BIND | CACHE | TMPFS | SECRET | SSH },
        { "destination", "Target", TEXT, BIND | CACHE | TMPFS | SECRET | SSH },
        { "source", "Source", TEXT, BIND | CACHE | SECRET },
        { "src", "Source", TEXT, BIND | CACHE | SECRET },
        { "from", "From", TEXT, BIND | CACHE },
        { "id", "Id", TEXT, CACHE | SECRET | SSH },
        { "sharing", "Sharing", TEXT, CACHE },
        { "readonly", "ReadOnly", FLAG, BIND | CACHE },
        { "ro", "ReadOnly", FLAG, BIND | CACHE },
        { "readwrite", "ReadWrite", FLAG, BIND | CACHE },
        { "rw", "ReadWrite", FLAG, BIND | CACHE },
        { "required", "Required", FLAG, SECRET | SSH },
        { "uid", "Uid", NUMBER, CACHE | SECRET | SSH },
        { "gid", "Gid", NUMBER, CACHE | SECRET | SSH },
        { "mode", "Mode", OCTAL, CACHE | SECRET | SSH },
        { "size", "Size", BYTES, TMPFS },
        { "env", "Env", TEXT, SECRET },
};

static int refuse_value(StageWork *work, const char *name, const char *value)
{
        return error_set(work->error, OUTCOME_BAD_REQUEST, "invalid value for %s: %s", name, value);
}

static int parse_octal(const char *text, int64_t *ret)
{
        int64_t value = 0;

        if (!*text || strspn(text, "01234567") != strlen(text) || strlen(text) > 6)
                return -EINVAL;
        for (; *text; text++)
                value = value * 8 + (*text - '0');
        *ret = value;
        return 0;
}

static int parse_bytes(const char *text, int64_t *ret)
{
        static const char units[] = "kmgt";
        CLEANUP_FREE char *digits = strndup(text, strspn(text, "0123456789"));
        const char *unit = text + strlen(digits ?: "");
        int64_t value;

        if (!digits || str_to_int64(digits, 0, INT64_C(1) << 40, &value) < 0)
                return -EINVAL;
        if (*unit && strcasecmp(unit, "b") != 0) {
                const char *at = strchr(units, *unit | 0x20);
                if (!at || (unit[1] && strcasecmp(unit + 1, "b") != 0 && strcasecmp(unit + 1, "ib") != 0))
                        return -EINVAL;
                value <<= 10 * (at - units + 1);
        }
        *ret = value;
        return 0;
}

static int set_option(StageWork *work, json_t *mount, size_t index, const char *value)
{
        const char *name = mount_options[index].name, *key = mount_options[index].key;
        int64_t number;

        switch (mount_options[index].kind) {
        case FLAG:
                if (value && strcasecmp(value, "true") != 0 && !str_equal(value, "1") &&
                    strcasecmp(value, "false") != 0 && !str_equal(value, "0"))
                        return refuse_value(work, name, value);
                return json_set_bool(mount, key, !value || strcasecmp(value, "true") == 0 || str_equal(value, "1"));
        case NUMBER:
                if (str_to_int64(value, 0, UINT32_MAX - 1, &number) < 0)
                        return refuse_value(work, name, value);
                return json_set_int(mount, key, number);
        case OCTAL:
                if (parse_octal(value, &number) < 0)
                        return refuse_value(work, name, value);
                return json_set_int(mount, key, number);
        case BYTES:
                if (parse_bytes(value, &number) < 0)
                        return refuse_value(work, name, value);
                return json_set_int(mount, key, number);
        default:
                return json_set_string(mount, key, value);
        }
}

/* The type comes first, wherever it stands: what other options are there depends on it. */
static int find_type(StageWork *work, const char *text, size_t *ret)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = copy, *option;

        *ret = 0;
        while (copy && (option = strsep(&rest, ","))) {
                const char *value = str_after_prefix(option, "type=");
                size_t i = 0;

                if (!value)
                        continue;
                while (i < ARRAY_SIZE(mount_types) && strcasecmp(mount_types[i], value) != 0)
                        i++;
                if (i == ARRAY_SIZE(mount_types))
                        return error_set(work->error, OUTCOME_BAD_REQUEST, "unsupported mount type \"%s\"", value);
                *ret = i;
        }
        return copy ? 0 : -ENOMEM;
}

static int take_option(StageWork *work, json_t *mount, size_t type, char *option)
{
        char *value = strchr(option, '=');
        CLEANUP_FREE char *expanded = NULL;
        size_t i = 0;
        int r = 0;

        if (value)
                *value++ = 0;
        if (strcasecmp(option, "type") == 0)
                return 0;
        while (i < ARRAY_SIZE(mount_options) &&
               (strcasecmp(mount_options[i].name, option) != 0 || !(mount_options[i].types & 1U << type)))
                i++;
        if (i == ARRAY_SIZE(mount_options))
                return error_set(work->error, OUTCOME_BAD_REQUEST, "unexpected key '%s' in '%s%s%s'", option, option,
                                 value ? "=" : "", value ?: "");
        if (!value && mount_options[i].kind != FLAG)
                return error_set(work->error, OUTCOME_BAD_REQUEST, "invalid field '%s' must be a key=value pair",
                                 option);
        if (value)
                r = stage_expand(work, value, &expanded);
        return r == 0 ? set_option(work, mount, i, expanded) : r;
}

static int check_mount(StageWork *work, json_t *mount, size_t type)
{
        const char *target = json_get_string(mount, "Target"), *sharing = json_get_string(mount, "Sharing");
        CLEANUP_FREE char *from = NULL;
        int r = 0;

        if ((1U << type) & (BIND | CACHE | TMPFS) && str_empty(target))
                return error_set(work->error, OUTCOME_BAD_REQUEST, "target is required for mount type \"%s\"",
                                 mount_types[type]);
        if (sharing && strcasecmp(sharing, "shared") != 0 && strcasecmp(sharing, "private") != 0 &&
            strcasecmp(sharing, "locked") != 0)
                return error_set(work->error, OUTCOME_BAD_REQUEST, "unsupported sharing value \"%s\"", sharing);
        if (!str_empty(target) && *target != '/') {
                CLEANUP_FREE char *joined =
                        str_printf("%s/%s", json_get_string_or(work->change.config, "WorkingDir", ""), target);
                r = joined ? json_set_string(mount, "Target", joined) : -ENOMEM;
        }
        if (json_get_string(mount, "From")) {
                from = strdup(json_get_string(mount, "From"));
                json_object_del(mount, "From");
                if (r == 0)
                        r = from ? stage_from(work, from, mount) : -ENOMEM;
        }
        return r;
}

static int add_mount(StageWork *work, const char *text, json_t *mounts)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = copy, *option;
        size_t type = 0;
        int r = copy ? find_type(work, text, &type) : -ENOMEM;
        CLEANUP_JSON json_t *mount = json_pack("{ss}", "Type", mount_types[type]);

        while (r == 0 && (option = strsep(&rest, ",")))
                r = take_option(work, mount, type, option);
        if (r == 0)
                r = check_mount(work, mount, type);
        return r == 0 && json_array_append(mounts, mount) < 0 ? -ENOMEM : r;
}

/* --- The command -------------------------------------------------------------------------------------------------- */

/* The text of a command in the shell's form, with its here-documents. One that is nothing but a here-document is the
 * command itself, or a program of its own where it says by what it is run. */
static int command_text(const DockerfileInstruction *item, json_t *step, char **ret)
{
        const char *text = item->parsed.words[0], *bare = text + strspn(text, "0123456789");
        CLEANUP_BUFFER Buffer full = { 0 };
        int r = 0;

        if (item->n_heredocs == 1 && bare[0] == '<' && bare[1] == '<' && !strpbrk(bare, BLANKS)) {
                const DockerfileHeredoc *heredoc = &item->heredocs[0];

                if (strncmp(heredoc->content, "#!", 2) != 0) {
                        *ret = strdup(heredoc->content);
                        return *ret ? 0 : -ENOMEM;
                }
                r = json_set_string(step, "Script", heredoc->content);
                CLEANUP_FREE char *path = str_printf("/dev/pipes/%s", heredoc->name);
                if (r == 0)
                        r = path ? json_set_string(step, "ScriptPath", path) : -ENOMEM;
                *ret = TAKE_PTR(path);
                return r;
        }
        r = buffer_append_string(&full, text);
        for (size_t i = 0; r == 0 && i < item->n_heredocs; i++)
                r = buffer_printf(&full, "\n%s%s", item->heredocs[i].content, item->heredocs[i].name);
        if (r < 0)
                return r;
        *ret = buffer_take(&full);
        return *ret ? 0 : -ENOMEM;
}

static int make_argv(StageWork *work, const DockerfileInstruction *item, json_t *step)
{
        CLEANUP_FREE char *text = NULL;
        json_t *argv;
        int r;

        if (item->parsed.json)
                argv = json_from_strv(item->parsed.words);
        else {
                r = command_text(item, step, &text);
                if (r != 0)
                        return r;
                argv = stage_shell(work);
                if (argv)
                        json_array_append_new(argv, json_string(text));
        }
        return argv && json_object_set_new(step, "Argv", argv) >= 0 ? 0 : -ENOMEM;
}

/* "|1 a=b /bin/sh -c make", with "|0" where there are only such as are not told of. */
static int make_created_by(const json_t *arguments, bool others, json_t *step)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *word;
        size_t i, n = json_array_size(arguments);
        int r = n > 0 || others ? buffer_printf(&text, "|%zu ", n) : 0;

        json_array_foreach((json_t *) arguments, i, word)
                r = r == 0 ? buffer_printf(&text, "%s ", json_string_value(word)) : r;
        json_array_foreach(json_get_array(step, "Argv"), i, word)
                r = r == 0 ? buffer_printf(&text, "%s%s", i > 0 ? " " : "", json_string_value(word)) : r;
        return r == 0 ? json_set_string(step, "CreatedBy", text.data ?: "") : r;
}

static int make_env(StageWork *work, json_t *step)
{
        json_t *own = json_get_array(work->change.config, "Env"), *env = own ? json_copy(own) : json_array();
        CLEANUP_JSON json_t *shown = arguments_environment(&work->arguments, own, false);
        CLEANUP_JSON json_t *all = arguments_environment(&work->arguments, own, true);

        if (!env || !shown || !all || json_array_extend(env, all) < 0 || json_object_set_new(step, "Env", env) < 0)
                return -ENOMEM;
        return make_created_by(shown, json_array_size(all) > json_array_size(shown), step);
}

static int check_choice(StageWork *work, const char *flag, const char *value, const char *const *known)
{
        while (value && *known && !str_equal(*known, value))
                known++;
        if (!value || *known)
                return 0;
        return error_set(work->error, OUTCOME_BAD_REQUEST, "unsupported %s mode \"%s\"", flag, value);
}

int stage_run(StageWork *work, const DockerfileInstruction *item, json_t **ret_step)
{
        static const char *const networks[] = { "default", "none", "host", NULL }, *const securities[] = { "sandbox",
                                                                                                           "insecure",
                                                                                                           NULL };
        const char *network = instruction_flag(&item->parsed, "network"),
                   *security = instruction_flag(&item->parsed, "security");
        CLEANUP_JSON json_t *step = json_pack("{ss s[] ss ss}", "Kind", "run", "Mounts", "Network",
                                              network ?: "default", "Security", security ?: "sandbox");
        int r = step ? check_choice(work, "network", network, networks) : -ENOMEM;

        if (r == 0)
                r = check_choice(work, "security", security, securities);
        for (char **flag = item->parsed.flags; r == 0 && *flag; flag++) {
                const char *mount = str_after_prefix(*flag, "--mount=");
                if (mount)
                        r = add_mount(work, mount, json_get_array(step, "Mounts"));
        }
        if (r == 0)
                r = make_argv(work, item, step);
        if (r == 0)
                r = make_env(work, step);
        if (r == 0)
                *ret_step = TAKE_PTR(step);
        return r;
}
