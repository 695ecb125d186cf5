/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* StartTransientUnit and SetUnitProperties, asynchronously: a slot a call, the job's end told by the JobRemoved signal.
 * A job is in the manager's list until its end was reported or it was forgotten. */
#include <stddef.h>
#include <string.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "berth/buffer.h"
#include "berth/cleanup.h"
#include "berth/string.h"
#include "unit-private.h"

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"
#define SYSTEMD_UNIT_EXISTS "org.freedesktop.systemd1.UnitExists"
#define SYSTEMD_NO_SUCH_UNIT "org.freedesktop.systemd1.NoSuchUnit"

struct UnitManager {
        sd_event *event;
        sd_bus *bus; /* NULL while not connected */
        sd_bus_slot *job_removed;
        LIST_HEAD(, UnitJob) jobs;
};

struct UnitJob {
        LIST_ENTRY(UnitJob) link;
        UnitManager *manager;
        sd_bus_slot *call; /* until the reply is there */
        char *path;        /* the job's object path, from then on */
        void (*done)(int error, const char *text, void *userdata);
        void *userdata;
};

DEFINE_CLEANUP(cleanup_message, sd_bus_message *, sd_bus_message_unref)

void unit_job_forget(UnitJob *job)
{
        if (!job)
                return;
        sd_bus_slot_unref(job->call);
        LIST_REMOVE(job, link);
        free(job->path);
        free(job);
}

static void job_finish(UnitJob *job, int error, const char *text)
{
        void (*done)(int, const char *, void *) = job->done;
        void *userdata = job->userdata;

        unit_job_forget(job);
        done(error, text, userdata);
}

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
        UnitManager *manager = userdata;
        const char *path, *unit, *result;
        UnitJob *job;
        (void) error;

        if (sd_bus_message_read(message, "uoss", NULL, &path, &unit, &result) < 0)
                return 0;
        LIST_FOREACH(job, &manager->jobs, link) {
                if (!str_equal(job->path, path))
                        continue;
                job_finish(job, str_equal(result, "done") ? 0 : -EIO, result);
                break;
        }
        return 0;
}

static void disconnect(UnitManager *manager)
{
        manager->job_removed = sd_bus_slot_unref(manager->job_removed);
        manager->bus = sd_bus_close_unref(manager->bus);
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
        UnitManager *manager = userdata;
        (void) message;
        (void) error;

        disconnect(manager);
        while (!LIST_EMPTY(&manager->jobs))
                job_finish(LIST_FIRST(&manager->jobs), -ECONNRESET, "the system bus closed the connection");
        return 0;
}

