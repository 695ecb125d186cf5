/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/outcome.h"

#include <stdarg.h>

int error_set(Error *error, Outcome outcome, const char *format, ...)
{
        if (!error)
                return outcome;

        char *message = NULL;
        va_list arguments;
        va_start(arguments, format);
        if (vasprintf(&message, format, arguments) < 0)
                message = NULL;
        va_end(arguments);

        error_clear(error);
        error->outcome = outcome;
        error->message = message;
        return outcome;
}

int error_prefix(Error *error, const char *text)
{
        char *message = NULL;

        if (asprintf(&message, "%s: %s", text, error->message ? error->message : "") < 0)
                return error->outcome;
        free(error->message);
        error->message = message;
        return error->outcome;
}

void error_clear(Error *error)
{
        cleanup_free_ptr(&error->message);
        *error = (Error) { 0 };
}
