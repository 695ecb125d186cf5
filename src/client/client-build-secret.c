/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets travel in a header of their own, so that they are in no URL and in no archive. A header has its limit. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/base64.h"
#include "berth/file.h"
#include "berth/json.h"
#include "client-build-secret.h"
#include "client.h"

#define SECRETS_MAX (32u * 1024)

typedef struct Secret {
        char *id, *file, *variable; /* owned */
} Secret;

static void secret_clear(Secret *secret)
{
        free(secret->id);
        free(secret->file);
        free(secret->variable);
}

static void set(char **to, const char *value)
{
        free(*to);
        *to = client_must(strdup(value));
}

static int parse_secret(const char *text, Secret *secret, Error *error)
{
        CLEANUP_FREE char *copy = client_must(strdup(text));
        char *rest = copy, *field;

        while ((field = strsep(&rest, ","))) {
                char *value = strchr(field, '=');

                if (!value && !strchr(text, ',')) {
                        set(&secret->file, field);
                        continue;
                }
                if (!value)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid field '%s' must be a key=value pair",
                                         field);
                *value++ = 0;
                if (strcmp(field, "id") == 0)
                        set(&secret->id, value);
                else if (strcmp(field, "src") == 0 || strcmp(field, "source") == 0)
                        set(&secret->file, value);
                else if (strcmp(field, "env") == 0)
                        set(&secret->variable, value);
                else if (strcmp(field, "type") != 0 || (strcmp(value, "file") != 0 && strcmp(value, "env") != 0))
                        return error_set(error, OUTCOME_BAD_REQUEST, "unexpected key '%s' in '%s'", field, text);
        }
        if (!secret->id && secret->file)
                set(&secret->id, strrchr(secret->file, '/') ? strrchr(secret->file, '/') + 1 : secret->file);
        if (str_empty(secret->id))
                return error_set(error, OUTCOME_BAD_REQUEST, "secret %s has no id", text);
        return 0;
}

static int read_secret(const Secret *secret, char **ret, size_t *ret_size, Error *error)
{
        const char *variable = secret->variable ?: secret->file ? NULL : secret->id, *value;
        int r;

        value = variable ? getenv(variable) : NULL;
        if (value) {
                *ret = client_must(strdup(value));
                *ret_size = strlen(value);
                return 0;
        }
        if (variable && secret->variable)
                return error_set(error, OUTCOME_BAD_REQUEST, "secret %s: the environment has no %s", secret->id,
                                 variable);
        r = file_read_at(AT_FDCWD, secret->file ?: secret->id, SECRETS_MAX, ret, ret_size);
        if (r == -EFBIG)
                return error_set(error, OUTCOME_BAD_REQUEST, "secret %s is larger than %u KiB", secret->id,
                                 SECRETS_MAX / 1024);
        return r < 0 ? error_set(error, OUTCOME_BAD_REQUEST, "cannot read secret %s: %s", secret->id, strerror(-r)) : 0;
}

static int add_secret(const char *text, json_t *secrets, size_t *total, Error *error)
{
        CLEANUP(secret_clear) Secret secret = {};
        CLEANUP_FREE char *data = NULL;
        size_t size = 0;
        int r = parse_secret(text, &secret, error);

        if (r == 0)
                r = read_secret(&secret, &data, &size, error);
        if (r != 0)
                return r;
        *total += size;
        if (*total > SECRETS_MAX)
                return error_set(error, OUTCOME_BAD_REQUEST, "the secrets are larger than %u KiB together",
                                 SECRETS_MAX / 1024);
        CLEANUP_FREE char *encoded = client_must(base64_encode(data, size, false));
        json_object_set_new(secrets, secret.id, json_string(encoded));
        explicit_bzero(data, size);
        explicit_bzero(encoded, strlen(encoded));
        return 0;
}

/* A key by itself would need an agent to be in: that is what ssh-agent is for. */
static int add_agent(const char *text, json_t *agents, Error *error)
{
        const char *equals = strchr(text, '=');
        CLEANUP_FREE char *id = client_must(equals ? strndup(text, (size_t) (equals - text)) : strdup(text));
        const char *given = equals ? equals + 1 : getenv("SSH_AUTH_SOCK");
        CLEANUP_FREE char *path = str_empty(given) ? NULL : realpath(given, NULL);
        struct stat st;

        if (str_empty(given))
                return error_set(error, OUTCOME_BAD_REQUEST, "ssh %s: SSH_AUTH_SOCK names no agent", id);
        if (!path || stat(path, &st) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "ssh %s: cannot open %s: %s", id, given, strerror(errno));
        if (!S_ISSOCK(st.st_mode))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "ssh %s: %s is not an agent's socket; add the key to an ssh-agent and give its socket",
                                 id, given);
        json_object_set_new(agents, id, json_string(path));
        return 0;
}

int client_build_secrets(char *const *secrets, char *const *agents, char **ret_header, Error *error)
{
        CLEANUP_JSON json_t *all = client_must(json_pack("{s{} s{}}", "secrets", "ssh"));
        size_t total = 0;
        int r = 0;

        *ret_header = NULL;
        if ((!secrets || !*secrets) && (!agents || !*agents))
                return 0;
        for (; r == 0 && secrets && *secrets; secrets++)
                r = add_secret(*secrets, json_get_object(all, "secrets"), &total, error);
        for (; r == 0 && agents && *agents; agents++)
                r = add_agent(*agents, json_get_object(all, "ssh"), error);
        if (r != 0)
                return r;
        CLEANUP_FREE char *text = client_must(json_dumps(all, JSON_COMPACT));
        CLEANUP_FREE char *encoded = client_must(base64_encode(text, strlen(text), false));
        *ret_header = client_must(str_printf("X-Berth-Build: %s\r\n", encoded));
        explicit_bzero(text, strlen(text));
        explicit_bzero(encoded, strlen(encoded));
        return 0;
}
