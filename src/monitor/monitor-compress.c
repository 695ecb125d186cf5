/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-compress.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "berth/cleanup.h"
#include "berth/log.h"
#include "berth/logfile.h"
#include "berth/string.h"
#include "monitor-compress.h"

/* The number of the newest plain file, or 0. The older ones may be gone before they are compressed. */
static int find_newest(const char *path, unsigned *ret_number)
{
        CLEANUP_FREE LogfileName *names = NULL;
        const char *name;
        size_t n = 0, i;
        CLEANUP_CLOSE int directory = logfile_open_directory(path, &name);

        if (directory < 0)
                return directory;
        int r = logfile_list(directory, name, &names, &n);
        if (r < 0)
                return r;
        for (i = n; i > 0 && (names[i - 1].number == 0 || names[i - 1].compressed); i--)
                ;
        *ret_number = i > 0 ? names[i - 1].number : 0;
        return 0;
}

/* In the child. */
static void execute(const char *program, int in, int out)
{
        static const int usual[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE };
        int from = fcntl(in, F_DUPFD_CLOEXEC, 3), to = fcntl(out, F_DUPFD_CLOEXEC, 3);

        for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
                (void) signal(usual[i], SIG_DFL);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        (void) setpriority(PRIO_PROCESS, 0, 19);
        if (from < 0 || to < 0 || dup2(from, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0)
                _exit(EXIT_FAILURE);
        /* The other end of the container's pipes must not outlive the monitor. */
        (void) close_range(3, ~0u, 0);
        execl(program, program, (char *) NULL);
        _exit(127);
}

static int start(MonitorCompress *compress, const char *path, unsigned number)
{
        CLEANUP_FREE char *source = logfile_path(path, number, false);
        CLEANUP_FREE char *target = str_printf("%s" LOGFILE_NEXT_COMPRESSED, path);

        if (!source || !target)
                return -ENOMEM;
        CLEANUP_CLOSE int in = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        CLEANUP_CLOSE int out =
                in < 0 ? -EBADF : open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (out < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                execute(compress->program, in, out);
        if (pid < 0)
                return -errno;
        compress->pid = pid;
        compress->number = number;
        return 0;
}

void monitor_compress_begin(MonitorCompress *compress, const char *path)
{
        unsigned number = 0;
        int r;

        if (!compress->program || compress->pid > 0)
                return;
        r = find_newest(path, &number);
        if (r >= 0 && number > 0)
                r = start(compress, path, number);
        if (r < 0)
                log_debug("cannot compress a file of %s: %s", path, strerror(-r));
}

void monitor_compress_rotated(MonitorCompress *compress, unsigned files)
{
        if (compress->pid == 0 || compress->number == 0)
                return;
        compress->number++;
        if (compress->number < files)
                return;
        compress->number = 0;
        (void) kill(compress->pid, SIGKILL);
}

/* The compressed file first, as a plain one that is still there counts. Both are changes of one directory, which file
 * systems keep in order over a power cut; its contents are on the disk already. */
static int take_result(const MonitorCompress *compress, const char *path)
{
        CLEANUP_FREE char *next = str_printf("%s" LOGFILE_NEXT_COMPRESSED, path);
        CLEANUP_FREE char *plain = logfile_path(path, compress->number, false);
        CLEANUP_FREE char *compressed = logfile_path(path, compress->number, true);

        if (!next || !plain || !compressed)
                return -ENOMEM;
        return rename(next, compressed) < 0 || unlink(plain) < 0 ? -errno : 0;
}

void monitor_compress_reaped(MonitorCompress *compress, const char *path, const siginfo_t *info)
{
        bool ended_well = info->si_code == CLD_EXITED && info->si_status == EXIT_SUCCESS;
        int r = 0;

        if (compress->pid == 0 || info->si_pid != compress->pid)
                return;
        compress->pid = 0;
        if (compress->number > 0)
                r = ended_well ? take_result(compress, path) : -EIO;
        if (r < 0)
                log_warning_errno(-r, "a file of %s was not compressed", path);
        else
                monitor_compress_begin(compress, path);
}

void monitor_compress_stop(MonitorCompress *compress)
{
        if (compress->pid > 0)
                (void) kill(compress->pid, SIGKILL);
        compress->program = NULL;
}
