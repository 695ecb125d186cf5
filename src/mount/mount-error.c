/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reasons as Docker's clients know them: Go's texts of errors are the C library's without the capital. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "berth/mount.h"

int mount_error(Error *error, int errnum, const char *format, ...)
{
        const char *description = strerrordesc_np(errnum);
        CLEANUP_FREE char *text = NULL;
        char reason[64];
        va_list args;
        int n;

        snprintf(reason, sizeof(reason), "%s", description ? description : "unknown error");
        /* "RPC ..." and the like keep their capitals. */
        if (islower((unsigned char) reason[1]))
                reason[0] = (char) tolower((unsigned char) reason[0]);
        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0)
                text = NULL;
        error_set(error, OUTCOME_FAILED, "%s: %s", text ? text : "out of memory", reason);
        return -errnum;
}
