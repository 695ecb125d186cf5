/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's events as journal entries: how they are written and sent. The fields, beside systemd's own:
 *   BERTH_EVENT           the event as the API shows it
 *   BERTH_EVENT_TYPE      container, image, network, volume, ...
 *   BERTH_EVENT_ACTION    what happened
 *   BERTH_EVENT_ID        to what
 *   BERTH_CALLER_UID, BERTH_CALLER_PID, BERTH_CALLER_COMM   who asked for it, where somebody did */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "berth/file.h"
#include "berth/journal.h"
#include "berth/string.h"

#define NATIVE_SOCKET "/run/systemd/journal/socket"
#define SEND_BUFFER (8 * 1024 * 1024)

/* A value with a line feed in it is written with its length before it. */
static int append_field(Buffer *entry, const char *name, const char *value)
{
        uint64_t size = htole64(strlen(value));
        int r = buffer_append_string(entry, name);

        if (!strchr(value, '\n'))
                return r < 0 ? r : buffer_printf(entry, "=%s\n", value);
        if (r >= 0)
                r = buffer_append(entry, "\n", 1);
        if (r >= 0)
                r = buffer_append(entry, &size, sizeof(size));
        return r < 0 ? r : buffer_printf(entry, "%s\n", value);
}

static int append_caller(Buffer *entry, const JournalCaller *caller)
{
        if (caller->pid <= 0)
                return 0;
        int r = buffer_printf(entry, "BERTH_CALLER_UID=%u\nBERTH_CALLER_PID=%d\n", (unsigned) caller->uid,
                              (int) caller->pid);
        return r < 0 || !*caller->command ? r : append_field(entry, "BERTH_CALLER_COMM", caller->command);
}

int journal_event_format(const JournalEvent *event, Buffer *ret_entry)
{
        CLEANUP_BUFFER Buffer entry = {};
        CLEANUP_FREE char *message = str_printf("%s %s %s", event->type, event->action, event->id);
        const struct {
                const char *name, *value;
        } fields[] = {
                { "MESSAGE", message },
                { "MESSAGE_ID", JOURNAL_EVENT_MESSAGE_ID },
                { "PRIORITY", "6" },
                { "SYSLOG_IDENTIFIER", "berthd" },
                { "BERTH_EVENT_TYPE", event->type },
                { "BERTH_EVENT_ACTION", event->action },
                { "BERTH_EVENT_ID", event->id },
                { "BERTH_EVENT", event->json },
        };
        int r = message ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(fields); i++)
                r = append_field(&entry, fields[i].name, fields[i].value);
        if (r >= 0)
                r = append_caller(&entry, &event->caller);
        if (r < 0)
                return r;
        *ret_entry = entry;
        entry = (Buffer) {};
        return 0;
}

int journal_connect(void)
{
        int fd = socket_connect_unix(NATIVE_SOCKET, SOCK_DGRAM | SOCK_NONBLOCK), size = SEND_BUFFER;

        /* What does not fit goes into a memory file: this is only the faster way. */
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
                (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        return fd;
}

static int send_file(int fd, const Buffer *entry)
{
        CLEANUP_CLOSE int file = memfd_create("berth-event", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r = file < 0 ? -errno : fd_write_all(file, entry->data, entry->size);

        if (r < 0)
                return r;
        if (fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                return -errno;
        return socket_send_fds(fd, "", 0, &file, 1);
}

int journal_send(int fd, const Buffer *entry)
{
        if (send(fd, entry->data, entry->size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
                return 0;
        return errno == EMSGSIZE || errno == ENOBUFS ? send_file(fd, entry) : -errno;
}
