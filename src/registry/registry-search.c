/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Hub's search: GET ENDPOINT/search?q=TERM&n=LIMIT. */
#include <string.h>

#include "berth/json.h"
#include "berth/string.h"
#include "registry-privilege.h"
#include "registry-session.h"

#define LIMIT_DEFAULT 25
#define LIMIT_MAX 100

/* The values of a filter in either of its shapes, as an array; a new reference. */
static json_t *filter_values(const json_t *filters, const char *name)
{
        const json_t *values = json_object_get(filters, name);
        json_t *array = json_array(), *ignored;
        const char *key;

        if (json_is_array(values))
                json_array_extend(array, (json_t *) values);
        json_object_foreach((json_t *) values, key, ignored)
                json_array_append_new(array, json_string(key));
        return array;
}

static bool parse_bool(const char *text, bool *ret)
{
        static const char *const words[][2] = { { "0", "1" },        { "f", "t" },        { "F", "T" },
                                                { "false", "true" }, { "FALSE", "TRUE" }, { "False", "True" } };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                for (int value = 0; value < 2; value++)
                        if (str_equal(text, words[i][value])) {
                                *ret = value;
                                return true;
                        }
        return false;
}

/* *ret_given is false where the filter is not there. */
static int bool_filter(const json_t *filters, const char *name, bool *ret_given, bool *ret, Error *error)
{
        CLEANUP_JSON json_t *values = filter_values(filters, name);
        const char *first = json_string_value(json_array_get(values, 0));
        CLEANUP_BUFFER Buffer all = { 0 };
        json_t *value;
        size_t i;

        *ret_given = json_object_get(filters, name);
        *ret = false;
        if (!*ret_given || (json_array_size(values) == 1 && first && parse_bool(first, ret)))
                return 0;
        json_array_foreach(values, i, value)
                if (buffer_printf(&all, "%s%s", i > 0 ? " " : "=[", json_string_value(value) ?: "") < 0)
                        return -ENOMEM;
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s%s%s'", name, all.data ?: "", i > 0 ? "]" : "");
}

static int stars_filter(const json_t *filters, int64_t *ret, Error *error)
{
        CLEANUP_JSON json_t *values = filter_values(filters, "stars");
        json_t *value;
        size_t i;

        *ret = 0;
        json_array_foreach(values, i, value) {
                const char *text = json_string_value(value) ?: "";
                int64_t stars;

                if (str_to_int64(text, INT32_MIN, INT32_MAX, &stars) < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid filter 'stars=%s': strconv.Atoi: parsing \"%s\": invalid syntax",
                                         text, text);
                *ret = MAX(*ret, stars);
        }
        return 0;
}

