/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "berth/json.h"
#include "client-stats-sample.h"

/* Counters may be larger than a JSON integer of ours: they are numbers of either kind. */
static double number(const json_t *object, const char *key)
{
        return json_number_value(json_object_get(object, key));
}

static double cpu_percent(const json_t *stats)
{
        const json_t *now = json_get_object(stats, "cpu_stats"), *before = json_get_object(stats, "precpu_stats");
        double used = number(json_get_object(now, "cpu_usage"), "total_usage") -
                      number(json_get_object(before, "cpu_usage"), "total_usage");
        double passed = number(now, "system_cpu_usage") - number(before, "system_cpu_usage");
        double cpus = number(now, "online_cpus");

        if (cpus == 0)
                cpus = (double) json_array_size(json_get_array(json_get_object(now, "cpu_usage"), "percpu_usage"));
        return passed > 0 && used > 0 ? used / passed * cpus * 100 : 0;
}

static double memory_used(const json_t *memory)
{
        const json_t *details = json_get_object(memory, "stats");
        double usage = number(memory, "usage"), inactive;

        /* The page cache that is not in use, as the two versions of cgroups call it. */
        if (json_object_get(details, "total_inactive_file"))
                inactive = number(details, "total_inactive_file");
        else
                inactive = number(details, "inactive_file");
        return inactive < usage ? usage - inactive : usage;
}

static void add_networks(const json_t *stats, StatsSample *sample)
{
        json_t *network;
        const char *name;

        json_object_foreach(json_get_object(stats, "networks"), name, network) {
                sample->received += number(network, "rx_bytes");
                sample->sent += number(network, "tx_bytes");
        }
}

static void add_blocks(const json_t *stats, StatsSample *sample)
{
        json_t *entry;
        size_t i;

        json_array_foreach(json_get_array(json_get_object(stats, "blkio_stats"), "io_service_bytes_recursive"), i,
                           entry) {
                switch (*json_get_string_or(entry, "op", "")) {
                case 'r':
                case 'R':
                        sample->read += number(entry, "value");
                        break;
                case 'w':
                case 'W':
                        sample->written += number(entry, "value");
                }
        }
}

StatsSample stats_sample_read(const json_t *stats)
{
        const json_t *memory = json_get_object(stats, "memory_stats");
        StatsSample sample = {
                .cpu = cpu_percent(stats),
                .memory = memory_used(memory),
                .limit = number(memory, "limit"),
                .pids = (long long) number(json_get_object(stats, "pids_stats"), "current"),
        };

        add_networks(stats, &sample);
        add_blocks(stats, &sample);
        return sample;
}
