/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw mode with a way back on every exit: the end of the stream, exit(3), and the signals the stream takes in by its
 * signalfd all come through client_terminal_restore(). */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "berth/string.h"
#include "client-terminal.h"

static struct termios saved_mode;
static int raw_fd = -EBADF; /* borrowed; the terminal to restore */

void client_terminal_restore(void)
{
        if (raw_fd >= 0)
                tcsetattr(raw_fd, TCSADRAIN, &saved_mode);
        raw_fd = -EBADF;
}

static int set_mode(int fd, void (*change)(struct termios *mode))
{
        static bool registered;
        struct termios mode;

        if (tcgetattr(fd, &mode) < 0)
                return -errno;
        saved_mode = mode;
        change(&mode);
        if (!registered && atexit(client_terminal_restore) != 0)
                return -ENOMEM;
        registered = true;
        if (tcsetattr(fd, TCSADRAIN, &mode) < 0)
                return -errno;
        raw_fd = fd;
        return 0;
}

int client_terminal_raw(int fd)
{
        return set_mode(fd, cfmakeraw);
}

static void hide_typing(struct termios *mode)
{
        mode->c_lflag &= ~(tcflag_t) ECHO;
}

static void restore_and_die(int number)
{
        client_terminal_restore();
        signal(number, SIG_DFL);
        raise(number);
}

int client_terminal_silence(int fd)
{
        static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

        for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
                signal(ending[i], restore_and_die);
        return set_mode(fd, hide_typing);
}

bool client_terminal_size(unsigned *ret_rows, unsigned *ret_columns)
{
        struct winsize size;

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || (size.ws_row == 0 && size.ws_col == 0))
                return false;
        *ret_rows = size.ws_row;
        *ret_columns = size.ws_col;
        return true;
}

/* One key: a character, or "ctrl-" and a letter or one of @[\]^_. Negative for nonsense. */
static int parse_key(const char *key)
{
        const char *control = str_after_prefix(key, "ctrl-");

        if (!control)
                return key[0] && !key[1] ? (unsigned char) key[0] : -EINVAL;
        if (!control[0] || control[1])
                return -EINVAL;
        if (isalpha((unsigned char) *control))
                return tolower((unsigned char) *control) - 'a' + 1;
        return *control == '@' ? 0 : strchr("[\\]^_", *control) ? *control - '[' + 27 : -EINVAL;
}

int client_terminal_detach_keys(const char *keys, uint8_t ret[static DETACH_KEYS_MAX])
{
        CLEANUP_FREE char *copy = strdup(str_empty(keys) ? "ctrl-p,ctrl-q" : keys);
        char *rest = copy, *key;
        int n = 0;

        while ((key = strsep(&rest, ","))) {
                int code = parse_key(key);

                if (code < 0 || n == DETACH_KEYS_MAX)
                        return 0;
                ret[n++] = code;
        }
        return n;
}
