/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* firewalld rejects what is forwarded from and to links it does not know. Bridges are told to it, in its zone for links
 * that are trusted, for as long as it runs: its permanent configuration is not touched. */
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/network.h"
#include "berth/string.h"

#define RUNTIME_DIRECTORY "/run/firewalld"

bool network_firewalld_runs(void)
{
        return access(RUNTIME_DIRECTORY, F_OK) == 0;
}

int network_firewalld_add(const char *name)
{
        static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
        CLEANUP_FREE char *option = str_printf("--change-interface=%s", name);
        char *const argv[] = { "firewall-cmd", "--quiet", "--zone=trusted", option, NULL };
        posix_spawn_file_actions_t actions;
        pid_t pid;
        int status;

        if (!network_firewalld_runs())
                return 0;
        if (!option)
                return -ENOMEM;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        int r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                return -r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
