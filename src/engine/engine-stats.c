/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container uses, read from its group's files (Linux Documentation/admin-guide/cgroup-v2.rst) once a second by a
 * worker of its own, which writes to the client as long as that wants, whatever becomes of the daemon. A container that
 * does not run has a name and nothing else; the stream ends when it is removed.
 *
 * The numbers are written as text: a limit of none is larger than what a JSON library holds. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define FILE_MAX (1u << 20)
#define PAUSE_MS 1000
#define ZERO_TIME "0001-01-01T00:00:00Z"

typedef struct StatsJob {
        Stream stream;
        char *id, *name, *group, *directory; /* owned; the directory goes with the container */
        bool follow, prime, own_network;
        int64_t memory_total;
} StatsJob;

typedef struct CpuSample {
        int64_t read_ns; /* 0: none */
        uint64_t usage, user, system, periods, throttled, throttled_ns, host;
} CpuSample;

/* --- Files of the kernel ------------------------------------------------------------------------------------------ */

static char *read_file(int group_fd, const char *name)
{
        char *text = NULL;

        return file_read_at(group_fd, name, FILE_MAX, &text, NULL) >= 0 ? text : NULL;
}

/* A file of one number; "max" is the largest. */
static bool read_number(int group_fd, const char *name, uint64_t *ret)
{
        CLEANUP_FREE char *text = read_file(group_fd, name);

        if (!text)
                return false;
        *ret = str_after_prefix(text, "max") ? UINT64_MAX : strtoull(text, NULL, 10);
        return true;
}

/* The number behind KEY, at the beginning of a line or behind a blank, and SEPARATOR. */
static uint64_t number_of(const char *text, const char *key, char separator)
{
        size_t size = strlen(key);

        for (const char *at = text; at && (at = strstr(at, key)); at += size)
                if ((at == text || at[-1] == '\n' || at[-1] == ' ') && at[size] == separator)
                        return strtoull(at + size + 1, NULL, 10);
        return 0;
}

/* Processor time of the whole host, in nanoseconds. */
static uint64_t host_cpu(void)
{
        CLEANUP_FREE char *text = read_file(AT_FDCWD, "/proc/stat");
        uint64_t ticks = 0;
        char *next = text ? text + strcspn(text, " ") : NULL;

        for (int i = 0; next && i < 7; i++)
                ticks += strtoull(next, &next, 10);
        return ticks * (1000000000u / (uint64_t) sysconf(_SC_CLK_TCK));
}

/* --- One reading -------------------------------------------------------------------------------------------------- */

static void sample_cpu(int group_fd, CpuSample *sample)
{
        CLEANUP_FREE char *text = read_file(group_fd, "cpu.stat");

        *sample = (CpuSample) { .read_ns = time_now_ns(), .host = host_cpu() };
        if (!text)
                return;
        sample->usage = number_of(text, "usage_usec", ' ') * 1000;
        sample->user = number_of(text, "user_usec", ' ') * 1000;
        sample->system = number_of(text, "system_usec", ' ') * 1000;
        sample->periods = number_of(text, "nr_periods", ' ');
        sample->throttled = number_of(text, "nr_throttled", ' ');
        sample->throttled_ns = number_of(text, "throttled_usec", ' ') * 1000;
}

static void write_cpu(Buffer *text, const char *name, const CpuSample *sample)
{
        buffer_printf(text,
                      ",\"%s\":{\"cpu_usage\":{\"total_usage\":%" PRIu64 ",\"usage_in_kernelmode\":%" PRIu64
                      ",\"usage_in_usermode\":%" PRIu64 "}",
                      name, sample->usage, sample->system, sample->user);
        if (sample->read_ns > 0)
                buffer_printf(text, ",\"system_cpu_usage\":%" PRIu64 ",\"online_cpus\":%ld", sample->host,
                              sysconf(_SC_NPROCESSORS_ONLN));
        buffer_printf(text,
                      ",\"throttling_data\":{\"periods\":%" PRIu64 ",\"throttled_periods\":%" PRIu64
                      ",\"throttled_time\":%" PRIu64 "}}",
                      sample->periods, sample->throttled, sample->throttled_ns);
}

