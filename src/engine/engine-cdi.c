/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device requests by name, after the Container Device Interface: files in a few directories say of each device of a
 * kind
 * ("vendor.com/class=name") what a container that asks for it gets: device nodes, mounts, variables. What several files
 * say of one device is told by the last directory that has it. The files are the administrator's; still nothing is
 * taken from them that is not of the form it should have. */
#include <dirent.h>
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "engine-cdi.h"

#define NVIDIA_KIND "nvidia.com/gpu"

typedef struct Cdi {
        json_t *kinds; /* owned: {"vendor.com/class": {"name": {"edits": [objects], "file"}}} */
        json_t *edits; /* owned: what was asked for, without what was there before */
        Error *error;
} Cdi;

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void add_device(json_t *kind, const json_t *device, const json_t *common)
{
        const char *name = json_get_string(device, "name");
        json_t *own = json_get_object(device, "containerEdits");

        if (str_empty(name))
                return;
        CLEANUP_JSON json_t *list = json_array();
        if (common)
                json_array_append(list, (json_t *) common);
        if (own)
                json_array_append(list, own);
        json_object_set(kind, name, list);
}

static void read_specification(Cdi *cdi, const char *path)
{
        CLEANUP_JSON json_t *specification = NULL;
        json_t *device, *kind;
        size_t i;

        if (json_read_at(AT_FDCWD, path, &specification) < 0)
                return;
        const char *name = json_get_string(specification, "kind");
        if (str_empty(name))
                return;
        kind = json_object_get(cdi->kinds, name);
        if (!kind) {
                kind = json_object();
                json_object_set_new(cdi->kinds, name, kind);
        }
        json_array_foreach(json_get_array(specification, "devices"), i, device)
                add_device(kind, device, json_get_object(specification, "containerEdits"));
}

static int is_specification(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && str_has_suffix(entry->d_name, ".json");
}

