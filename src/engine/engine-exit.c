/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a run: noticed by the monitor's pidfd, or told by a monitor that goes on with the log; explained by the
 * exit record, cleaned up after. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/journal.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/monitor.h"
#include "berth/mount.h"
#include "engine-private.h"

/* A monitor that leaves no record was killed; its container died with it. */
#define KILLED_EXIT_CODE 137

void container_clean_runtime(Container *container)
{
        CLEANUP_FREE char *rootfs = container_runtime_path(container, "rootfs");
        CLEANUP_FREE char *unit = container_unit_name(container);
        CLEANUP_CLOSE int root = open(container->engine->runtime_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (rootfs)
                mount_overlay_undo(rootfs);
        container_unstage_mounts(container);
        container_release_volumes(container);
        /* Where the log is not with the journal yet, they go with the last of it. */
        if (unit && !engine_has_spool(container->engine, container->id))
                journal_restore_rate_limit(unit);
        int r = path_remove_tree_at(root, container->id);
        if (r < 0)
                log_warning_errno(r, "Cannot remove the run-time directory of container %s", container->id);
        container_unpublish(container);
        container_leave_networks(container);
        container->pid = 0;
        free(TAKE_PTR(container->joined_namespace));
}

bool container_has_exit_record(const Container *container)
{
        CLEANUP_FREE char *path = container_path(container, MONITOR_EXIT_RECORD);
        CLEANUP_JSON json_t *record = NULL;

        return path && json_read_at(AT_FDCWD, path, &record) >= 0 && json_get_int(record, "Run", -1) == container->run;
}

static void read_exit_record(Container *container)
{
        CLEANUP_FREE char *path = container_path(container, MONITOR_EXIT_RECORD);
        CLEANUP_JSON json_t *record = NULL;
        int64_t finished;

        container->scope_stopped = false;
        if (path && json_read_at(AT_FDCWD, path, &record) >= 0 && json_get_int(record, "Run", -1) == container->run) {
                container->exit_code = (int) json_get_int(record, "ExitCode", KILLED_EXIT_CODE);
                container->oom_killed = json_get_bool(record, "OOMKilled");
                container->scope_stopped = json_get_bool(record, "Stopped");
                const char *text = json_get_string(record, "FinishedAt");
                container->finished_ns = text && time_parse_rfc3339(text, &finished) >= 0 ? finished : time_now_ns();
                return;
        }
        if (container->exit_code != 255) {
                container_kill_cgroup(container);
                container->exit_code = KILLED_EXIT_CODE;
        }
        container->finished_ns = time_now_ns();
}

static void emit_end(Container *container)
{
        int64_t ran_ns = container->started_ns > 0 ? container->finished_ns - container->started_ns : 0;
        char code[16], seconds[24];

        snprintf(code, sizeof(code), "%d", container->exit_code);
        snprintf(seconds, sizeof(seconds), "%lld", (long long) (MAX(ran_ns, 0) / 1000000000));
        if (container->oom_killed)
                container_event_emit(container, "oom", NULL);
        container_volume_events(container, false);
        container_event_emit(container, "die", json_pack("{ss ss}", "exitCode", code, "execDuration", seconds));
}

void container_ended(Container *container)
{
        Engine *engine = container->engine;
        char id[ID_LENGTH + 1];

        memcpy(id, container->id, sizeof(id));
        container->monitor_exit = sd_event_source_disable_unref(container->monitor_exit);
        engine_reap(engine, TAKE_FD(container->monitor_fd));
        read_exit_record(container);
        container->status = CONTAINER_EXITED;
        container->paused = false;
        emit_end(container);
        bool again = container_restart_decide(container);
        container_execs_stop(container);
        container_waiters_notify(container, WAIT_NEXT_EXIT);
        container_drop_attaches(container);
        /* The run-time directory goes last: as long as it is there, a later process looks at this container again. */
        bool remove = container->removing ||
                      (container_auto_remove(container) && !again && !container_restart_pending(container));
        if (!remove) {
                container_health_settle(container);
                container_save(container, false);
                container_clean_runtime(container);
        }
        engine_drain_check(engine, id);
        container_tell_end(container);
        container_stops_done(container);
        if (!container->removing && !container->start)
                container_forget_caller(container);
        if (container->removing)
                container_removals_go_on(container);
        else if (remove)
                container_remove_unattended(container);
}

static int on_monitor_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void) source;
        (void) fd;
        (void) revents;
        container_ended(userdata);
        return 0;
}

int container_watch_monitor(Container *container)
{
        CLEANUP_CLOSE int fd = process_open(container->monitor_pid, container->monitor_start_time);
        if (fd < 0)
                return fd;
        int r = sd_event_add_io(container->engine->event, &container->monitor_exit, fd, EPOLLIN, on_monitor_exit,
                                container);
        if (r < 0)
                return r;
        container->monitor_fd = TAKE_FD(fd);
        return 0;
}
