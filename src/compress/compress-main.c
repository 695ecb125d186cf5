/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth-compress: compresses one file of a container's log, from standard input to standard output. The container's
 * monitor starts it, names the result, and removes what it was made of. */
#include <stdio.h>
#include <stdlib.h>

#include "berth/log.h"
#include "berth/logfile.h"
#include "berth/string.h"

int main(int argc, char **argv)
{
        int r;

        if (argc > 1) {
                bool help = str_equal(argv[1], "--help"), version = str_equal(argv[1], "--version");

                if (help)
                        puts("Usage: berth-compress <FILE >FILE.gz\n\n"
                             "Compresses an older file of a container's log, started by berth-monitor(8).");
                else if (version)
                        puts("berth-compress " BERTH_VERSION);
                else
                        log_error("berth-compress takes no arguments");
                return help || version ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        r = logfile_compress(STDIN_FILENO, STDOUT_FILENO);
        if (r < 0)
                log_error_errno(-r, "cannot compress a log file");
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
