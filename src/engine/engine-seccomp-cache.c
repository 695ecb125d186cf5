/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compiled system call filters, beside the containers' runtime directories: a boot compiles each profile once. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/runtime.h"
#include "berth/string.h"
#include "engine-private.h"

static int compile_seccomp(const char *path, const json_t *seccomp, Error *error)
{
        CLEANUP_FREE void *program = NULL;
        size_t size;
        int r = runtime_seccomp_compile(seccomp, &program, &size, error);

        return r == 0 ? file_replace_volatile_at(AT_FDCWD, path, program, size, 0600) : r;
}

static char *seccomp_path(const Engine *engine, const json_t *seccomp)
{
        CLEANUP_FREE char *text = json_dumps(seccomp, JSON_COMPACT);
        uint64_t hash = UINT64_C(1469598103934665603);

        for (const char *p = text; p && *p; p++)
                hash = (hash ^ (unsigned char) *p) * UINT64_C(1099511628211);
        return text ? str_printf("%s/seccomp-%016llx.bpf", engine->config->exec_root, (unsigned long long) hash) : NULL;
}

/* The filter is compiled once a boot for each profile and kept beside the containers. */
int engine_prepare_seccomp(Engine *engine, json_t *config, Error *error)
{
        json_t *seccomp = json_get_object(json_get_object(config, "linux"), "seccomp");

        if (!seccomp)
                return 0;
        /* The default profile is one shared object. */
        if (seccomp != engine->last_seccomp) {
                char *path = seccomp_path(engine, seccomp);

                if (!path)
                        return -ENOMEM;
                engine_seccomp_forget(engine);
                engine->last_seccomp = json_incref(seccomp);
                engine->last_seccomp_path = path;
        }
        if (access(engine->last_seccomp_path, F_OK) < 0) {
                int r = compile_seccomp(engine->last_seccomp_path, seccomp, error);

                if (r != 0)
                        return r;
        }
        json_t *annotations = json_get_object(config, "annotations");
        if (!annotations) {
                annotations = json_object();
                json_object_set_new(config, "annotations", annotations);
        }
        return json_set_string(annotations, "berth.seccomp", engine->last_seccomp_path);
}

void engine_seccomp_forget(Engine *engine)
{
        json_decref(engine->last_seccomp);
        free(engine->last_seccomp_path);
        engine->last_seccomp = NULL;
        engine->last_seccomp_path = NULL;
}
