/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth-init: the first process of a container that was asked to have one (HostConfig.Init). It starts the program it
 * is given, passes every signal on to it, reaps whatever is left to it, and ends as the program did. It runs inside the
 * container with its user and confinement, owns no descriptor of its own, and uses nothing but libc.
 *
 *     berth-init [--] PROGRAM [ARGUMENT...] */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_USAGE 1
#define EXIT_NOT_FOUND 127
#define EXIT_NOT_EXECUTABLE 126

/* What the kernel sends because of what this process itself did, and what is handled here. */
static const int own_signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU };

static void block_signals(sigset_t *ret_blocked, sigset_t *ret_before)
{
        sigfillset(ret_blocked);
        for (size_t i = 0; i < sizeof(own_signals) / sizeof(own_signals[0]); i++)
                sigdelset(ret_blocked, own_signals[i]);
        sigprocmask(SIG_SETMASK, ret_blocked, ret_before);
}

/* In the child. A terminal, if there is one, is the program's from now on: its keys signal the program's group. */
static _Noreturn void run_program(char **argv, const sigset_t *mask)
{
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
        if (tcsetpgrp(STDIN_FILENO, getpgrp()) < 0 && errno != ENOTTY && errno != ENXIO)
                fprintf(stderr, "berth-init: the terminal cannot be given away: %s\n", strerror(errno));
        signal(SIGTTOU, SIG_DFL);
        sigprocmask(SIG_SETMASK, mask, NULL);
        execvp(argv[0], argv);
        int error = errno;
        fprintf(stderr, "berth-init: exec %s failed: %s\n", argv[0], strerror(error));
        _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* Reaps all that has ended. The program's exit status once it is among them, else -1. */
static int reap(pid_t program)
{
        int status, result = -1;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (pid == program)
                        result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return result;
}

int main(int argc, char **argv)
{
        sigset_t blocked, before;
        int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1, result = -1, number;

        if (argc > 1 && strcmp(argv[1], "--version") == 0) {
                puts("berth-init " BERTH_VERSION);
                return 0;
        }
        if (argc <= first || (first == 1 && strcmp(argv[1], "--help") == 0)) {
                puts("Usage: berth-init [--] PROGRAM [ARGUMENT...]\n\nThe first process of a container: starts the "
                     "program, passes signals on to it, and reaps processes.");
                return argc <= first ? EXIT_USAGE : 0;
        }
        /* Where it is not the first process, as in the host's pid namespace, orphans still come here. */
        if (getpid() != 1)
                prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        block_signals(&blocked, &before);
        pid_t program = fork();
        if (program < 0) {
                perror("berth-init: fork");
                return EXIT_USAGE;
        }
        if (program == 0)
                run_program(argv + first, &before);
        while (result < 0) {
                if (sigwait(&blocked, &number) != 0)
                        continue;
                if (number != SIGCHLD)
                        kill(program, number);
                result = reap(program);
        }
        return result;
}
