/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What HostConfig limits a container to, as properties of its scope (systemd.resource-control(5)). */
#include <signal.h>

#include "berth/json.h"
#include "berth/monitor.h"
#include "berth/signal.h"
#include "berth/string.h"
#include "engine-scope.h"

/* The container's own time, and what its monitor needs to tell its end and to store the last lines of its log. */
#define AFTER_STOP_SECONDS 10

int scope_stop_signal(const json_t *config)
{
        const char *text = json_get_string(config, "StopSignal");
        int number;

        return str_empty(text) || signal_parse(text, &number) < 0 ? SIGTERM : number;
}

int64_t scope_stop_timeout(const json_t *config)
{
        return json_get_int(config, "StopTimeout", 10);
}

/* systemd's and the kernel's weight of 1 to 10000 for one of 10 to 1000 */
static int64_t io_weight(int64_t weight)
{
        return 1 + (MAX(weight, 10) - 10) * 9999 / 990;
}

void scope_describe(const json_t *config, const json_t *host, UnitScope *scope)
{
        int64_t memory = json_get_int(host, "Memory", 0), swap = json_get_int(host, "MemorySwap", 0);
        int64_t low = json_get_int(host, "MemoryReservation", 0), nano = json_get_int(host, "NanoCpus", 0);
        int64_t quota = json_get_int(host, "CpuQuota", 0), period = json_get_int(host, "CpuPeriod", 0);
        int64_t shares = json_get_int(host, "CpuShares", 0), pids = json_get_int(host, "PidsLimit", 0);
        int64_t timeout = scope_stop_timeout(config);

        scope->kill_signal = SCOPE_KILL_SIGNAL;
        if (timeout >= 0)
                scope->stop_timeout_us = ((uint64_t) timeout + AFTER_STOP_SECONDS) * 1000000;
        if (memory > 0)
                scope->memory_max = (uint64_t) memory;
        if (memory > 0 && swap > 0)
                scope->memory_swap_max = (uint64_t) (swap - memory);
        if (low > 0)
                scope->memory_low = (uint64_t) low;
        if (nano > 0)
                scope->cpu_quota_us = (uint64_t) nano / 1000;
        else if (quota > 0)
                scope->cpu_quota_us = (uint64_t) quota * 1000000 / (uint64_t) (period > 0 ? period : 100000);
        if (period > 0)
                scope->cpu_period_us = (uint64_t) period;
        if (shares > 0) /* systemd's and the kernel's weight of 1 to 10000 for shares of 2 to 262144 */
                scope->cpu_weight = 1 + ((uint64_t) MAX(shares, 2) - 2) * 9999 / 262142;
        if (json_get_int(host, "BlkioWeight", 0) > 0)
                scope->io_weight = (uint64_t) io_weight(json_get_int(host, "BlkioWeight", 0));
        if (pids > 0) /* the monitor is in the scope too */
                scope->tasks_max = (uint64_t) pids + 8;
}

UnitDeviceLimit *scope_device_limits(const json_t *host, size_t *ret_n)
{
        static const struct {
                const char *key, *property, *value;
        } kinds[] = { { "BlkioWeightDevice", "IODeviceWeight", "Weight" },
                      { "BlkioDeviceReadBps", "IOReadBandwidthMax", "Rate" },
                      { "BlkioDeviceWriteBps", "IOWriteBandwidthMax", "Rate" },
                      { "BlkioDeviceReadIOps", "IOReadIOPSMax", "Rate" },
                      { "BlkioDeviceWriteIOps", "IOWriteIOPSMax", "Rate" } };
        UnitDeviceLimit *limits = NULL;
        json_t *entry;
        size_t n = 0, j;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                json_array_foreach(json_object_get(host, kinds[i].key), j, entry) {
                        UnitDeviceLimit *more = reallocarray(limits, n + 1, sizeof(*more));
                        int64_t value = json_get_int(entry, kinds[i].value, 0);

                        if (!more)
                                break;
                        limits = more;
                        limits[n++] = (UnitDeviceLimit) {
                                .property = kinds[i].property,
                                .path = json_get_string_or(entry, "Path", ""),
                                .value = (uint64_t) (i == 0 ? io_weight(value) : value),
                        };
                }
        *ret_n = n;
        return limits;
}
