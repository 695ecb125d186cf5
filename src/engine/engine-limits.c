/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container may be limited to on this host: values that make no sense are refused, and those that need a
 * controller the host does not have are discarded with a warning. Both in Docker's words and order. */
#include <fcntl.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "engine-limits.h"

#define MEMORY_MIN (INT64_C(6) * 1024 * 1024)
#define CGROUP_ROOT "/sys/fs/cgroup/"

typedef struct Limits {
        json_t *host, *warnings;
        char *controllers; /* owned: words, with a blank before and after each */
        bool update;
        Error *error;
} Limits;

static char *read_controllers(void)
{
        CLEANUP_FREE char *text = NULL;

        if (file_read_at(AT_FDCWD, CGROUP_ROOT "cgroup.controllers", 4096, &text, NULL) < 0)
                return strdup(" ");
        text[strcspn(text, "\n")] = '\0';
        return str_printf(" %s ", text);
}

static bool has_controller(const Limits *limits, const char *name)
{
        CLEANUP_FREE char *word = str_printf(" %s ", name);

        return word && limits->controllers && strstr(limits->controllers, word);
}

static void warn(Limits *limits, const char *text)
{
        json_array_append_new(limits->warnings, json_string(text));
}

static int64_t number(const Limits *limits, const char *key)
{
        return json_get_int(limits->host, key, 0);
}

static int refuse(Limits *limits, const char *text)
{
        return error_set(limits->error, OUTCOME_BAD_REQUEST, "%s", text);
}

/* --- Memory ------------------------------------------------------------------------------------------------------- */

static bool host_limits_swap(void)
{
        return access(CGROUP_ROOT "init.scope/memory.swap.max", F_OK) == 0 ||
               access(CGROUP_ROOT "system.slice/memory.swap.max", F_OK) == 0;
}

static int check_memory(Limits *limits)
{
        int64_t memory = number(limits, "Memory"), reservation;

        if (memory != 0 && memory < MEMORY_MIN)
                return refuse(limits, "Minimum memory limit allowed is 6MB");
        if (memory > 0 && !has_controller(limits, "memory")) {
                warn(limits, "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
                             "Limitation discarded.");
                json_set_int(limits->host, "Memory", memory = 0);
                json_set_int(limits->host, "MemorySwap", -1);
        }
        if (memory > 0 && number(limits, "MemorySwap") != -1 && !host_limits_swap()) {
                warn(limits,
                     "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory "
                     "limited without swap.");
                json_set_int(limits->host, "MemorySwap", -1);
        }
        if (memory > 0 && number(limits, "MemorySwap") > 0 && number(limits, "MemorySwap") < memory)
                return refuse(limits, "Minimum memoryswap limit should be larger than memory limit, see usage");
        if (memory == 0 && number(limits, "MemorySwap") > 0 && !limits->update)
                return refuse(limits, "You should always set the Memory limit when using Memoryswap limit, see usage");
        reservation = number(limits, "MemoryReservation");
        if (reservation > 0 && !has_controller(limits, "memory")) {
                warn(limits,
                     "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. "
                     "Limitation discarded.");
                json_set_int(limits->host, "MemoryReservation", reservation = 0);
        }
        if (reservation > 0 && reservation < MEMORY_MIN)
                return refuse(limits, "Minimum memory reservation allowed is 6MB");
        if (reservation > 0 && memory > 0 && memory < reservation)
                return refuse(limits, "Minimum memory limit can not be less than memory reservation limit, see usage");
        if (memory > 0 && number(limits, "MemorySwap") == 0 && !limits->update)
                json_set_int(limits->host, "MemorySwap", memory * 2);
        return 0;
}

