/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Health as the engine sees it. The monitor checks and writes health.json into the run-time directory; the engine reads
 * it when somebody asks, and is told when the status changes, which is an event and may start an action of ours. After
 * the run the file is kept beside the record, "unhealthy", as Docker has it.
 *
 * The label berth.health-on-failure ("none", "kill", "restart" or "stop") says what becomes of an unhealthy container.
 */
#include <fcntl.h>
#include <signal.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "engine-private.h"

#define ACTION_LABEL "berth.health-on-failure"
#define MINIMUM_NS 1000000
#define DEFAULT_INTERVAL_NS (INT64_C(30) * 1000000000)
#define DEFAULT_TIMEOUT_NS (INT64_C(30) * 1000000000)
#define DEFAULT_START_INTERVAL_NS (INT64_C(5) * 1000000000)
#define DEFAULT_RETRIES 3

static const json_t *healthcheck(const Container *container)
{
        return json_get_object(container_config(container), "Healthcheck");
}

bool container_is_checked(const Container *container)
{
        const json_t *test = json_object_get(healthcheck(container), "Test");
        const char *kind = json_string_value(json_array_get(test, 0));

        return (str_equal(kind, "CMD") && json_array_size(test) > 1) || str_equal(kind, "CMD-SHELL");
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static json_t *initial_state(void)
{
        return json_pack("{ss si s[]}", "Status", "starting", "FailingStreak", 0, "Log");
}

/* NULL for a container without checks. */
json_t *container_health(const Container *container)
{
        bool running = container_is_running(container);
        CLEANUP_FREE char *path = running ? container_runtime_path(container, MONITOR_HEALTH_STATE)
                                          : container_path(container, MONITOR_HEALTH_STATE);
        json_t *state = NULL;

        if (!container_is_checked(container))
                return NULL;
        if (path && json_read_at(AT_FDCWD, path, &state) >= 0)
                return state;
        return running || container->started_ns > 0 ? initial_state() : NULL;
}

const char *container_health_status(const Container *container)
{
        static const char *const known[] = { "starting", "healthy", "unhealthy" };
        CLEANUP_JSON json_t *state = container_health(container);
        const char *status = json_get_string(state, "Status");

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_equal(known[i], status))
                        return known[i];
        return "none";
}

void container_health_settle(Container *container)
{
        CLEANUP_FREE char *from = container_runtime_path(container, MONITOR_HEALTH_STATE),
                          *to = container_path(container, MONITOR_HEALTH_STATE);
        CLEANUP_JSON json_t *state = NULL;

        if (!container_is_checked(container) || !from || !to)
                return;
        if (json_read_at(AT_FDCWD, from, &state) < 0)
                state = initial_state();
        if (state && json_set_string(state, "Status", "unhealthy") >= 0)
                (void) json_write_volatile_at(AT_FDCWD, to, state, 0600);
}

/* --- What the monitor says ---------------------------------------------------------------------------------------- */

static void acted(int result, const Error *error, void *userdata)
{
        (void) userdata;
        if (result != 0 && result != OUTCOME_NOT_MODIFIED)
                log_warning("The action on an unhealthy container failed: %s",
                            error->message ? error->message : strerror(abs(result)));
}

static void act(Container *container)
{
        const char *action = json_get_string(json_object_get(container_config(container), "Labels"), ACTION_LABEL);

        if (str_equal(action, "restart"))
                container_restart(container, NULL, INT64_MIN, acted, NULL);
        else if (str_equal(action, "stop"))
                container_stop(container, NULL, INT64_MIN, acted, NULL);
        else if (str_equal(action, "kill"))
                /* Not by hand: the restart policy has the next word. */
                container_signal(container, SIGKILL);
}

void engine_monitor_health(Engine *engine, const char *id, const char *status)
{
        Container *container = engine_container_by_id(engine, id);
        CLEANUP_FREE char *action = NULL;

        if (!container || !container_ensure(container) || !container_is_running(container) ||
            !container_is_checked(container) || (!str_equal(status, "healthy") && !str_equal(status, "unhealthy")))
                return;
        action = str_printf("health_status: %s", status);
        if (action)
                container_event_emit(container, action, NULL);
        if (str_equal(status, "unhealthy"))
                act(container);
}

/* --- What is asked for -------------------------------------------------------------------------------------------- */

void health_merge(json_t *config, const json_t *image_config)
{
        static const char *const numbers[] = { "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries" };
        json_t *theirs = json_get_object(image_config, "Healthcheck"), *ours = json_get_object(config, "Healthcheck");

        if (!theirs)
                return;
        CLEANUP_JSON json_t *merged = ours ? json_copy(ours) : json_deep_copy(theirs);
        if (!merged)
                return;
        if (json_array_size(json_object_get(merged, "Test")) == 0)
                json_object_set(merged, "Test", json_object_get(theirs, "Test"));
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                if (json_get_int(merged, numbers[i], 0) == 0 && json_object_get(theirs, numbers[i]))
                        json_object_set(merged, numbers[i], json_object_get(theirs, numbers[i]));
        json_object_set(config, "Healthcheck", merged);
}

int health_check(const json_t *config, Error *error)
{
        static const char *const spans[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
        const json_t *health = json_get_object(config, "Healthcheck");

        for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
                int64_t value = json_get_int(health, spans[i], 0);
                if (value != 0 && value < MINIMUM_NS)
                        return error_set(error, OUTCOME_BAD_REQUEST, "%s in Healthcheck cannot be less than 1ms",
                                         spans[i]);
        }
        if (json_get_int(health, "Retries", 0) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "Retries in Healthcheck cannot be negative");
        return 0;
}

static int64_t span(const json_t *health, const char *name, int64_t fallback)
{
        int64_t value = json_get_int(health, name, 0);

        return value > 0 ? value : fallback;
}

static char **test_arguments(const Container *container)
{
        const json_t *test = json_object_get(healthcheck(container), "Test");
        const json_t *shell = json_object_get(container_config(container), "Shell");
        CLEANUP_JSON json_t *arguments = NULL;

        if (str_equal(json_string_value(json_array_get(test, 0)), "CMD"))
                arguments = json_array();
        else
                arguments =
                        json_array_size(shell) > 0 ? json_copy((json_t *) shell) : json_pack("[ss]", "/bin/sh", "-c");
        for (size_t i = 1; arguments && i < json_array_size(test); i++)
                json_array_append(arguments, json_array_get(test, i));
        return arguments ? json_to_strv(arguments) : NULL;
}

int container_health_prepare(const Container *container, RuntimeHealth *ret_health)
{
        const json_t *health = healthcheck(container);

        *ret_health = (RuntimeHealth) {
                .interval_ns = span(health, "Interval", DEFAULT_INTERVAL_NS),
                .timeout_ns = span(health, "Timeout", DEFAULT_TIMEOUT_NS),
                .start_period_ns = span(health, "StartPeriod", 0),
                .start_interval_ns = span(health, "StartInterval", DEFAULT_START_INTERVAL_NS),
                .retries = (uint32_t) MIN(span(health, "Retries", DEFAULT_RETRIES), INT32_MAX),
        };
        if (!container_is_checked(container))
                return 0;
        ret_health->argv = test_arguments(container);
        return ret_health->argv ? 0 : -ENOMEM;
}