static void write_pids(Buffer *text, int group_fd)
{
        uint64_t current, limit;

        buffer_append_string(text, ",\"pids_stats\":{");
        if (read_number(group_fd, "pids.current", &current)) {
                buffer_printf(text, "\"current\":%" PRIu64, current);
                if (read_number(group_fd, "pids.max", &limit))
                        buffer_printf(text, ",\"limit\":%" PRIu64, limit);
        }
        buffer_append_string(text, "}");
}

/* "8:0 rbytes=1 wbytes=2 rios=3 ...", a line a device. */
static void write_io(Buffer *text, int group_fd)
{
        CLEANUP_FREE char *file = group_fd >= 0 ? read_file(group_fd, "io.stat") : NULL;
        bool any = false;
        char *state = NULL;

        buffer_append_string(text, ",\"blkio_stats\":{\"io_service_bytes_recursive\":");
        for (char *line = file ? strtok_r(file, "\n", &state) : NULL; line; line = strtok_r(NULL, "\n", &state)) {
                unsigned major_number, minor_number;

                if (sscanf(line, "%u:%u", &major_number, &minor_number) != 2)
                        continue;
                static const struct {
                        const char *key, *operation;
                } values[] = { { "rbytes", "read" }, { "wbytes", "write" } };
                for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                        buffer_printf(text, "%s{\"major\":%u,\"minor\":%u,\"op\":\"%s\",\"value\":%" PRIu64 "}",
                                      any ? "," : "[", major_number, minor_number, values[i].operation,
                                      number_of(line, values[i].key, '='));
                        any = true;
                }
        }
        buffer_append_string(text, any ? "]" : "null");
        buffer_append_string(text, ",\"io_serviced_recursive\":null,\"io_queue_recursive\":null,"
                                   "\"io_service_time_recursive\":null,\"io_wait_time_recursive\":null,"
                                   "\"io_merged_recursive\":null,\"io_time_recursive\":null,"
                                   "\"sectors_recursive\":null}");
}

static void write_memory(const StatsJob *job, Buffer *text, int group_fd)
{
        static const char *const keys[] = {
                "active_anon",
                "active_file",
                "anon",
                "anon_thp",
                "file",
                "file_dirty",
                "file_mapped",
                "file_writeback",
                "inactive_anon",
                "inactive_file",
                "kernel_stack",
                "pgactivate",
                "pgdeactivate",
                "pgfault",
                "pglazyfree",
                "pglazyfreed",
                "pgmajfault",
                "pgrefill",
                "pgscan",
                "pgsteal",
                "shmem",
                "slab",
                "slab_reclaimable",
                "slab_unreclaimable",
                "sock",
                "thp_collapse_alloc",
                "thp_fault_alloc",
                "unevictable",
                "workingset_activate",
                "workingset_nodereclaim",
                "workingset_refault",
        };
        CLEANUP_FREE char *file = group_fd >= 0 ? read_file(group_fd, "memory.stat") : NULL;
        uint64_t usage, limit;

        buffer_append_string(text, ",\"memory_stats\":{");
        if (file && read_number(group_fd, "memory.current", &usage)) {
                buffer_printf(text, "\"usage\":%" PRIu64 ",\"stats\":{", usage);
                for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                        buffer_printf(text, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", keys[i],
                                      number_of(file, keys[i], ' '));
                if (!read_number(group_fd, "memory.max", &limit) || limit > (uint64_t) job->memory_total)
                        limit = (uint64_t) job->memory_total;
                buffer_printf(text, "},\"limit\":%" PRIu64, limit);
        }
        buffer_append_string(text, "}");
}

/* "  eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop ...", as any process of the
 * container sees it. */
