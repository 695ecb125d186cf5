/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes, bind mounts and tmpfs of a create request. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "berth/file.h"
#include "client-run.h"
#include "client-text.h"

/* A path that begins with a dot, made absolute by this process's directory, without touching what is on disk. */
static char *make_absolute(const char *path)
{
        CLEANUP_FREE char *here = client_must(getcwd(NULL, 0));
        CLEANUP_FREE char *joined = client_must(str_printf("%s/%s", here, path));
        CLEANUP_BUFFER Buffer clean = {};
        char *rest = joined, *part;

        while ((part = strsep(&rest, "/"))) {
                if (!*part || strcmp(part, ".") == 0)
                        continue;
                if (strcmp(part, "..") == 0) {
                        char *slash = clean.data ? strrchr(clean.data, '/') : NULL;

                        if (slash) {
                                *slash = 0;
                                clean.size = slash - clean.data;
                        }
                        continue;
                }
                client_must_zero(buffer_printf(&clean, "/%s", part));
        }
        return clean.size > 0 ? client_must(buffer_take(&clean)) : client_must(strdup("/"));
}

static int add_volume(json_t *body, json_t *binds, const char *value, Error *error)
{
        const char *colon = strchr(value, ':');
        CLEANUP_FREE char *source = NULL;

        if (!*value)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid empty volume spec");
        if (!colon) {
                client_must_zero(json_object_set_new(client_run_object(body, "Volumes"), value, json_object()));
                return 0;
        }
        source = client_must(strndup(value, colon - value));
        if (*source == '.') {
                CLEANUP_FREE char *absolute = make_absolute(source);
                CLEANUP_FREE char *bind = client_must(str_printf("%s%s", absolute, colon));

                client_must_zero(json_array_append_new(binds, json_string(bind)));
                return 0;
        }
        client_must_zero(json_array_append_new(binds, json_string(value)));
        return 0;
}

/* --- --mount --- */

typedef enum MountForm {
        MOUNT_STRING,
        MOUNT_BOOL,
        MOUNT_SIZE,
        MOUNT_OCTAL,
        MOUNT_PAIR, /* key=value into an object */
} MountForm;

static const struct {
        const char *key, *path;
        MountForm form;
        const char *type; /* the only type it goes with; NULL: any */
} mount_keys[] = {
        { "type", "Type", MOUNT_STRING, NULL },
        { "source", "Source", MOUNT_STRING, NULL },
        { "src", "Source", MOUNT_STRING, NULL },
        { "target", "Target", MOUNT_STRING, NULL },
        { "dst", "Target", MOUNT_STRING, NULL },
        { "destination", "Target", MOUNT_STRING, NULL },
        { "readonly", "ReadOnly", MOUNT_BOOL, NULL },
        { "ro", "ReadOnly", MOUNT_BOOL, NULL },
        { "consistency", "Consistency", MOUNT_STRING, NULL },
        { "bind-propagation", "BindOptions.Propagation", MOUNT_STRING, "bind" },
        { "bind-nonrecursive", "BindOptions.NonRecursive", MOUNT_BOOL, "bind" },
        { "bind-create-src", "BindOptions.CreateMountpoint", MOUNT_BOOL, "bind" },
        { "volume-subpath", "VolumeOptions.Subpath", MOUNT_STRING, "volume" },
        { "volume-nocopy", "VolumeOptions.NoCopy", MOUNT_BOOL, "volume" },
        { "volume-label", "VolumeOptions.Labels", MOUNT_PAIR, "volume" },
        { "volume-driver", "VolumeOptions.DriverConfig.Name", MOUNT_STRING, "volume" },
        { "volume-opt", "VolumeOptions.DriverConfig.Options", MOUNT_PAIR, "volume" },
        { "image-subpath", "ImageOptions.Subpath", MOUNT_STRING, "image" },
        { "tmpfs-size", "TmpfsOptions.SizeBytes", MOUNT_SIZE, "tmpfs" },
        { "tmpfs-mode", "TmpfsOptions.Mode", MOUNT_OCTAL, "tmpfs" },
};

static int refuse_value(const char *key, const char *value, Error *error)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid value for %s: %s", key, value);
}

static int set_recursive(json_t *mount, const char *value, Error *error)
{
        if (strcmp(value, "enabled") == 0)
                return 0;
        if (strcmp(value, "disabled") == 0)
                client_run_set(mount, "BindOptions.NonRecursive", json_true());
        else if (strcmp(value, "writable") == 0)
                client_run_set(mount, "BindOptions.ReadOnlyNonRecursive", json_true());
        else if (strcmp(value, "readonly") == 0)
                client_run_set(mount, "BindOptions.ReadOnlyForceRecursive", json_true());
        else
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", "
                                 "\"writable\", or \"readonly\")",
                                 value);
        return 0;
}

