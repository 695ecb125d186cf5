/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Transient scope units over D-Bus (org.freedesktop.systemd1(5)): a container's processes as systemd sees them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct UnitManager UnitManager;
typedef struct UnitJob UnitJob;

/* A limit that is not set. */
#define UNIT_UNSET UINT64_MAX

/* A limit of one block device: the property (IOReadBandwidthMax, IODeviceWeight, ...), the device's node, the value. */
typedef struct UnitDeviceLimit {
        const char *property, *path;
        uint64_t value;
} UnitDeviceLimit;

/* What a scope is made with; see systemd.resource-control(5) and systemd.kill(5) for each property. */
typedef struct UnitScope {
        const char *name; /* "berth-ID.scope" */
        const char *description;
        const char *slice; /* "berth.slice" */
        pid_t pid;         /* moved into it */
        int kill_signal;   /* sent to all of it when systemd stops the scope; 0: SIGTERM */
        uint64_t stop_timeout_us;
        uint64_t memory_max, memory_low, memory_swap_max; /* bytes */
        uint64_t cpu_quota_us;                            /* CPU time per second of wall time */
        uint64_t cpu_period_us;
        uint64_t cpu_weight; /* 1 to 10000 */
        uint64_t tasks_max;
        uint64_t io_weight; /* 1 to 10000 */
        const UnitDeviceLimit *device_limits;
        size_t n_device_limits;
} UnitScope;

/* The empty specification: everything unset. */
#define UNIT_SCOPE_INIT                        \
        {                                      \
                .stop_timeout_us = UNIT_UNSET, \
                .memory_max = UNIT_UNSET,      \
                .memory_low = UNIT_UNSET,      \
                .memory_swap_max = UNIT_UNSET, \
                .cpu_quota_us = UNIT_UNSET,    \
                .cpu_period_us = UNIT_UNSET,   \
                .cpu_weight = UNIT_UNSET,      \
                .tasks_max = UNIT_UNSET,       \
                .io_weight = UNIT_UNSET,       \
        }

/* Prepares the connection to the system bus; it is opened when first needed. */
int unit_manager_new(sd_event *event, UnitManager **ret_manager);
void unit_manager_free(UnitManager *manager);

/* Opens the connection now, so that the first start does not wait for it. */
int unit_manager_connect(UnitManager *manager);

/* Asks for the scope. DONE runs from the event loop once systemd's job has ended: ERROR is 0 or a negative errno
 * (-EEXIST while systemd has not yet forgotten the unit of that name before it), TEXT says what systemd answered (may
 * be NULL). *ret_job can be used to forget the job before that. */
int unit_scope_start(UnitManager *manager, const UnitScope *scope,
                     void (*done)(int error, const char *text, void *userdata), void *userdata, UnitJob **ret_job);

/* Changes what a running scope TO is limited to, where it differs from FROM (SetUnitProperties, until the unit is gone;
 * a reload of systemd keeps it). UNIT_UNSET takes a limit away; TO's limits of devices are all set. Returns 1 where
 * systemd was asked, and DONE runs as above (-ENOENT: the unit has gone); 0 where there is nothing to change. */
int unit_scope_update(UnitManager *manager, const UnitScope *from, const UnitScope *to,
                      void (*done)(int error, const char *text, void *userdata), void *userdata);

/* True where both are limited and stopped alike. */
bool unit_scope_is_alike(const UnitScope *a, const UnitScope *b);

/* Fire and forget: gives a unit that runs another description. */
int unit_describe(UnitManager *manager, const char *name, const char *description);

/* DONE will not be called any more. Takes NULL. */
void unit_job_forget(UnitJob *job);

/* A container as systemd-machined(8) knows it. */
typedef struct UnitMachine {
        const char *name;    /* of a host: letters, digits, '-' and '.' */
        const uint8_t *uuid; /* 16 bytes */
        pid_t leader;
        const char *root; /* directory; may be "" */
        void (*failed)(const char *reason);
} UnitMachine;

/* Registers it for as long as its unit lives. machine->failed runs from the event loop where that did not work. */
int unit_machine_register(UnitManager *manager, const UnitMachine *machine);

/* Fire and forget: stops the unit / clears a failed one's state. */
int unit_stop(UnitManager *manager, const char *name);

/* The cgroup directory of a scope below /sys/fs/cgroup, "/sys/fs/cgroup/berth.slice/NAME", owned by the caller: systemd
 * nests slices by the dashes of their names. NULL when out of memory. */
char *unit_cgroup_path(const char *slice, const char *name);