static void read_directory(Cdi *cdi, const char *directory)
{
        struct dirent **entries = NULL;
        int n = scandir(directory, &entries, is_specification, alphasort);

        for (int i = 0; i < n; i++) {
                CLEANUP_FREE char *path = path_join(directory, entries[i]->d_name);

                if (path)
                        read_specification(cdi, path);
                free(entries[i]);
        }
        free(entries);
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

static int take_device(Cdi *cdi, const char *name)
{
        const char *equals = strchr(name, '=');
        CLEANUP_FREE char *kind = equals ? strndup(name, (size_t) (equals - name)) : NULL;
        json_t *found = kind ? json_object_get(json_object_get(cdi->kinds, kind), equals + 1) : NULL, *edits, *other;
        size_t i, j;

        if (!found)
                return error_set(cdi->error, OUTCOME_FAILED, "CDI device injection failed: unresolvable CDI devices %s",
                                 name);
        json_array_foreach(found, i, edits) {
                bool there = false;

                if (json_array_size(json_object_get(edits, "hooks")) > 0)
                        return error_set(cdi->error, OUTCOME_FAILED,
                                         "CDI device injection failed: %s has hooks, which this version of berth does "
                                         "not run",
                                         name);
                json_array_foreach(cdi->edits, j, other)
                        there = there || other == edits;
                if (!there)
                        json_array_append(cdi->edits, edits);
        }
        return 0;
}

/* As Go prints a list of lists. */
static void print_capabilities(const json_t *capabilities, Buffer *text)
{
        json_t *set, *word;
        size_t i, j;

        buffer_append_string(text, "[");
        json_array_foreach((json_t *) capabilities, i, set) {
                buffer_append_string(text, i > 0 ? " [" : "[");
                json_array_foreach(set, j, word)
                        buffer_printf(text, "%s%s", j > 0 ? " " : "",
                                      json_is_string(word) ? json_string_value(word) : "");
                buffer_append_string(text, "]");
        }
        buffer_append_string(text, "]");
}

static bool wants_gpu(const json_t *request)
{
        json_t *set, *word;
        size_t i, j;

        json_array_foreach(json_get_array(request, "Capabilities"), i, set)
                json_array_foreach(set, j, word)
                        if (json_is_string(word) && str_equal(json_string_value(word), "gpu"))
                                return true;
        return false;
}

/* "--gpus" where the vendor's driver is described: all, so many, or those named. */
static int take_gpus(Cdi *cdi, const json_t *request)
{
        const json_t *names = json_get_array(request, "DeviceIDs");
        int64_t count = json_get_int(request, "Count", 0);
        json_t *name;
        size_t i;
        int r = 0;

        if (json_array_size(names) == 0 && count < 0)
                return take_device(cdi, NVIDIA_KIND "=all");
        for (int64_t k = 0; r == 0 && json_array_size(names) == 0 && k < MIN(count, 64); k++) {
                CLEANUP_FREE char *device = str_printf(NVIDIA_KIND "=%lld", (long long) k);
                r = device ? take_device(cdi, device) : -ENOMEM;
        }
        json_array_foreach((json_t *) names, i, name) {
                CLEANUP_FREE char *device =
                        str_printf(NVIDIA_KIND "=%s", json_is_string(name) ? json_string_value(name) : "");
                if (r == 0)
                        r = device ? take_device(cdi, device) : -ENOMEM;
        }
        return r;
}

static int take_request(Cdi *cdi, const json_t *request)
{
        const char *driver = json_get_string_or(request, "Driver", "");
        CLEANUP_BUFFER Buffer text = { 0 };
        json_t *name;
        size_t i;
        int r = 0;

        if ((!*driver || str_equal(driver, "nvidia")) && wants_gpu(request) && json_object_get(cdi->kinds, NVIDIA_KIND))
                return take_gpus(cdi, request);
        if (!str_equal(driver, "cdi") || json_array_size(json_get_array(request, "Capabilities")) > 0) {
                print_capabilities(json_get_array(request, "Capabilities"), &text);
                return error_set(cdi->error, OUTCOME_FAILED,
                                 "could not select device driver \"%s\" with capabilities: %s", driver,
                                 text.data ? text.data : "");
        }
        json_array_foreach(json_get_array(request, "DeviceIDs"), i, name) {
                if (r == 0)
                        r = take_device(cdi, json_is_string(name) ? json_string_value(name) : "");
        }
        return r;
}

int cdi_resolve(char *const *directories, const json_t *requests, json_t **ret_edits, Error *error)
{
        CLEANUP_JSON json_t *kinds = json_object(), *edits = json_array();
        Cdi cdi = { .kinds = kinds, .edits = edits, .error = error };
        json_t *request;
        size_t i;
        int r = kinds && edits ? 0 : -ENOMEM;

        for (char *const *directory = directories; r == 0 && json_array_size(requests) > 0 && directory && *directory;
             directory++)
                read_directory(&cdi, *directory);
        json_array_foreach((json_t *) requests, i, request) {
                if (r == 0)
                        r = take_request(&cdi, request);
        }
        if (r == 0)
                *ret_edits = TAKE_PTR(edits);
        return r;
}

int cdi_normalise(json_t *requests)
{
        static const struct {
                const char *key;
                json_type type;
        } members[] = { { "Driver", JSON_STRING },
                        { "Count", JSON_INTEGER },
                        { "DeviceIDs", JSON_ARRAY },
                        { "Capabilities", JSON_ARRAY },
                        { "Options", JSON_OBJECT } };
        json_t *request;
        size_t i;

        json_array_foreach(requests, i, request) {
                CLEANUP_JSON json_t *normal = json_object();

                for (size_t k = 0; normal && k < ARRAY_SIZE(members); k++) {
                        json_t *value = json_object_get(request, members[k].key);

                        if (value && json_typeof(value) == members[k].type)
                                json_object_set(normal, members[k].key, value);
                        else
                                json_object_set_new(normal, members[k].key,
                                                    members[k].type == JSON_STRING    ? json_string("")
                                                    : members[k].type == JSON_INTEGER ? json_integer(0)
                                                                                      : json_null());
                }
                if (!normal || json_array_set(requests, i, normal) < 0)
                        return -ENOMEM;
        }
        return 0;
}
