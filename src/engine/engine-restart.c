/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Restart policies. The end of a run decides: either it was the last, or the container is "restarting" until a timer
 * starts it again, 100 ms later, doubling to a minute, and 100 ms again after a run of ten seconds. A stop or a kill
 * takes the next start back; so does systemd where it stops the scope, at shutdown or by "systemctl stop", until the
 * next boot.
 *
 * While a restart is due the process stays; should it be killed, an empty file <exec root>/restarting/ID says to the
 * next one that the start is still owed. What a policy says about a boot is engine-autostart.c's. The count, the pause
 * and whether the container was stopped by hand are in its record. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "engine-private.h"

#define PAUSE_MIN_US INT64_C(100000)
#define PAUSE_MAX_US (INT64_C(60) * 1000000)
#define LONG_RUN_NS (INT64_C(10) * 1000000000)

RestartPolicy container_restart_policy(const Container *container)
{
        static const char *const names[] = {
                [RESTART_NO] = "no",
                [RESTART_ALWAYS] = "always",
                [RESTART_UNLESS_STOPPED] = "unless-stopped",
                [RESTART_ON_FAILURE] = "on-failure",
        };
        const json_t *policy = json_object_get(container_host_config(container), "RestartPolicy");
        const char *name = json_get_string(policy, "Name");

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_equal(names[i], name))
                        return (RestartPolicy) i;
        return RESTART_NO;
}

int restart_policy_check(const json_t *policy, Error *error)
{
        const char *name = json_get_string_or(policy, "Name", "");
        int64_t count = json_get_int(policy, "MaximumRetryCount", 0);
        bool on_failure = str_equal(name, "on-failure");

        if (!*name)
                return 0;
        if (!on_failure && !str_equal(name, "no") && !str_equal(name, "always") && !str_equal(name, "unless-stopped"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid restart policy: unknown policy '%s'; use one of 'no', "
                                 "'always', 'on-failure', or 'unless-stopped'",
                                 name);
        if (on_failure && count < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid restart policy: maximum retry count cannot be negative");
        if (!on_failure && count != 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid restart policy: maximum retry count can only be used with 'on-failure'%s",
                                 count < 0 ? " and cannot be negative" : "");
        return 0;
}

bool container_policy_wants(const Container *container)
{
        int64_t max = json_get_int(json_object_get(container_host_config(container), "RestartPolicy"),
                                   "MaximumRetryCount", 0);

        switch (container_restart_policy(container)) {
        case RESTART_ALWAYS:
                return true;
        case RESTART_UNLESS_STOPPED:
                return !container->manually_stopped;
        case RESTART_ON_FAILURE:
                return container->exit_code != 0 && (max == 0 || container->restart_count < max);
        default:
                return false;
        }
}

/* --- The mark on the disk ----------------------------------------------------------------------------------------- */

static char *mark_directory(const Engine *engine)
{
        return path_join(engine->config->exec_root, "restarting");
}

static void set_mark(const Container *container, bool owed)
{
        CLEANUP_FREE char *directory = mark_directory(container->engine);
        CLEANUP_FREE char *path = directory ? path_join(directory, container->id) : NULL;

        if (!path)
                return;
        if (!owed) {
                (void) unlink(path);
                return;
        }
        CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 && errno == ENOENT && path_make_directories(directory, 0700) >= 0)
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                log_warning_errno(errno, "Cannot note that container %s is to be restarted", container->id);
}

/* --- The restart itself ------------------------------------------------------------------------------------------- */

void container_restart_forget(Container *container)
{
        if (!container->restarting)
                return;
        container->restarting = false;
        container->restart_timer = sd_event_source_disable_unref(container->restart_timer);
        engine_job_end(container->engine);
}

void container_restart_settled(Container *container)
{
        if (container->restarting && !container->engine->closing)
                set_mark(container, false);
        container_restart_forget(container);
}

static void restarted(int result, const Error *error, void *userdata)
{
        Container *container = userdata;

        if (result == 0) /* it is settled */
                return;
        if (!container->engine->closing)
                log_warning("Container %s could not be restarted: %s", container->id,
                            error->message ? error->message : strerror(abs(result)));
        container_restart_settled(container);
        if (container->engine->closing)
                return;
        container_save(container, false);
        container_waiters_notify(container, WAIT_NEXT_EXIT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        Container *container = userdata;
        (void) source;
        (void) usec;

        container->restart_timer = sd_event_source_disable_unref(container->restart_timer);
        container_start_again(container, restarted, container);
        return 0;
}

static int begin(Container *container, int64_t pause_us)
{
        int r = sd_event_add_time_relative(container->engine->event, &container->restart_timer, CLOCK_MONOTONIC,
                                           (uint64_t) pause_us, 0, on_timer, container);
        if (r < 0)
                return r;
        container->restarting = true;
        set_mark(container, true);
        engine_job_begin(container->engine);
        return 0;
}

bool container_restart_decide(Container *container)
{
        bool cancelled = container->restart_cancelled || container->removing || container->engine->booting ||
                         container->scope_stopped;
        int64_t pause_us = container->restart_pause_us;

        if (container_restart_policy(container) == RESTART_NO || cancelled || !LIST_EMPTY(&container->stops))
                return false;
        if (container->finished_ns - container->started_ns >= LONG_RUN_NS)
                pause_us = 0;
        pause_us = pause_us == 0 ? PAUSE_MIN_US : MIN(2 * pause_us, PAUSE_MAX_US);
        container->restart_pause_us = pause_us;
        if (!container_policy_wants(container))
                return false;
        container->restart_count++;
        return begin(container, pause_us) >= 0;
}

void container_restart_cancel(Container *container)
{
        container->restart_cancelled = true;
        if (!container->restarting)
                return;
        container_restart_settled(container);
        if (container->start) /* container_start_cancelled() sees to it */
                return;
        container_save(container, true);
        container_waiters_notify(container, WAIT_NEXT_EXIT);
}

int container_restarting_refusal(const Container *container, Error *error)
{
        return error_set(error, OUTCOME_CONFLICT, "Container %s is restarting, wait until the container is running",
                         container->id);
}

void container_note_manual_stop(Container *container)
{
        container->restart_cancelled = true;
        if (container->manually_stopped)
                return;
        container->manually_stopped = true;
        if (container_restart_policy(container) != RESTART_NO)
                container_save(container, true);
}

void container_restart_reset(Container *container, bool by_hand)
{
        container->restart_cancelled = false;
        if (!by_hand)
                return;
        container->restart_count = 0;
        container->restart_pause_us = 0;
        container->manually_stopped = false;
}

int engine_load_restarts(Engine *engine)
{
        CLEANUP_FREE char *path = mark_directory(engine);
        CLEANUP_CLOSEDIR DIR *directory = path ? opendir(path) : NULL;
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
                Container *container = engine_container_by_id(engine, entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                if (!container || !container_ensure(container) || container_is_running(container) ||
                    container->restarting) {
                        if (!container || !container->restarting)
                                (void) unlinkat(dirfd(directory), entry->d_name, 0);
                        continue;
                }
                int r = begin(container, MAX(container->restart_pause_us, PAUSE_MIN_US));
                if (r < 0)
                        return r;
        }
        return 0;
}