int registry_search_check(const char *term, const json_t *filters, Error *error)
{
        static const char *const known[] = { "is-automated", "is-official", "stars" };
        const char *name;
        json_t *value;
        bool given, flag;
        int64_t stars;

        json_object_foreach((json_t *) filters, name, value) {
                size_t i = 0;

                while (i < ARRAY_SIZE(known) && !str_equal(known[i], name))
                        i++;
                if (i == ARRAY_SIZE(known))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid filter '%s'", name);
        }
        int r = bool_filter(filters, "is-automated", &given, &flag, error);
        if (r == 0)
                r = bool_filter(filters, "is-official", &given, &flag, error);
        if (r == 0)
                r = stars_filter(filters, &stars, error);
        if (r == 0 && strstr(term, "://"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid repository name: repository name (%s) should not have a scheme", term);
        return r;
}

/* "host:5000/word" asks that host, all else the Hub. */
static int search_url(const RegistryConfig *config, const char *term, int64_t limit, char **ret_url,
                      char **ret_fallback)
{
        size_t first = strcspn(term, "/");
        CLEANUP_FREE char *host = strndup(term, first);
        CLEANUP_BUFFER Buffer query = { 0 };
        bool other =
                term[first] && (memchr(term, '.', first) || memchr(term, ':', first) || str_equal(host, "localhost"));
        const char *word = other ? term + first + 1 : str_after_prefix(term, "library/") ?: term;

        for (const char *p = word; *p; p++) {
                bool plain = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *p);

                if ((plain ? buffer_append(&query, p, 1) : buffer_printf(&query, "%%%02X", (unsigned char) *p)) < 0)
                        return -ENOMEM;
        }
        const char *text = query.data ?: "", *base = config->search_endpoint;
        if (!other)
                *ret_url = str_printf("%s%ssearch?q=%s&n=%lld", base, str_has_suffix(base, "/") ? "" : "/", text,
                                      (long long) limit);
        else {
                *ret_url = str_printf("https://%s/v1/search?q=%s&n=%lld", host, text, (long long) limit);
                if (registry_host_is_insecure(config->insecure, host))
                        *ret_fallback = str_printf("http://%s/v1/search?q=%s&n=%lld", host, text, (long long) limit);
        }
        return *ret_url ? 0 : -ENOMEM;
}

static int ask(const RegistryConfig *config, const RegistryAuth *auth, const char *url, const char *fallback,
               RegistryResponse *response, Error *error)
{
        CLEANUP_REGISTRY_SESSION RegistrySession session = { .config = config,
                                                             .auth = auth,
                                                             .challenge.scheme = REGISTRY_BASIC };
        int r = registry_client_new(config, &session.client, error);

        if (r == 0) {
                registry_client_prepare_others(session.client);
                r = registry_become_nobody();
        }
        if (r == 0 && auth->username)
                r = registry_session_authorize(&session, error);
        if (r != 0)
                return r;
        RegistryRequest request = {
                .method = "GET", .url = url, .authorization = session.authorization, .timeout = 60
        };
        r = registry_client_send(session.client, &request, response, error);
        if (r != OUTCOME_UNAVAILABLE || !fallback)
                return r == OUTCOME_UNAVAILABLE ? OUTCOME_FAILED : r;
        error_clear(error);
        request.url = fallback;
        r = registry_client_send(session.client, &request, response, error);
        return r == OUTCOME_UNAVAILABLE ? OUTCOME_FAILED : r;
}

static int filter_results(const json_t *results, const json_t *filters, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *list = json_array();
        bool by_automated, automated, by_official, official;
        int64_t stars;
        json_t *item;
        size_t i;
        int r = bool_filter(filters, "is-automated", &by_automated, &automated, error);

        if (r == 0)
                r = bool_filter(filters, "is-official", &by_official, &official, error);
        if (r == 0)
                r = stars_filter(filters, &stars, error);
        if (r != 0)
                return r;
        json_array_foreach((json_t *) results, i, item) {
                bool is_official = json_get_bool(item, "is_official");
                int64_t count = json_get_int(item, "star_count", 0);

                /* Nothing is automated any more, whatever the index says. */
                if ((by_automated && automated) || (by_official && official != is_official) || count < stars)
                        continue;
                json_t *row = json_pack("{sI sb ss sb ss}", "star_count", (json_int_t) count, "is_official",
                                        is_official, "name", json_get_string_or(item, "name", ""), "is_automated", 0,
                                        "description", json_get_string_or(item, "description", ""));
                if (!row || json_array_append_new(list, row) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(list);
        return 0;
}

int registry_search(const RegistryConfig *config, const RegistryAuth *auth, const char *term, int64_t limit,
                    const json_t *filters, json_t **ret_list, Error *error)
{
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_FREE char *url = NULL, *fallback = NULL;
        CLEANUP_JSON json_t *body = NULL;
        int r;

        if (limit == 0)
                limit = LIMIT_DEFAULT;
        if (limit < 1 || limit > LIMIT_MAX)
                return error_set(error, OUTCOME_BAD_REQUEST, "limit %lld is outside the range of [1, %d]",
                                 (long long) limit, LIMIT_MAX);
        r = search_url(config, term, limit, &url, &fallback);
        if (r == 0)
                r = ask(config, auth, url, fallback, &response, error);
        if (r != 0)
                return r;
        if (response.status != 200)
                return error_set(error, response.status == 401 ? OUTCOME_UNAUTHORIZED : OUTCOME_FAILED,
                                 "Unexpected status code %d", response.status);
        body = response.body.size > 0 ? json_loadb(response.body.data, response.body.size, 0, NULL) : NULL;
        if (!json_is_object(body))
                return error_set(error, OUTCOME_FAILED, "error decoding registry search results");
        return filter_results(json_get_array(body, "results"), filters, ret_list, error);
}
