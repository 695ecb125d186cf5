/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* journal_read_events(). Only entries of this process's own user count: anybody may write to the journal, but journald
 * itself says who did. An entry's place in the journal is that of its arrival, a little after the event's own time. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/journal.h"
#include "berth/string.h"
#include "journal-barrier.h"
#include "journal-entry.h"

/* What lies so far behind the end of the range was surely sent after it. */
#define QUEUE_DELAY_US (60 * 1000000LL)
#define NS_PER_MS 1000000
/* So many are read of a range without a beginning, as Docker keeps no more. */
#define LAST_MAX 256

typedef struct EventReader {
        const JournalEventQuery *query;
        int (*event)(const char *json, size_t size, void *userdata);
        void *userdata;
        sd_journal *journal;
        bool over; /* past the end of the range */
} EventReader;

static int open_events(sd_journal **ret_journal)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        char user[32];
        int r = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);

        (void) snprintf(user, sizeof(user), "_UID=%u", (unsigned) getuid());
        if (r >= 0)
                r = sd_journal_set_data_threshold(journal, 0);
        if (r >= 0)
                r = sd_journal_add_match(journal, "MESSAGE_ID=" JOURNAL_EVENT_MESSAGE_ID, 0);
        if (r >= 0)
                r = sd_journal_add_match(journal, user, 0);
        if (r >= 0)
                *ret_journal = TAKE_PTR(journal);
        return r;
}

static int take_entry(EventReader *reader)
{
        static const char name[] = "BERTH_EVENT=";
        const void *data;
        uint64_t arrived_us;
        size_t size;
        int r = sd_journal_get_realtime_usec(reader->journal, &arrived_us);

        if (r >= 0 && reader->query->until_ns > 0 &&
            (int64_t) arrived_us > reader->query->until_ns / 1000 + QUEUE_DELAY_US) {
                reader->over = true;
                return 0;
        }
        if (r >= 0)
                r = sd_journal_get_data(reader->journal, "BERTH_EVENT", &data, &size);
        if (r < 0) /* damaged by a crash */
                return r == -ENOMEM ? r : 0;
        return reader->event((const char *) data + strlen(name), size - strlen(name), reader->userdata);
}

static int read_available(EventReader *reader)
{
        int r = 0;

        while (!reader->over) {
                r = sd_journal_next(reader->journal);
                if (r > 0)
                        r = take_entry(reader);
                else if (r == 0 || r == -EBADMSG)
                        return 0;
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Stands before the last entries of the range. */
static int seek_last(const EventReader *reader)
{
        const JournalEventQuery *query = reader->query;
        int r = query->until_ns < time_now_ns()
                        ? sd_journal_seek_realtime_usec(reader->journal, (uint64_t) query->until_ns / 1000)
                        : sd_journal_seek_tail(reader->journal);

        if (r >= 0)
                r = sd_journal_previous_skip(reader->journal, LAST_MAX + 1);
        return r < 0 || r == LAST_MAX + 1 ? r : sd_journal_seek_head(reader->journal);
}

/* Stands before the first entry that may count: none arrives before it was sent. */
static int seek_start(const EventReader *reader)
{
        int64_t since_ns = reader->query->since_ns;

        return since_ns == 0 ? seek_last(reader)
                             : sd_journal_seek_realtime_usec(reader->journal, (uint64_t) since_ns / 1000);
}

static int milliseconds_left(const JournalEventQuery *query)
{
        if (query->until_ns == 0)
                return -1;
        int64_t left = (query->until_ns - time_now_ns()) / NS_PER_MS + 1;
        return (int) MIN(MAX(left, 0), INT32_MAX);
}

static void drain(int fd)
{
        char ignored[16];

        while (recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT) >= 0)
                ;
}

/* 1: there may be something new; 0: that was all. */
static int wait_for_more(EventReader *reader)
{
        const JournalEventQuery *query = reader->query;
        struct pollfd fds[] = {
                { .fd = sd_journal_get_fd(reader->journal), .events = (short) sd_journal_get_events(reader->journal) },
                { .fd = query->wake_fd, .events = POLLIN },
                { .fd = query->client_fd, .events = POLLRDHUP },
        };
        int r = fds[0].fd < 0 ? fds[0].fd : poll(fds, ARRAY_SIZE(fds), milliseconds_left(query));

        if (r < 0)
                return fds[0].fd < 0 ? r : errno == EINTR ? 1 : -errno;
        if (r == 0 || fds[2].revents)
                return 0;
        if (fds[1].revents) {
                drain(query->wake_fd);
                (void) journal_barrier();
        }
        r = sd_journal_process(reader->journal);
        return r < 0 ? r : 1;
}

int journal_read_events(const JournalEventQuery *query, int (*event)(const char *json, size_t size, void *userdata),
                        void *userdata)
{
        EventReader reader = { .query = query, .event = event, .userdata = userdata };
        /* Where journald does not answer, what is in the journal is still there to be read. */
        int r = journal_barrier();

        r = open_events(&reader.journal);
        /* Before the position is found: from here on, new files are noticed. */
        if (r >= 0 && query->follow)
                r = MIN(sd_journal_get_fd(reader.journal), 0);
        if (r >= 0)
                r = seek_start(&reader);
        if (r >= 0)
                r = read_available(&reader);
        while (r == 0 && query->follow && !reader.over && (r = wait_for_more(&reader)) > 0)
                r = read_available(&reader);
        sd_journal_close(reader.journal);
        return r;
}
