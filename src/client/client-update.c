/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth update. */
#include <stdio.h>

#include "berth/json.h"
#include "client-run.h"

static bool anything_set(const ClientArguments *arguments)
{
        for (size_t i = 0; arguments->command->options[i].name; i++)
                if (arguments->values[i].set)
                        return true;
        return false;
}

static int make_request(const ClientArguments *arguments, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *body = client_must(json_object()), *policy = NULL;
        int r;

        if (!anything_set(arguments))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "you must provide one or more flags when using this command");
        r = client_restart_parse(client_string(arguments, "restart"), &policy, error);
        if (r != 0)
                return r;
        client_run_set_fields(arguments, body);
        client_run_set(body, "RestartPolicy", json_incref(policy));
        *ret = TAKE_PTR(body);
        return 0;
}

static int run_update(Client *client, const ClientArguments *arguments)
{
        CLEANUP_JSON json_t *body = NULL;
        CLEANUP_BUFFER Buffer warnings = {}, failures = {};
        CLEANUP_ERROR Error error = {};

        if (make_request(arguments, &body, &error) != 0)
                return client_fail(&error);
        for (size_t i = 0; i < arguments->n_words; i++) {
                CLEANUP_BUFFER Buffer target = target_make("containers", arguments->words[i], "update");
                CLEANUP_REPLY ClientReply reply = {};
                CLEANUP_ERROR Error reason = {};
                json_t *warning;
                size_t j;

                if (client_call(client, "POST", target.data, body, &reply, &reason) != 0)
                        client_must_zero(
                                buffer_printf(&failures, "%s%s", failures.size > 0 ? "\n" : "", reason.message));
                else
                        puts(arguments->words[i]);
                json_array_foreach(json_get_array(reply.json, "Warnings"), j, warning) {
                        client_must_zero(buffer_printf(&warnings, "%s\n", json_string_value(warning) ?: ""));
                }
        }
        fputs(warnings.data ?: "", stdout);
        if (failures.size == 0)
                return 0;
        client_complain("%s", failures.data);
        return 1;
}

static const ClientOption update_options[] = {
        { 0, "blkio-weight", OPTION_UINT16, "uint16", "0", "Weight of block IO, 10 to 1000, or 0 for none",
          "BlkioWeight", NULL, false },
        { 0, "cpu-period", OPTION_INT, "int", NULL, "Period of the CPU quota in microseconds", "CpuPeriod", NULL,
          false },
        { 0, "cpu-quota", OPTION_INT, "int", NULL, "CPU time a period in microseconds", "CpuQuota", NULL, false },
        { 0, "cpu-rt-period", OPTION_INT, "int", NULL, "Period of the real-time quota in microseconds",
          "CpuRealtimePeriod", NULL, false },
        { 0, "cpu-rt-runtime", OPTION_INT, "int", NULL, "Real-time CPU time a period in microseconds",
          "CpuRealtimeRuntime", NULL, false },
        { 'c', "cpu-shares", OPTION_INT, "int", NULL, "Relative weight of CPU time", "CpuShares", NULL, false },
        { 0, "cpus", OPTION_DECIMAL, "decimal", NULL, "Number of CPUs", "NanoCpus", NULL, false },
        { 0, "cpuset-cpus", OPTION_STRING, "string", NULL, "CPUs it may run on (0-3, 0,1)", "CpusetCpus", NULL, false },
        { 0, "cpuset-mems", OPTION_STRING, "string", NULL, "Memory nodes it may use (0-3, 0,1)", "CpusetMems", NULL,
          false },
        { 0, "kernel-memory", OPTION_BYTES, "bytes", NULL, "Kernel memory limit (obsolete)", "KernelMemory", NULL,
          true },
        { 'm', "memory", OPTION_BYTES, "bytes", NULL, "Memory limit", "Memory", NULL, false },
        { 0, "memory-reservation", OPTION_BYTES, "bytes", NULL, "Soft memory limit", "MemoryReservation", NULL, false },
        { 0, "memory-swap", OPTION_BYTES, "bytes", NULL, "Limit of memory and swap together, -1 for none", "MemorySwap",
          NULL, false },
        { 0, "pids-limit", OPTION_INT, "int", NULL, "Number of processes, -1 for no limit", "PidsLimit", NULL, false },
        { 0, "restart", OPTION_STRING, "string", NULL, "Restart policy", NULL, NULL, false },
        {},
};

const ClientCommand client_update = {
        .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
        .summary = "Update configuration of one or more containers",
        .options = update_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_update,
};
