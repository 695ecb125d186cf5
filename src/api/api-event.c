/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /events. */
#include "api-private.h"

/* Seconds, with a fraction if wanted: other forms are the client's to reckon. */
static int query_moment(ApiCall *call, const char *name, int64_t *ret_ns)
{
        CLEANUP_ERROR Error error = { 0 };
        const char *text = http_request_query(call->request, name);

        *ret_ns = 0;
        int r = str_empty(text) ? 0 : time_parse_seconds(text, ret_ns);
        if (r >= 0) {
                /* 0 is no bound. */
                if (*ret_ns < 0)
                        *ret_ns = 1;
                return 0;
        }
        error_set(&error, OUTCOME_BAD_REQUEST, "strconv.ParseInt: parsing \"%s\": %s", text, str_number_problem(r));
        api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
        return -EINVAL;
}

static void events(ApiCall *call)
{
        CLEANUP_ERROR Error error = { 0 };
        CLEANUP_JSON json_t *filters = NULL;
        CLEANUP_STREAM Stream stream = STREAM_INIT;
        EventQuery query;

        if (query_moment(call, "since", &query.since_ns) < 0 || query_moment(call, "until", &query.until_ns) < 0)
                return;
        if (query.until_ns > 0 && query.until_ns < query.since_ns) {
                error_set(&error, OUTCOME_BAD_REQUEST, "`since` time (%s) cannot be after `until` time (%s)",
                          http_request_query(call->request, "since"), http_request_query(call->request, "until"));
                api_fail(call->request, OUTCOME_BAD_REQUEST, &error);
                return;
        }
        if (api_query_filters(call, &filters) < 0)
                return;
        query.filters = filters;
        if (http_request_stream(call->request, 200, "application/json", &stream) >= 0)
                engine_events_follow(call->engine, &query, &stream);
}

const ApiRoute api_event_routes[] = {
        { "GET", "/events", events, false, false },
        { NULL, NULL, NULL, false, false },
};
