/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any text as a Dockerfile, and as a .dockerignore: it has a plan and steps, or a refusal with a message. */
#include <stdint.h>
#include <string.h>

#include "berth/dockerfile.h"
#include "berth/json.h"
#include "berth/string.h"

static void check(int r, const Error *error)
{
        if (r < 0 || (r > 0 && !error->message))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_DOCKERFILE Dockerfile file = {};
        CLEANUP_JSON json_t *arguments = json_pack("{ss ss}", "X", "1", "HTTP_PROXY", "p"), *plan = NULL,
                            *base = json_pack("{s[ss] s[s]}", "Env", "PATH=/bin", "A=b", "OnBuild", "RUN x");
        DockerfileOptions options = {
                .arguments = arguments, .labels = arguments, .platform = "linux/amd64", .host_platform = "linux/amd64"
        };
        CLEANUP_ERROR Error error = {}, ignored = {};
        CLEANUP_DOCKERIGNORE DockerIgnore *ignore = NULL;
        int r = dockerignore_parse((const char *) data, size, &ignore, &ignored);

        check(r, &ignored);
        if (r == 0)
                dockerignore_match(ignore, "a/b/c.o");
        r = dockerfile_parse((const char *) data, size, &file, &error);
        if (r == 0)
                r = dockerfile_plan(&file, &options, &plan, &error);
        check(r, &error);
        for (size_t i = 0; r == 0 && i < json_array_size(json_get_array(plan, "Stages")); i++) {
                CLEANUP_ERROR Error refusal = {};
                json_t *stage = NULL;

                check(dockerfile_stage(&file, &options, plan, i, base, NULL, &stage, &refusal), &refusal);
                json_decref(stage);
        }
        return 0;
}
