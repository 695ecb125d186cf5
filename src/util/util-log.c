/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line a message, composed on the stack and written with one write(2), so lines of processes do not mix. */
#include "berth/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "berth/cleanup.h"

#define LINE_MAX_SIZE 4096

static int max_level = LOG_INFO;
static int prefix = -1;

void log_set_max_level(int level)
{
        max_level = level;
}

void log_set_prefix(int enabled)
{
        prefix = enabled;
}

static void write_line(int level, const char *format, va_list arguments, const char *suffix)
{
        char line[LINE_MAX_SIZE];
        int saved = errno;
        size_t used = 0;

        if (prefix < 0)
                prefix = getenv("JOURNAL_STREAM") != NULL;
        if (prefix)
                used = (size_t) snprintf(line, sizeof(line), "<%d>", level);
        int n = vsnprintf(line + used, sizeof(line) - used, format, arguments);
        if (n > 0)
                used = MIN(used + (size_t) n, sizeof(line) - 2);
        if (suffix && used < sizeof(line) - 2) {
                n = snprintf(line + used, sizeof(line) - used - 1, ": %s", suffix);
                if (n > 0)
                        used = MIN(used + (size_t) n, sizeof(line) - 2);
        }
        line[used++] = '\n';
        if (write(STDERR_FILENO, line, used) < 0) {
                /* Nobody is left to tell. */
        }
        errno = saved;
}

void log_message(int level, const char *format, ...)
{
        if (level > max_level)
                return;
        va_list arguments;
        va_start(arguments, format);
        write_line(level, format, arguments, NULL);
        va_end(arguments);
}

int log_message_errno(int level, int error, const char *format, ...)
{
        error = abs(error);
        if (level <= max_level) {
                va_list arguments;
                va_start(arguments, format);
                write_line(level, format, arguments, strerror(error));
                va_end(arguments);
        }
        return -error;
}
