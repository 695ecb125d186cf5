/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See daemon-autostart.h. */
#include <sys/socket.h>

#include "berth/buffer.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/string.h"
#include "daemon-autostart.h"

static bool is_needed(const Config *config)
{
        CLEANUP_FREE char *path = path_join(config->data_root, "autostart");
        CLEANUP_CLOSEDIR DIR *directory = path ? opendir(path) : NULL;
        struct dirent *entry;

        while (directory && (entry = readdir(directory)))
                if (entry->d_name[0] != '.')
                        return true;
        return false;
}

/* The answer, all of it. */
static int ask(const Config *config, Buffer *answer)
{
        static const char request[] = "POST /_berth/autostart HTTP/1.1\r\nHost: berth\r\nContent-Length: 0\r\n"
                                      "Connection: close\r\n\r\n";
        CLEANUP_CLOSE int fd = socket_connect_unix(config->notify_socket, SOCK_STREAM);
        int r = fd < 0 ? fd : fd_write_all(fd, request, strlen(request));
        ssize_t n = 1;

        while (r >= 0 && n > 0) {
                n = buffer_read(answer, fd, 4096);
                r = n < 0 && n != -EINTR ? (int) n : 0;
        }
        return r;
}

int daemon_autostart(const Config *config)
{
        CLEANUP_BUFFER Buffer answer = { 0 };

        if (!is_needed(config))
                return 0;
        int r = ask(config, &answer);
        if (r < 0 || answer.size == 0) {
                log_error_errno(r < 0 ? r : -ECONNRESET, "Cannot ask %s", config->notify_socket);
                return 1;
        }
        if (str_after_prefix(answer.data, "HTTP/1.1 204"))
                return 0;
        const char *body = strstr(answer.data, "\r\n\r\n");
        log_error("%s", body ? body + 4 : answer.data);
        return 1;
}
