/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The programs that may start containers instead of Berth itself: those of the configuration, and runc and crun where
 * they are installed. */
#include <unistd.h>

#include "berth/json.h"
#include "berth/string.h"
#include "engine-runtime.h"

static const char *const well_known[] = { "crun", "runc" };
static const char *const directories[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin" };

/* The path of an installed program, owned by the caller; NULL where there is none. */
static char *find_program(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
                CLEANUP_FREE char *path = str_printf("%s/%s", directories[i], name);

                if (path && access(path, X_OK) == 0)
                        return TAKE_PTR(path);
        }
        return NULL;
}

/* dockerd's name of its default. */
static const char *plain_name(const char *name)
{
        return str_equal(name, "io.containerd.runc.v2") ? "runc" : name;
}

int runtime_program(const Config *config, const char *name, char ***ret_program, Error *error)
{
        const json_t *runtime = json_get_object(config->runtimes, name);
        CLEANUP_STRV char **program = NULL, **arguments = NULL;
        CLEANUP_FREE char *found = NULL;
        const char *path = json_get_string(runtime, "path");
        int r;

        *ret_program = NULL;
        if (!*name || str_equal(name, "berth"))
                return 0;
        for (size_t i = 0; !path && i < ARRAY_SIZE(well_known); i++)
                if (str_equal(well_known[i], plain_name(name)))
                        path = found = find_program(well_known[i]);
        if (!path)
                return error_set(error, OUTCOME_BAD_REQUEST, "unknown or invalid runtime name: %s", name);
        arguments = json_to_strv(json_get_array(runtime, "runtimeArgs"));
        r = arguments ? strv_append(&program, path) : -ENOMEM;
        for (char **word = arguments; r >= 0 && *word; word++)
                r = strv_append(&program, *word);
        if (r < 0)
                return r;
        *ret_program = TAKE_PTR(program);
        return 0;
}

json_t *runtime_list(const Config *config)
{
        json_t *list = json_pack("{s{ss}}", "berth", "path", "berthd"), *runtime;
        const char *name;

        for (size_t i = 0; list && i < ARRAY_SIZE(well_known); i++) {
                CLEANUP_FREE char *path = find_program(well_known[i]);
                if (path)
                        json_object_set_new(list, well_known[i], json_pack("{ss}", "path", path));
        }
        json_object_foreach(config->runtimes, name, runtime)
                json_object_set(list, name, runtime);
        return list;
}
