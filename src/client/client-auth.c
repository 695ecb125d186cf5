/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which store is asked: the helper named for the host in "credHelpers", else the one in "credsStore", else the file. A
 * helper's entries have an empty entry in "auths", which tells that there is one. */
#include <string.h>

#include "berth/base64.h"
#include "berth/json.h"
#include "client-auth.h"
#include "client-helper.h"
#include "client-reference.h"
#include "client.h"

/* The user name that stands for "the secret is a token". */
#define TOKEN_USER "<token>"

char *client_auth_key(const char *reference)
{
        CLEANUP_FREE char *name = NULL, *tag = NULL;

        client_reference_split(reference, &name, &tag);
        name[strcspn(name, "/")] = 0;
        return strcmp(name, "docker.io") == 0 || strcmp(name, "index.docker.io") == 0
                       ? client_must(strdup(CLIENT_AUTH_HUB))
                       : TAKE_PTR(name);
}

char *client_auth_hostname(const char *key)
{
        const char *host = strstr(key, "://");

        host = host ? host + 3 : key;
        return client_must(strndup(host, strcspn(host, "/")));
}

static const char *find_helper(const ClientConfig *config, const char *key)
{
        const char *helper = json_get_string(json_get_object(config->root, "credHelpers"), key);

        return helper ?: json_get_string(config->root, "credsStore");
}

/* The entry of the file, under the key or under another spelling of its host. */
static json_t *find_entry(const ClientConfig *config, const char *key)
{
        json_t *auths = json_get_object(config->root, "auths"), *entry = json_get_object(auths, key);
        const char *other;

        if (entry)
                return entry;
        json_object_foreach(auths, other, entry) {
                CLEANUP_FREE char *name = client_auth_hostname(other);

                /* Only a key that is a plain host name stands for every spelling of it. */
                if (strcmp(name, key) == 0)
                        return entry;
        }
        return NULL;
}

static void copy_member(json_t *to, const json_t *from, const char *key)
{
        if (!str_empty(json_get_string(from, key)))
                client_must_zero(json_set_string(to, key, json_get_string(from, key)));
}

static int decode_entry(const json_t *entry, const char *key, json_t *auth, Error *error)
{
        const char *encoded = json_get_string(entry, "auth");
        CLEANUP_FREE char *text = NULL;
        size_t size;
        char *colon;

        copy_member(auth, entry, "username");
        copy_member(auth, entry, "password");
        copy_member(auth, entry, "identitytoken");
        copy_member(auth, entry, "registrytoken");
        if (str_empty(encoded))
                return 0;
        if (base64_decode(encoded, &text, &size) < 0 || !(colon = strchr(text, ':')))
                return error_set(error, OUTCOME_BAD_REQUEST, "what is kept for \"%s\" in config.json is not readable",
                                 key);
        *colon = 0;
        if (json_set_string(auth, "username", *text ? text : NULL) < 0 ||
            json_set_string(auth, "password", colon[1] ? colon + 1 : NULL) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "what is kept for \"%s\" in config.json is not text", key);
        return 0;
}

static int get_from_file(const ClientConfig *config, const char *key, json_t *auth, Error *error)
{
        const json_t *entry = find_entry(config, key);
        int r;

        if (!entry)
                return 0;
        r = decode_entry(entry, key, auth, error);
        if (r == 0 && json_object_size(auth) > 0)
                client_must_zero(json_set_string(auth, "serveraddress", key));
        return r;
}

static int get_from_helper(const char *helper, const char *key, json_t *auth, Error *error)
{
        CLEANUP_JSON json_t *found = NULL;
        const char *user, *secret;
        int r = client_helper_get(helper, key, &found, error);

        if (r != 0 || !found)
                return r;
        user = json_get_string_or(found, "Username", "");
        secret = json_get_string_or(found, "Secret", "");
        if (strcmp(user, TOKEN_USER) == 0) {
                client_must_zero(json_set_string(auth, "identitytoken", secret));
        } else {
                client_must_zero(json_set_string(auth, "username", user));
                client_must_zero(json_set_string(auth, "password", secret));
        }
        client_must_zero(json_set_string(auth, "serveraddress", key));
        return 0;
}

int client_auth_get(const ClientConfig *config, const char *key, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *auth = client_must(json_object());
        const char *helper = find_helper(config, key);
        int r = !str_empty(helper) ? get_from_helper(helper, key, auth, error)
                                   : get_from_file(config, key, auth, error);

        if (r == 0)
                *ret = TAKE_PTR(auth);
        return r;
}

bool client_auth_known(const ClientConfig *config, const char *key)
{
        return json_get_object(json_get_object(config->root, "auths"), key) != NULL;
}

static json_t *make_entry(const json_t *auth)
{
        const char *user = json_get_string_or(auth, "username", ""),
                   *password = json_get_string_or(auth, "password", "");
        CLEANUP_FREE char *both = client_must(str_printf("%s:%s", user, password));
        CLEANUP_FREE char *encoded = client_must(base64_encode(both, strlen(both), false));
        json_t *entry = client_must(json_object());

        if (*user || *password)
                client_must_zero(json_set_string(entry, "auth", encoded));
        copy_member(entry, auth, "identitytoken");
        copy_member(entry, auth, "registrytoken");
        return entry;
}

int client_auth_store(ClientConfig *config, const json_t *auth, bool *ret_plain, Error *error)
{
        const char *key = json_get_string_or(auth, "serveraddress", ""), *helper = find_helper(config, key);
        const char *token = json_get_string(auth, "identitytoken");
        json_t *auths = json_get_object(config->root, "auths");
        CLEANUP_JSON json_t *entry = NULL;
        bool plain = str_empty(helper);
        int r;

        if (!auths) {
                auths = client_must(json_object());
                client_must_zero(json_object_set_new(config->root, "auths", auths));
        }
        if (!plain) {
                r = client_helper_store(helper, key, token ? TOKEN_USER : json_get_string_or(auth, "username", ""),
                                        token ?: json_get_string_or(auth, "password", ""), error);
                if (r != 0)
                        return r;
        }
        entry = plain ? make_entry(auth) : client_must(json_object());
        *ret_plain = false;
        if (json_equal(json_object_get(auths, key), entry))
                return 0;
        client_must_zero(json_object_set(auths, key, entry));
        r = client_config_save(config, error);
        if (r == 0)
                *ret_plain = plain && !token;
        return r;
}

int client_auth_erase(ClientConfig *config, const char *key, Error *error)
{
        const char *helper = find_helper(config, key);
        json_t *auths = json_get_object(config->root, "auths");
        int r;

        if (!str_empty(helper)) {
                r = client_helper_erase(helper, key, error);
                if (r != 0)
                        return r;
        }
        if (json_object_del(auths, key) < 0)
                return 0;
        return client_config_save(config, error);
}

char *client_auth_header(const char *reference)
{
        CLEANUP_CONFIG ClientConfig config = {};
        CLEANUP_FREE char *key = client_auth_key(reference), *text = NULL, *encoded = NULL;
        CLEANUP_JSON json_t *auth = NULL;
        CLEANUP_ERROR Error error = {};

        client_config_load_or_warn(&config);
        if (client_auth_get(&config, key, &auth, &error) != 0) {
                client_complain("WARNING: %s", error.message);
                auth = client_must(json_object());
        }
        text = client_must(json_dumps(auth, JSON_COMPACT));
        encoded = client_must(base64_encode(text, strlen(text), true));
        return client_must(str_printf("X-Registry-Auth: %s\r\n", encoded));
}
