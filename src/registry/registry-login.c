/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a registry takes a name and a password; and what a registry says of an image that is not here. */
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "registry-fetch.h"

/* "https://index.docker.io/v1/" and the like: clients name registries by old URLs. */
static char *domain_of(const char *server)
{
        const char *host = server;
        const char *rest;

        if (str_empty(server))
                return strdup(REGISTRY_HUB);
        if ((rest = str_after_prefix(host, "https://")) || (rest = str_after_prefix(host, "http://")))
                host = rest;
        char *domain = strndup(host, strcspn(host, "/"));
        if (domain && (str_equal(domain, "index.docker.io") || str_equal(domain, REGISTRY_HUB_HOST))) {
                free(domain);
                domain = strdup(REGISTRY_HUB);
        }
        return domain;
}

/* The registry's greeting, with the credentials. */
static int try_login(RegistrySession *session, char **ret_identity, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *url = str_printf("%s/v2/", session->endpoints[session->current].url);
        RegistryRequest request = { .method = "GET", .url = "/v2/", .timeout = 30 };
        int r = url ? 0 : -ENOMEM;

        if (r == 0 && session->challenge.scheme == REGISTRY_BEARER) {
                r = registry_token_fetch(session, !session->auth->identity_token, ret_identity, error);
        } else if (r == 0 && session->challenge.scheme == REGISTRY_BASIC)
                r = registry_session_authorize(session, error);
        if (r == OUTCOME_UNAUTHORIZED) {
                CLEANUP_FREE char *text = TAKE_PTR(error->message);

                return error_set(error, OUTCOME_UNAUTHORIZED, "Get \"%s\": %s", url, text);
        }
        if (r == 0)
                r = registry_session_send(session, &request, &response, error);
        if (r != 0)
                return r;
        if (response.status == 200)
                return 0;
        return error_set(error, response.status == 401 ? OUTCOME_UNAUTHORIZED : OUTCOME_FAILED,
                         "login attempt to %s failed with status: %d %s", url, response.status,
                         response.status == 401   ? "Unauthorized"
                         : response.status == 404 ? "Not Found"
                                                  : "");
}

int registry_login(const RegistryConfig *config, const RegistryAuth *auth, json_t **ret, Error *error)
{
        CLEANUP_REGISTRY_SESSION RegistrySession session = { 0 };
        CLEANUP_FREE char *domain = domain_of(auth->server), *identity = NULL;
        int r = domain ? 0 : -ENOMEM;

        if (r == 0)
                /* As for a push: no mirror is asked. */
                r = registry_session_init(&session, config, auth, domain, NULL, "push", REGISTRY_CONFINE_SELF, error);
        if (r == 0)
                r = registry_session_connect(&session, error);
        if (r == 0)
                r = try_login(&session, &identity, error);
        if (r != 0)
                return r;
        *ret = json_pack("{ss ss}", "Status", "Login Succeeded", "IdentityToken",
                         identity ?: auth->identity_token ?: "");
        return *ret ? 0 : -ENOMEM;
}

/* --- Distribution ------------------------------------------------------------------------------------------------- */

static json_t *platform_of(const json_t *object)
{
        static const char *const members[] = { "architecture", "os", "os.version", "os.features", "variant" };
        json_t *platform = json_object();

        for (size_t i = 0; i < ARRAY_SIZE(members) && platform; i++) {
                json_t *value = json_object_get(object, members[i]);

                if (json_is_string(value) ? json_string_length(value) > 0 : json_is_array(value))
                        json_object_set(platform, members[i], value);
        }
        return platform;
}

static int add_platforms(RegistrySession *session, const RegistryDocument *document, json_t *platforms, Error *error)
{
        const json_t *manifest = document->manifest.json, *config = json_get_object(manifest, "config");
        CLEANUP_BUFFER Buffer data = { 0 };
        json_t *item;
        size_t i;

        if (document->manifest.kind == REGISTRY_MANIFEST_INDEX) {
                json_array_foreach(json_get_array(manifest, "manifests"), i, item)
                        if (json_object_get(item, "platform") &&
                            json_array_append_new(platforms, platform_of(json_object_get(item, "platform"))) < 0)
                                return -ENOMEM;
                return 0;
        }
        int r = registry_fetch_blob(session, json_get_string(config, "digest"), json_get_int(config, "size", 0), &data,
                                    error);
        if (r != 0)
                return r;
        CLEANUP_JSON json_t *parsed = json_loadb(data.data ?: "", data.size, 0, NULL);
        return json_array_append_new(platforms, platform_of(parsed)) < 0 ? -ENOMEM : 0;
}

int registry_inspect(const RegistryConfig *config, const RegistryAuth *auth, const StoreReference *reference,
                     json_t **ret, Error *error)
{
        CLEANUP_REGISTRY_SESSION RegistrySession session = { 0 };
        CLEANUP_REGISTRY_DOCUMENT RegistryDocument document = { 0 };
        CLEANUP_JSON json_t *platforms = json_array();
        int r = platforms ? 0 : -ENOMEM;

        if (r == 0)
                r = registry_session_init(&session, config, auth, reference->domain, reference->path, "pull",
                                          REGISTRY_CONFINE_SELF, error);
        do {
                error_clear(error);
                if (r == 0)
                        r = registry_session_connect(&session, error);
                if (r == 0)
                        r = registry_fetch_manifest(&session, reference->digest ?: reference->tag, NULL, &document,
                                                    error);
        } while (r > 0 && session.endpoints[session.current].mirror && registry_session_next(&session) && !(r = 0));
        if (r == 0)
                r = add_platforms(&session, &document, platforms, error);
        if (r != 0)
                return r;
        *ret = json_pack("{s{ss ss sI} sO}", "Descriptor", "mediaType", document.manifest.type, "digest",
                         document.manifest.digest, "size", (json_int_t) document.data.size, "Platforms", platforms);
        return *ret ? 0 : -ENOMEM;
}
