/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A configuration file: read or refused with a message that names it, and read alike a second time. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "berth/cleanup.h"
#include "berth/config.h"
#include "berth/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_once(Config *config, const char *path, char ***ret_warnings)
{
        CLEANUP_FREE char *message = NULL;
        int r = config_read(config, path, ret_warnings, &message);

        if ((r < 0) != (message != NULL) || (message && !strstr(message, path)))
                abort();
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_CONFIG Config config = {};
        CLEANUP_STRV char **warnings = NULL, **again = NULL;
        CLEANUP_CLOSE int fd = memfd_create("daemon.json", MFD_CLOEXEC);
        CLEANUP_FREE char *path = str_printf("/proc/self/fd/%d", fd);

        if (fd < 0 || !path || write(fd, data, size) != (ssize_t) size || config_init(&config) < 0)
                abort();
        int r = read_once(&config, path, &warnings);
        if (read_once(&config, path, &again) != r || strv_length(again) != strv_length(warnings))
                abort();
        if (r == 0 && (!config.data_root[0] || !config.log_driver[0] || config.shm_size == 0))
                abort();
        return 0;
}