static int set_member(json_t *mount, size_t i, const char *value, Error *error)
{
        const char *key = mount_keys[i].key, *path = mount_keys[i].path;
        const char *equal = strchr(value, '=');
        int64_t number;
        char *end;

        switch (mount_keys[i].form) {
        case MOUNT_STRING:
                client_run_set(mount, path, json_string(value));
                return 0;
        case MOUNT_BOOL:
                if (strcmp(value, "true") != 0 && strcmp(value, "1") != 0 && strcmp(value, "false") != 0 &&
                    strcmp(value, "0") != 0)
                        return refuse_value(key, value, error);
                client_run_set(mount, path, json_boolean(*value == 't' || *value == '1'));
                return 0;
        case MOUNT_SIZE:
                if (text_parse_size(value, &number) < 0)
                        return refuse_value(key, value, error);
                client_run_set(mount, path, json_integer(number));
                return 0;
        case MOUNT_OCTAL:
                number = strtoul(value, &end, 8);
                if (*end || !*value)
                        return refuse_value(key, value, error);
                client_run_set(mount, path, json_integer(number));
                return 0;
        default: {
                CLEANUP_FREE char *name = client_must(strndup(value, equal ? (size_t) (equal - value) : strlen(value)));

                client_must_zero(
                        json_object_set_new(client_run_object(mount, path), name, json_string(equal ? equal + 1 : "")));
                return 0;
        }
        }
}

/* Bind, volume, ... options beside another type than their own make no sense. */
static int check_types(const json_t *mount, unsigned used, Error *error)
{
        const char *type = json_string_value(json_object_get(mount, "Type"));

        if (!json_object_get(mount, "Target"))
                return error_set(error, OUTCOME_BAD_REQUEST, "target is required");
        for (size_t i = 0; i < ARRAY_SIZE(mount_keys); i++)
                if ((used & 1u << i) && mount_keys[i].type && strcmp(mount_keys[i].type, type) != 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "cannot mix '%s-*' options with mount type '%s'",
                                         mount_keys[i].type, type);
        return 0;
}

static int parse_field(json_t *mount, char *field, unsigned *used, Error *error)
{
        char *equal = strchr(field, '=');
        const char *value = equal ? equal + 1 : NULL;

        if (equal)
                *equal = 0;
        for (char *c = field; *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c += 'a' - 'A';
        if (value && strcmp(field, "bind-recursive") == 0)
                return set_recursive(mount, value, error);
        for (size_t i = 0; i < ARRAY_SIZE(mount_keys); i++) {
                if (strcmp(mount_keys[i].key, field) != 0)
                        continue;
                if (!value && mount_keys[i].form != MOUNT_BOOL)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid field '%s' must be a key=value pair",
                                         field);
                *used |= 1u << i;
                return set_member(mount, i, value ?: "true", error);
        }
        return error_set(error, OUTCOME_BAD_REQUEST, "unexpected key '%s' in '%s=%s'", field, field, value ?: "");
}

char *client_csv_next(char **rest)
{
        char *start = *rest, *to = start, *s = start;
        bool quoted = s && *s == '"';

        if (!s)
                return NULL;
        for (s += quoted; *s && (quoted || *s != ','); s++) {
                if (quoted && *s == '"') {
                        if (s[1] != '"') {
                                s++;
                                break;
                        }
                        s++;
                }
                *to++ = *s;
        }
        *rest = *s == ',' ? s + 1 : NULL;
        *to = 0;
        return start;
}

int client_mount_parse(const char *value, json_t **ret_mount, Error *error)
{
        CLEANUP_JSON json_t *mount = client_must(json_pack("{s:s}", "Type", "volume"));
        CLEANUP_FREE char *copy = client_must(strdup(value));
        char *rest = copy, *field;
        unsigned used = 0;
        int r = 0;

        while (r == 0 && (field = client_csv_next(&rest)))
                r = parse_field(mount, field, &used, error);
        if (r == 0)
                r = check_types(mount, used, error);
        if (r != 0)
                return r;
        if (str_equal(json_string_value(json_object_get(mount, "Type")), "bind") &&
            *(json_string_value(json_object_get(mount, "Source")) ?: "") == '.') {
                CLEANUP_FREE char *absolute = make_absolute(json_string_value(json_object_get(mount, "Source")));

                client_run_set(mount, "Source", json_string(absolute));
        }
        *ret_mount = TAKE_PTR(mount);
        return 0;
}

int client_check_mount(const char *value, Error *error)
{
        CLEANUP_JSON json_t *mount = NULL;

        return client_mount_parse(value, &mount, error);
}

int client_run_volumes(const ClientArguments *arguments, json_t *body, Error *error)
{
        CLEANUP_JSON json_t *binds = client_must(json_array()), *mounts = client_must(json_array());
        char *const *s;

        for (s = client_value(arguments, "volume")->list; s && *s; s++) {
                int r = add_volume(body, binds, *s, error);

                if (r != 0)
                        return r;
        }
        for (s = client_value(arguments, "tmpfs")->list; s && *s; s++) {
                const char *colon = strchr(*s, ':');
                CLEANUP_FREE char *path = client_must(strndup(*s, strcspn(*s, ":")));

                client_must_zero(json_object_set_new(client_run_object(body, "HostConfig.Tmpfs"), path,
                                                     json_string(colon ? colon + 1 : "")));
        }
        for (s = client_value(arguments, "mount")->list; s && *s; s++) {
                json_t *mount;
                int r = client_mount_parse(*s, &mount, error);

                if (r != 0)
                        return r;
                client_must_zero(json_array_append_new(mounts, mount));
        }
        if (json_array_size(binds) > 0)
                client_run_set(body, "HostConfig.Binds", json_incref(binds));
        if (json_array_size(mounts) > 0)
                client_run_set(body, "HostConfig.Mounts", json_incref(mounts));
        return 0;
}