static void write_networks(Buffer *text, int group_fd)
{
        CLEANUP_FREE char *processes = read_file(group_fd, "cgroup.procs");
        CLEANUP_FREE char *path = processes ? str_printf("/proc/%ld/net/dev", strtol(processes, NULL, 10)) : NULL;
        CLEANUP_FREE char *file = path ? read_file(AT_FDCWD, path) : NULL;
        bool any = false;
        char *state = NULL;

        for (char *line = file ? strtok_r(file, "\n", &state) : NULL; line; line = strtok_r(NULL, "\n", &state)) {
                uint64_t in[4], out[4];
                char name[32];

                if (sscanf(line,
                           " %31[^:]: %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %*s %*s %*s %*s %" SCNu64
                           " %" SCNu64 " %" SCNu64 " %" SCNu64,
                           name, &in[0], &in[1], &in[2], &in[3], &out[0], &out[1], &out[2], &out[3]) != 9 ||
                    str_equal(name, "lo") || strpbrk(name, "\"\\"))
                        continue;
                buffer_printf(text,
                              "%s\"%s\":{\"rx_bytes\":%" PRIu64 ",\"rx_packets\":%" PRIu64 ",\"rx_errors\":%" PRIu64
                              ",\"rx_dropped\":%" PRIu64 ",\"tx_bytes\":%" PRIu64 ",\"tx_packets\":%" PRIu64
                              ",\"tx_errors\":%" PRIu64 ",\"tx_dropped\":%" PRIu64 "}",
                              any ? "," : ",\"networks\":{", name, in[0], in[1], in[2], in[3], out[0], out[1], out[2],
                              out[3]);
                any = true;
        }
        if (any)
                buffer_append_string(text, "}");
}

/* --- The stream --------------------------------------------------------------------------------------------------- */

static const char *time_text(int64_t ns, char *buffer)
{
        return ns > 0 ? time_format_rfc3339(ns, buffer) : ZERO_TIME;
}

static int write_sample(StatsJob *job, int group_fd, const CpuSample *now, const CpuSample *before)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        char read[TIME_RFC3339_SIZE], before_read[TIME_RFC3339_SIZE];

        buffer_printf(&text, "{\"read\":\"%s\",\"preread\":\"%s\"", time_text(now->read_ns, read),
                      time_text(before->read_ns, before_read));
        write_pids(&text, group_fd);
        write_io(&text, group_fd);
        buffer_append_string(&text, ",\"num_procs\":0,\"storage_stats\":{}");
        write_cpu(&text, "cpu_stats", now);
        write_cpu(&text, "precpu_stats", before);
        write_memory(job, &text, group_fd);
        buffer_printf(&text, ",\"name\":\"/%s\",\"id\":\"%s\"", job->name, job->id);
        if (group_fd >= 0 && job->own_network)
                write_networks(&text, group_fd);
        int r = buffer_append_string(&text, "}\n");
        return r < 0 ? r : stream_write(&job->stream, text.data, text.size);
}

/* False where the client has gone meanwhile. */
static bool pause_for_next(const StatsJob *job)
{
        struct pollfd client = { .fd = job->stream.fd, .events = POLLRDHUP };

        return poll(&client, 1, PAUSE_MS) == 0;
}

static int run_stats(void *userdata, int result_fd)
{
        StatsJob *job = userdata;
        CpuSample now = { 0 }, before = { 0 };
        bool skip = job->prime;
        int r = stream_begin(&job->stream);
        (void) result_fd;

        while (r >= 0 && access(job->directory, F_OK) == 0) {
                CLEANUP_CLOSE int group_fd = open(job->group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                before = now;
                now = (CpuSample) { 0 };
                if (group_fd >= 0)
                        sample_cpu(group_fd, &now);
                if (!skip || group_fd < 0) {
                        r = write_sample(job, group_fd, &now, &before);
                        if (!job->follow)
                                break;
                }
                skip = false;
                if (r >= 0 && !pause_for_next(job))
                        return 0;
        }
        return r < 0 ? r : stream_end(&job->stream);
}

static void job_clear(StatsJob *job)
{
        stream_clear(&job->stream);
        free(job->id);
        free(job->name);
        free(job->group);
        free(job->directory);
}

int container_stats(Container *container, bool follow, bool prime, Stream *stream)
{
        CLEANUP_FREE char *scope = container_scope_path(container);
        CLEANUP(job_clear)
        StatsJob job = { .id = strdup(container->id),
                         .name = strdup(container->name),
                         .group = scope ? path_join(scope, "payload") : NULL,
                         .directory = container_path(container, NULL),
                         .follow = follow,
                         .prime = prime && !follow,
                         .own_network = !str_equal(container_network_mode(container), "host"),
                         .memory_total = (int64_t) sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) };
        int keep[] = { stream->fd };

        stream_move(&job.stream, stream);
        if (!job.id || !job.name || !job.group || !job.directory)
                return -ENOMEM;
        WorkerJob worker = { .run = run_stats, .userdata = &job, .keep_fds = keep, .n_keep_fds = 1, .detached = true };
        return engine_worker_start(container->engine, &worker);
}
