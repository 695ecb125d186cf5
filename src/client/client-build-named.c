/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory goes to the daemon with the context; an image or a repository it gets itself. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/json.h"
#include "client-build-named.h"
#include "client.h"

#define IMAGE "docker-image://"

void client_named_clear(ClientNamed *named)
{
        for (size_t i = 0; i < named->count; i++) {
                free(named->list[i].directory);
                free(named->list[i].prefix);
                dockerignore_free(named->list[i].ignore);
        }
        free(named->list);
        json_decref(named->query);
        *named = (ClientNamed) {};
}

static int add_directory(ClientNamed *named, const char *name, const char *path, Error *error)
{
        DockerIgnore *ignore = NULL;
        char id[ID_LENGTH + 1];
        struct stat st;

        if (stat(path, &st) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "build context %s: path \"%s\" not found", name, path);
        if (!S_ISDIR(st.st_mode))
                return error_set(error, OUTCOME_BAD_REQUEST, "build context %s: %s is no directory", name, path);
        int r = client_context_ignore(path, "", &ignore, error);
        if (r != 0)
                return r;
        client_must_zero(id_generate(id));
        named->list = client_must(reallocarray(named->list, named->count + 1, sizeof(*named->list)));
        ClientNamedContext *context = &named->list[named->count++];
        *context = (ClientNamedContext) { .directory = client_must(strdup(path)),
                                          .prefix = client_must(str_printf(".context.%.20s", id)),
                                          .ignore = ignore };
        json_object_set_new(named->query, name, json_pack("{ss}", "Prefix", context->prefix));
        return 0;
}

static int add(ClientNamed *named, const char *text, Error *error)
{
        const char *equals = strchr(text, '='), *value = equals ? equals + 1 : "", *image;
        CLEANUP_FREE char *name = client_must(strndup(text, strcspn(text, "=")));

        if (!*name || !*value)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid context value: %s, expected key=value", text);
        image = str_after_prefix(value, IMAGE);
        if (image)
                return json_object_set_new(named->query, name, json_pack("{ss}", "Image", image));
        if (str_after_prefix(value, "oci-layout://") || str_after_prefix(value, "target:"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "build context %s: neither OCI layouts nor targets can be contexts here", name);
        if (strstr(value, "://") || str_after_prefix(value, "git@") || str_after_prefix(value, "github.com/"))
                return json_object_set_new(named->query, name, json_pack("{ss}", "Remote", value));
        return add_directory(named, name, value, error);
}

int client_named_parse(char *const *texts, ClientNamed *ret, Error *error)
{
        CLEANUP(client_named_clear) ClientNamed named = {};
        int r = 0;

        if (texts && *texts)
                named.query = client_must(json_object());
        for (; r == 0 && texts && *texts; texts++)
                r = add(&named, *texts, error);
        if (r != 0)
                return r;
        *ret = named;
        named = (ClientNamed) {};
        return 0;
}