int unit_manager_connect(UnitManager *manager)
{
        if (manager->bus)
                return 0;

        int r = sd_bus_open_system(&manager->bus);
        if (r >= 0)
                r = sd_bus_attach_event(manager->bus, manager->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal_async(manager->bus, &manager->job_removed, SYSTEMD_NAME, SYSTEMD_PATH,
                                              SYSTEMD_MANAGER, "JobRemoved", on_job_removed, NULL, manager);
        if (r >= 0)
                r = sd_bus_match_signal_async(manager->bus, NULL, NULL, "/org/freedesktop/DBus/Local",
                                              "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL,
                                              manager);
        if (r < 0)
                disconnect(manager);
        return r;
}

int unit_manager_bus(UnitManager *manager, sd_bus **ret_bus)
{
        int r = unit_manager_connect(manager);

        if (r >= 0)
                *ret_bus = manager->bus;
        return r < 0 ? r : 0;
}

int unit_manager_new(sd_event *event, UnitManager **ret_manager)
{
        UnitManager *manager = calloc(1, sizeof(*manager));
        if (!manager)
                return -ENOMEM;

        manager->event = sd_event_ref(event);
        LIST_INIT(&manager->jobs);
        *ret_manager = manager;
        return 0;
}

void unit_manager_free(UnitManager *manager)
{
        if (!manager)
                return;
        while (!LIST_EMPTY(&manager->jobs))
                unit_job_forget(LIST_FIRST(&manager->jobs));
        if (manager->bus) /* what was asked last is still to be said */
                (void) sd_bus_flush(manager->bus);
        disconnect(manager);
        sd_event_unref(manager->event);
        free(manager);
}

/* Where limits that are numbers are in a UnitScope, and what stands for none in systemd. */
static const struct {
        const char *property;
        size_t offset;
        uint64_t none;
} limits[] = {
        { "MemoryMax", offsetof(UnitScope, memory_max), UINT64_MAX },
        { "MemoryLow", offsetof(UnitScope, memory_low), 0 },
        { "MemorySwapMax", offsetof(UnitScope, memory_swap_max), UINT64_MAX },
        { "CPUQuotaPerSecUSec", offsetof(UnitScope, cpu_quota_us), UINT64_MAX },
        { "CPUQuotaPeriodUSec", offsetof(UnitScope, cpu_period_us), UINT64_MAX },
        { "CPUWeight", offsetof(UnitScope, cpu_weight), UINT64_MAX },
        { "TasksMax", offsetof(UnitScope, tasks_max), UINT64_MAX },
        { "IOWeight", offsetof(UnitScope, io_weight), UINT64_MAX },
};

static uint64_t limit_value(const UnitScope *scope, size_t i)
{
        uint64_t value;

        memcpy(&value, (const char *) scope + limits[i].offset, sizeof(value));
        return value;
}

static int append_device_limits(sd_bus_message *message, const UnitScope *scope)
{
        for (size_t i = 0; i < scope->n_device_limits; i++) {
                const UnitDeviceLimit *limit = &scope->device_limits[i];
                int r = sd_bus_message_append(message, "(sv)", limit->property, "a(st)", 1, limit->path, limit->value);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int append_limits(sd_bus_message *message, const UnitScope *scope)
{
        int r = 0;

        if (scope->stop_timeout_us != UNIT_UNSET)
                r = sd_bus_message_append(message, "(sv)", "TimeoutStopUSec", "t", scope->stop_timeout_us);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(limits); i++)
                if (limit_value(scope, i) != UNIT_UNSET)
                        r = sd_bus_message_append(message, "(sv)", limits[i].property, "t", limit_value(scope, i));
        return r < 0 ? r : append_device_limits(message, scope);
}

static int append_properties(sd_bus_message *message, const UnitScope *scope)
{
        int r = sd_bus_message_open_container(message, 'a', "(sv)");

        if (r >= 0)
                r = sd_bus_message_append(message, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", scope->description,
                                          "Slice", "s", scope->slice, "Delegate", "b", 1, "PIDs", "au", 1,
                                          (uint32_t) scope->pid, "CollectMode", "s", "inactive-or-failed");
        if (r >= 0)
                r = sd_bus_message_append(message, "(sv)", "Documentation", "as", 1, "man:berthd(8)");
        if (r >= 0 && scope->kill_signal > 0)
                r = sd_bus_message_append(message, "(sv)", "KillSignal", "i", (int32_t) scope->kill_signal);
        if (r >= 0)
                r = append_limits(message, scope);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int on_reply(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
        UnitJob *job = userdata;
        const char *path;
        (void) error;

        job->call = sd_bus_slot_unref(job->call);
        if (sd_bus_message_is_method_error(message, NULL)) {
                CLEANUP_FREE char *text = strdup(sd_bus_message_get_error(message)->message ?: "no reason given");
                int number = sd_bus_message_is_method_error(message, SYSTEMD_UNIT_EXISTS)
                                     ? EEXIST
                                     : sd_bus_message_get_errno(message);
                job_finish(job, -number, text);
                return 0;
        }
        int r = sd_bus_message_read(message, "o", &path);
        if (r >= 0)
                job->path = strdup(path);
        if (!job->path)
                job_finish(job, r < 0 ? r : -ENOMEM, "the reply to StartTransientUnit made no sense");
        return 0;
}

static int job_call(UnitManager *manager, sd_bus_message *message, sd_bus_message_handler_t replied,
                    void (*done)(int error, const char *text, void *userdata), void *userdata, UnitJob **ret_job)
{
        UnitJob *job = calloc(1, sizeof(*job));

        if (!job)
                return -ENOMEM;
        job->manager = manager;
        job->done = done;
        job->userdata = userdata;
        LIST_INSERT_HEAD(&manager->jobs, job, link);
        int r = sd_bus_call_async(manager->bus, &job->call, message, replied, job, 0);
        if (r < 0)
                unit_job_forget(job);
        else if (ret_job)
                *ret_job = job;
        return r < 0 ? r : 0;
}

int unit_scope_start(UnitManager *manager, const UnitScope *scope,
                     void (*done)(int error, const char *text, void *userdata), void *userdata, UnitJob **ret_job)
{
        CLEANUP(cleanup_message) sd_bus_message *message = NULL;
        int r = unit_manager_connect(manager);

        if (r >= 0)
                r = sd_bus_message_new_method_call(manager->bus, &message, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                                   "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", scope->name, "fail");
        if (r >= 0)
                r = append_properties(message, scope);
        if (r >= 0)
                r = sd_bus_message_append(message, "a(sa(sv))", 0);
        if (r < 0)
                return r;

        r = job_call(manager, message, on_reply, done, userdata, ret_job);
        if (r < 0)
                return r;
        /* Written now rather than on the next turn of the loop: systemd works while the caller goes on. */
        sd_bus_flush(manager->bus);
        return 0;
}

/* The number of properties that were added. */
static int append_changes(sd_bus_message *message, const UnitScope *from, const UnitScope *to)
{
        int n = 0, r = sd_bus_message_append(message, "sb", to->name, 1);

        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "(sv)");
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(limits); i++) {
                uint64_t value = limit_value(to, i);

                if (value == limit_value(from, i))
                        continue;
                r = sd_bus_message_append(message, "(sv)", limits[i].property, "t",
                                          value == UNIT_UNSET ? limits[i].none : value);
                n++;
        }
        if (r >= 0)
                r = append_device_limits(message, to);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        return r < 0 ? r : n + (int) to->n_device_limits;
}

static int on_update_reply(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
        UnitJob *job = userdata;
        (void) error;

        job->call = sd_bus_slot_unref(job->call);
        if (!sd_bus_message_is_method_error(message, NULL)) {
                job_finish(job, 0, NULL);
                return 0;
        }
        CLEANUP_FREE char *text = strdup(sd_bus_message_get_error(message)->message ?: "no reason given");
        int number = sd_bus_message_is_method_error(message, SYSTEMD_NO_SUCH_UNIT) ? ENOENT
                                                                                   : sd_bus_message_get_errno(message);
        job_finish(job, -number, text);
        return 0;
}

int unit_scope_update(UnitManager *manager, const UnitScope *from, const UnitScope *to,
                      void (*done)(int error, const char *text, void *userdata), void *userdata)
{
        CLEANUP(cleanup_message) sd_bus_message *message = NULL;
        int r = unit_manager_connect(manager);

        if (r >= 0)
                r = sd_bus_message_new_method_call(manager->bus, &message, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                                   "SetUnitProperties");
        if (r >= 0)
                r = append_changes(message, from, to);
        if (r <= 0)
                return r;

        r = job_call(manager, message, on_update_reply, done, userdata, NULL);
        return r < 0 ? r : 1;
}

bool unit_scope_is_alike(const UnitScope *a, const UnitScope *b)
{
        for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
                if (limit_value(a, i) != limit_value(b, i))
                        return false;
        return a->n_device_limits == 0 && b->n_device_limits == 0 && a->kill_signal == b->kill_signal &&
               a->stop_timeout_us == b->stop_timeout_us && str_equal(a->slice, b->slice);
}

int unit_describe(UnitManager *manager, const char *name, const char *description)
{
        int r = unit_manager_connect(manager);

        if (r >= 0)
                r = sd_bus_call_method_async(manager->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                             "SetUnitProperties", NULL, NULL, "sba(sv)", name, 1, 1, "Description", "s",
                                             description);
        return r < 0 ? r : 0;
}

int unit_stop(UnitManager *manager, const char *name)
{
        int r = unit_manager_connect(manager);

        if (r >= 0)
                r = sd_bus_call_method_async(manager->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                             "StopUnit", NULL, NULL, "ss", name, "replace");
        return r < 0 ? r : 0;
}

char *unit_cgroup_path(const char *slice, const char *name)
{
        CLEANUP_BUFFER Buffer path = { 0 };
        size_t stem = strlen(slice) - (str_has_suffix(slice, ".slice") ? strlen(".slice") : 0);

        buffer_append_string(&path, "/sys/fs/cgroup");
        for (size_t i = 1; i <= stem; i++)
                if (i == stem || slice[i] == '-')
                        buffer_printf(&path, "/%.*s.slice", (int) i, slice);
        if (buffer_printf(&path, "/%s", name) < 0)
                return NULL;
        return buffer_take(&path);
}
