/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-fetch.h"

#include <string.h>

#include "berth/digest.h"
#include "berth/json.h"
#include "berth/string.h"

#define TAGS_MAX 10000
#define PAGES_MAX 1000

static char *const manifest_headers[] = {
        (char *) "Accept: " REGISTRY_TYPE_DOCKER_MANIFEST, (char *) "Accept: " REGISTRY_TYPE_DOCKER_LIST,
        (char *) "Accept: " REGISTRY_TYPE_OCI_MANIFEST,    (char *) "Accept: " REGISTRY_TYPE_OCI_INDEX,
        (char *) "Accept: " REGISTRY_TYPE_DOCKER_SCHEMA1,  NULL
};

void registry_document_clear(RegistryDocument *document)
{
        buffer_clear(&document->data);
        registry_manifest_clear(&document->manifest);
}

int registry_refuse_read(const RegistryResponse *response, const StoreReference *reference, Error *error)
{
        CLEANUP_FREE char *code = NULL, *text = NULL;
        CLEANUP_FREE char *name = reference ? store_reference_familiar_name(reference) : NULL,
                          *whole = reference ? store_reference_familiar(reference) : NULL;
        int r = registry_refusal(response, &code, &text);

        if (r < 0 || (reference && (!name || !whole)))
                return r < 0 ? r : -ENOMEM;
        bool denied = str_equal(code, "denied"), manifest = str_equal(code, "manifest unknown"),
             repository = str_equal(code, "name unknown");
        if (!denied && !manifest && !repository)
                return error_set(error,
                                 !reference && str_equal(code, "unauthorized") ? OUTCOME_UNAUTHORIZED : OUTCOME_FAILED,
                                 "%s", text);
        if (!reference && denied)
                return error_set(error, OUTCOME_FORBIDDEN, "%s", text);
        if (!reference)
                return error_set(error, OUTCOME_NOT_FOUND, "%s", text);
        if (denied)
                return error_set(error, OUTCOME_NOT_FOUND,
                                 "pull access denied for %s, repository does not exist or may require 'docker login': "
                                 "%s",
                                 name, text);
        if (manifest)
                return error_set(error, OUTCOME_NOT_FOUND, "manifest for %s not found: %s", whole, text);
        return error_set(error, OUTCOME_NOT_FOUND, "repository %s not found: %s", name, text);
}

/* Docker looks a tag up by HEAD, and its users know what a refusal then looks like. */
static int refuse_anonymous(const RegistrySession *session, const char *path, bool by_digest, Error *error)
{
        CLEANUP_FREE char *text = TAKE_PTR(error->message);

        return error_set(error, OUTCOME_FAILED, "%s \"%s%s\": %s", by_digest ? "Get" : "Head",
                         session->endpoints[session->current].url, path, text ?: "unauthorized");
}

int registry_fetch_manifest(RegistrySession *session, const char *what, const StoreReference *reference,
                            RegistryDocument *ret, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_REGISTRY_DOCUMENT RegistryDocument document = { 0 };
        CLEANUP_FREE char *path = registry_session_path(session, "manifests", what);
        CLEANUP_FREE char *name = reference ? store_reference_familiar(reference) : strdup(what);
        RegistryRequest request = { .method = "GET", .url = path, .headers = manifest_headers };

        if (!path || !name)
                return -ENOMEM;
        int r = registry_session_send_patiently(session, &request, &response, error);
        if (r == OUTCOME_UNAUTHORIZED)
                return refuse_anonymous(session, path, store_digest_is_valid(what), error);
        if (r != 0)
                return r;
        if (response.status != 200)
                return registry_refuse_read(&response, reference, error);
        r = registry_manifest_parse(response.body.data, response.body.size, response.type, name, &document.manifest,
                                    error);
        if (r != 0)
                return r;
        if (store_digest_is_valid(what) && !str_equal(what, document.manifest.digest))
                return error_set(error, OUTCOME_FAILED, "manifest verification failed for digest %s", what);
        document.data = response.body;
        response.body = (Buffer) { 0 };
        *ret = document;
        document = (RegistryDocument) { 0 };
        return 0;
}

int registry_fetch_blob(RegistrySession *session, const char *digest, int64_t size, Buffer *ret, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *path = registry_session_path(session, "blobs", digest);
        RegistryRequest request = { .method = "GET", .url = path };
        char found[STORE_DIGEST_SIZE];
        int r = OUTCOME_UNAVAILABLE;

        if (!path)
                return -ENOMEM;
        for (unsigned attempt = 0; r == OUTCOME_UNAVAILABLE && attempt < MAX(session->config->attempts, 1u);
             attempt++) {
                error_clear(error);
                r = registry_session_send_patiently(session, &request, &response, error);
        }
        if (r != 0)
                return r;
        if (response.status == 404)
                return error_set(error, OUTCOME_FAILED,
                                 "error pulling image configuration: download failed after attempts=1: unknown blob");
        if (response.status != 200)
                return registry_refuse(&response, "error pulling image configuration", error);
        r = store_digest_data(response.body.data ?: "", response.body.size, found);
        if (r < 0)
                return r;
        if (!str_equal(found, digest) || (int64_t) response.body.size != size)
                return error_set(error, OUTCOME_FAILED, "image config verification failed for digest %s", digest);
        *ret = response.body;
        response.body = (Buffer) { 0 };
        return 0;
}

/* </v2/NAME/tags/list?last=...>; rel="next" */
static char *next_page(const char *link)
{
        const char *start = link ? strchr(link, '<') : NULL, *end = start ? strchr(start, '>') : NULL;

        return end && strstr(end, "next") ? strndup(start + 1, (size_t) (end - start - 1)) : NULL;
}

static int take_tags(const RegistryResponse *response, char ***tags, Error *error)
{
        CLEANUP_JSON json_t *body =
                response->body.size > 0 ? json_loadb(response->body.data, response->body.size, 0, NULL) : NULL;
        json_t *tag;
        size_t i;

        if (!json_is_object(body))
                return error_set(error, OUTCOME_FAILED, "the registry's list of tags is not JSON");
        json_array_foreach(json_get_array(body, "tags"), i, tag) {
                if (!json_is_string(tag) || strv_length(*tags) >= TAGS_MAX)
                        return error_set(error, OUTCOME_FAILED, "the registry's list of tags makes no sense");
                if (strv_append(tags, json_string_value(tag)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int registry_fetch_tags(RegistrySession *session, const StoreReference *reference, char ***ret, Error *error)
{
        CLEANUP_STRV char **tags = calloc(1, sizeof(*tags));
        char *path = registry_session_path(session, "tags", "list");
        int r = path && tags ? 0 : -ENOMEM;

        for (unsigned page = 0; r == 0 && path && page < PAGES_MAX; page++) {
                CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
                RegistryRequest request = { .method = "GET", .url = path };

                r = registry_session_send_patiently(session, &request, &response, error);
                if (r == OUTCOME_UNAUTHORIZED)
                        r = refuse_anonymous(session, path, true, error);
                if (r == 0)
                        r = response.status == 200 ? take_tags(&response, &tags, error)
                                                   : registry_refuse_read(&response, reference, error);
                free(path);
                path = next_page(response.link);
        }
        free(path);
        if (r == 0)
                *ret = TAKE_PTR(tags);
        return r;
}