/* Version 2 of the kernel's groups knows neither. */
static int check_old_memory(Limits *limits)
{
        const json_t *swappiness = json_object_get(limits->host, "MemorySwappiness");

        if (number(limits, "KernelMemory") > 0)
                warn(limits, "Your kernel does not support kernel memory limit capabilities or the cgroup is not "
                             "mounted. Limitation discarded.");
        if (json_is_integer(swappiness) && json_integer_value(swappiness) != -1)
                warn(limits,
                     "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
                     "Memory swappiness discarded.");
        if (json_get_bool(limits->host, "OomKillDisable")) {
                warn(limits, "Your kernel does not support OomKillDisable. OomKillDisable discarded.");
                json_set_bool(limits->host, "OomKillDisable", false);
        }
        return json_object_set_new(limits->host, "MemorySwappiness", json_null()) < 0 ? -ENOMEM : 0;
}

/* --- Processors --------------------------------------------------------------------------------------------------- */

static int check_nano_cpus(Limits *limits)
{
        int64_t nano = number(limits, "NanoCpus"), processors = sysconf(_SC_NPROCESSORS_ONLN);

        if (nano > 0 && number(limits, "CpuPeriod") > 0)
                return refuse(limits, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
        if (nano > 0 && number(limits, "CpuQuota") > 0)
                return refuse(limits, "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        if (nano > 0 && !has_controller(limits, "cpu"))
                return refuse(limits,
                              "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the "
                              "cgroup is not mounted");
        if (nano < 0 || nano > processors * 1000000000)
                return error_set(limits->error, OUTCOME_BAD_REQUEST,
                                 "Range of CPUs is from 0.01 to %lld.00, as there are only %lld CPUs available",
                                 (long long) processors, (long long) processors);
        return 0;
}

static int check_cpu(Limits *limits)
{
        int64_t period = number(limits, "CpuPeriod"), quota = number(limits, "CpuQuota");
        int r = check_nano_cpus(limits);

        if (r != 0)
                return r;
        if (number(limits, "CpuRealtimePeriod") != 0 || number(limits, "CpuRealtimeRuntime") != 0)
                return error_set(limits->error, OUTCOME_FAILED, "Your kernel does not support CPU real-time scheduler");
        if (number(limits, "CpuShares") > 0 && !has_controller(limits, "cpu")) {
                warn(limits, "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.");
                json_set_int(limits->host, "CpuShares", 0);
        }
        if ((period != 0 || quota != 0) && !has_controller(limits, "cpu")) {
                warn(limits, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
                json_set_int(limits->host, "CpuPeriod", period = 0);
                json_set_int(limits->host, "CpuQuota", quota = 0);
        }
        if (period != 0 && (period < 1000 || period > 1000000))
                return refuse(limits, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. "
                                      "1000000)");
        if (quota > 0 && quota < 1000)
                return refuse(limits, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
        if (number(limits, "CpuPercent") > 0) {
                warn(limits, "linux does not support CPU percent. Percent discarded.");
                json_set_int(limits->host, "CpuPercent", 0);
        }
        return 0;
}

/* "0-3,7" as bits. -EINVAL. */
static int parse_set(const char *text, uint64_t bits[static 64])
{
        while (*text) {
                char *end;
                unsigned long first = strtoul(text, &end, 10), last = first;

                if (end == text || *text < '0' || *text > '9')
                        return -EINVAL;
                if (*end == '-') {
                        text = end + 1;
                        last = strtoul(text, &end, 10);
                        if (end == text || *text < '0' || *text > '9')
                                return -EINVAL;
                }
                if (last < first || last >= 64 * 64 || (*end && *end != ',' && *end != '\n'))
                        return -EINVAL;
                for (; first <= last; first++)
                        bits[first / 64] |= UINT64_C(1) << first % 64;
                text = *end == ',' ? end + 1 : end + strspn(end, "\n");
        }
        return 0;
}

static int check_set(Limits *limits, const char *key, const char *kind, const char *things, const char *file)
{
        const char *wanted = json_get_string_or(limits->host, key, "");
        uint64_t asked[64] = { 0 }, there[64] = { 0 };
        CLEANUP_FREE char *available = NULL;

        if (!*wanted)
                return 0;
        if (parse_set(wanted, asked) < 0)
                return error_set(limits->error, OUTCOME_BAD_REQUEST, "Invalid value %s for %s", wanted, kind);
        if (file_read_at(AT_FDCWD, file, 65536, &available, NULL) < 0 || parse_set(available, there) < 0)
                return 0;
        available[strcspn(available, "\n")] = '\0';
        for (size_t i = 0; i < 64; i++)
                if (asked[i] & ~there[i])
                        return error_set(limits->error, OUTCOME_BAD_REQUEST,
                                         "Requested %s are not available - requested %s, available: %s", things, wanted,
                                         available);
        return 0;
}

static int check_cpuset(Limits *limits)
{
        bool given = !str_empty(json_get_string(limits->host, "CpusetCpus")) ||
                     !str_empty(json_get_string(limits->host, "CpusetMems"));

        if (given && !has_controller(limits, "cpuset")) {
                warn(limits, "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
                json_set_string(limits->host, "CpusetCpus", "");
                json_set_string(limits->host, "CpusetMems", "");
        }
        int r = check_set(limits, "CpusetCpus", "cpuset cpus", "CPUs", CGROUP_ROOT "cpuset.cpus.effective");
        return r != 0 ? r
                      : check_set(limits, "CpusetMems", "cpuset mems", "memory nodes",
                                  CGROUP_ROOT "cpuset.mems.effective");
}

/* --- Block devices and the rest ----------------------------------------------------------------------------------- */

static const struct {
        const char *key, *warning;
} block_lists[] = {
        { "BlkioWeightDevice", "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
                               "Weight-device discarded." },
        { "BlkioDeviceReadBps", "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. "
                                "Block I/O BPS read limit discarded." },
        { "BlkioDeviceWriteBps", "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. "
                                 "Block I/O BPS write limit discarded." },
        { "BlkioDeviceReadIOps",
          "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block "
          "I/O IOPS read limit discarded." },
        { "BlkioDeviceWriteIOps", "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. "
                                  "Block I/O IOPS write limit discarded." },
};

static int check_block(Limits *limits)
{
        int64_t weight = number(limits, "BlkioWeight");
        bool there = has_controller(limits, "io");

        if (weight > 0 && !there) {
                warn(limits, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight "
                             "discarded.");
                json_set_int(limits->host, "BlkioWeight", weight = 0);
        }
        if (weight != 0 && (weight < 10 || weight > 1000))
                return refuse(limits, "Range of blkio weight is from 10 to 1000");
        if (number(limits, "IOMaximumBandwidth") != 0)
                return error_set(limits->error, OUTCOME_FAILED,
                                 "Invalid QoS settings: linux does not support configuration of maximum bandwidth");
        if (number(limits, "IOMaximumIOps") != 0)
                return error_set(limits->error, OUTCOME_FAILED,
                                 "Invalid QoS settings: linux does not support configuration of maximum IOPs");
        for (size_t i = 0; i < ARRAY_SIZE(block_lists); i++) {
                if (json_array_size(json_object_get(limits->host, block_lists[i].key)) == 0 || there)
                        continue;
                warn(limits, block_lists[i].warning);
                json_object_set_new(limits->host, block_lists[i].key, json_array());
        }
        return 0;
}

static int check_pids(Limits *limits)
{
        if (has_controller(limits, "pids") || !json_object_get(limits->host, "PidsLimit"))
                return 0;
        if (number(limits, "PidsLimit") > 0)
                warn(limits, "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs "
                             "limit discarded.");
        return json_object_set_new(limits->host, "PidsLimit", json_null()) < 0 ? -ENOMEM : 0;
}

int limits_check(json_t *host_config, bool update, json_t *warnings, Error *error)
{
        static int (*const checks[])(Limits *) = {
                check_memory, check_old_memory, check_pids, check_cpu, check_cpuset, check_block,
        };
        CLEANUP_FREE char *controllers = read_controllers();
        Limits limits = {
                .host = host_config, .warnings = warnings, .controllers = controllers, .update = update, .error = error
        };
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
                r = checks[i](&limits);
        return r;
}
