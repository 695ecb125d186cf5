/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* journal_read_lines(): finds the first entry by the journal's indexes, then goes forward, joins parts, and puts
 * records that were sent twice in their place. With a tail that first entry is found going backwards from the end, so
 * that the cost is that of the lines asked for. The journal's descriptors are libsystemd's; those of the query stay the
 * caller's. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "berth/journal.h"
#include "berth/spool.h"
#include "berth/string.h"
#include "journal-barrier.h"
#include "journal-entry.h"
#include "journal-resent.h"

/* More than this is not joined. */
#define JOINED_MAX (64u * 1024 * 1024)
/* An entry's own time lies before journald's by what it waited in the queue; at the end of a range this is allowed
 * for. */
#define QUEUE_DELAY_US (60 * 1000000LL)
/* How often a follower looks by itself: journald tells of new entries with up to 250 ms of delay. */
#define FOLLOW_BUSY_MS 40
#define FOLLOW_BUSY_LOOKS 25

typedef int (*LineFunction)(const JournalLine *line, void *userdata);

typedef struct Reader {
        const JournalQuery *query;
        LineFunction line;
        void *userdata;
        sd_journal *journal;
        JournalEntry entry;
        JournalResents resents;
        Buffer parts[2]; /* what a line that is not complete has so far */
        int64_t part_time[2];
        int64_t skip;    /* lines that are found but not wanted */
        bool positioned; /* the journal stands on the first entry, rather than before it */
        bool stopped;    /* past the end of the range */
        bool client_gone;
        uint64_t n_read; /* entries */
} Reader;

static void reader_clear(Reader *reader)
{
        sd_journal_close(reader->journal);
        buffer_clear(&reader->entry.message);
        buffer_clear(&reader->parts[0]);
        buffer_clear(&reader->parts[1]);
        journal_resents_clear(&reader->resents);
}

static bool wants_stream(const JournalQuery *query, bool standard_error)
{
        return standard_error ? query->standard_error : query->standard_output;
}

static int emit(Reader *reader, const JournalLine *line)
{
        if (reader->skip > 0) {
                reader->skip--;
                return 0;
        }
        return reader->line(line, reader->userdata);
}

/* One record's message: a line, or a part of one. */
static int take(Reader *reader, const Buffer *message, bool standard_error, bool partial, int64_t time_us)
{
        Buffer *parts = &reader->parts[standard_error];
        JournalLine line = { .data = message->data ? message->data : "",
                             .size = message->size,
                             .standard_error = standard_error,
                             .time_ns = time_us * 1000 };
        int r;

        if (!wants_stream(reader->query, standard_error))
                return 0;
        if (parts->size == 0 && !partial)
                return emit(reader, &line);
        if (parts->size == 0)
                reader->part_time[standard_error] = time_us;
        r = buffer_append(parts, message->data, message->size);
        if (r < 0)
                return r;
        if (partial && parts->size < JOINED_MAX)
                return 0;
        line.data = parts->data;
        line.size = parts->size;
        line.time_ns = reader->part_time[standard_error] * 1000;
        r = emit(reader, &line);
        parts->size = 0;
        return r;
}

static int take_resent(Reader *reader, const JournalResent *resent)
{
        const JournalQuery *query = reader->query;
        int64_t time_us = resent->place.before_us;

        if (time_us < query->since_ns / 1000 || (query->until_ns > 0 && time_us > query->until_ns / 1000))
                return 0;
        return take(reader, &resent->message, resent->standard_error, resent->partial, time_us);
}

/* What there is of a line that is not complete. */
static int take_unfinished(Reader *reader, bool standard_error)
{
        Buffer *parts = &reader->parts[standard_error];
        const JournalLine line = { .data = parts->data,
                                   .size = parts->size,
                                   .standard_error = standard_error,
                                   .unfinished = true,
                                   .time_ns = reader->part_time[standard_error] * 1000 };
        int r = parts->size > 0 ? emit(reader, &line) : 0;

        parts->size = 0;
        return r;
}

/* The first copies are all passed that records sent twice could be put before. */
static int take_missing(Reader *reader)
{
        JournalResent *resent;
        int r = journal_resents_decide(&reader->resents, reader->query->container_id);

        while (r == 0 && (resent = journal_resents_before(&reader->resents, NULL)))
                r = take_resent(reader, resent);
        return r;
}

/* What is not complete will not become so any more. */
static int take_rest(Reader *reader)
{
        int r = take_missing(reader);

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(reader->parts); i++)
                r = take_unfinished(reader, i == 1);
        return r;
}

static int take_entry(Reader *reader)
{
        const JournalQuery *query = reader->query;
        JournalEntry *entry = &reader->entry;
        JournalResent *resent;
        int r;

        /* Known ones have their place. One that came just now comes late, with all of its group. */
        if (entry->resent)
                return journal_resents_add(&reader->resents, entry);
        if (query->since_ns > 0 && entry->time_us < query->since_ns / 1000)
                return 0;
        if (query->until_ns > 0 && entry->time_us > query->until_ns / 1000) {
                reader->stopped = true;
                return 0;
        }
        r = journal_resents_decide(&reader->resents, query->container_id);
        while (r == 0 && (resent = journal_resents_before(&reader->resents, entry)))
                r = take_resent(reader, resent);
        if (r != 0)
                return r;
        return take(reader, &entry->message, entry->standard_error, entry->partial, entry->time_us);
}

/* Takes all that is there. */
static int read_available(Reader *reader)
{
        int r = 0;

        while (!reader->stopped) {
                if (!reader->positioned) {
                        r = sd_journal_next(reader->journal);
                        if (r <= 0)
                                return r;
                }
                reader->positioned = false;
                reader->n_read++;
                r = journal_entry_read(reader->journal, &reader->entry);
                /* An entry that a crash left damaged is passed over. */
                if (r == -EBADMSG || r == -EADDRNOTAVAIL)
                        continue;
                if (r >= 0)
                        r = take_entry(reader);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Goes back from the end until TAIL lines lie ahead. */
static int seek_tail(Reader *reader)
{
        const JournalQuery *query = reader->query;
        JournalEntry *entry = &reader->entry;
        int64_t lines = 0, since_us = query->since_ns / 1000, until_us = query->until_ns / 1000;
        int r;

        if (query->until_ns > 0)
                r = sd_journal_seek_realtime_usec(reader->journal, (uint64_t) (until_us + QUEUE_DELAY_US));
        else
                r = sd_journal_seek_tail(reader->journal);
        while (r >= 0 && (r = sd_journal_previous(reader->journal)) > 0) {
                r = journal_entry_read(reader->journal, entry);
                if (r < 0)
                        return r;
                if (entry->resent || !wants_stream(query, entry->standard_error) ||
                    (until_us > 0 && entry->time_us > until_us))
                        continue;
                /* The parts that a line begins with belong to it. */
                if (entry->time_us < since_us || (!entry->partial && lines == query->tail)) {
                        r = sd_journal_next(reader->journal);
                        reader->positioned = r > 0;
                        return r;
                }
                if (!entry->partial)
                        lines++;
        }
        return r < 0 ? r : sd_journal_seek_head(reader->journal);
}

static int seek_start(Reader *reader)
{
        const JournalQuery *query = reader->query;

        reader->positioned = reader->stopped = false;
        if (query->tail > 0)
                return seek_tail(reader);
        if (query->since_ns > 0)
                return sd_journal_seek_realtime_usec(reader->journal, (uint64_t) (query->since_ns / 1000));
        return sd_journal_seek_head(reader->journal);
}

/* What lies before a tail must not be put into it. */
static int skip_resents(Reader *reader)
{
        if (reader->resents.n == 0 || !reader->positioned)
                return 0;
        return journal_resents_skip(&reader->resents, reader->query->container_id, reader->journal);
}

static int count_line(const JournalLine *line, void *userdata)
{
        (void) line;
        ++*(int64_t *) userdata;
        return 0;
}

/* Records that were sent twice may make more lines than were counted going backwards: they are counted going forwards,
 * on a reader of their own, whose position and memory do not matter afterwards. */
static int count_surplus(Reader *reader)
{
        const JournalQuery *query = reader->query;
        JournalQuery counted = *query;
        Reader counter = { .query = &counted, .line = count_line };
        int64_t lines = 0;
        int r;

        if (reader->resents.n == 0 || query->tail <= 0)
                return 0;
        counter.userdata = &lines;
        r = journal_open_container(query->container_id, &counter.journal);
        if (r >= 0)
                r = journal_resents_load(&counter.resents, query->container_id);
        if (r >= 0)
                r = seek_start(&counter);
        if (r >= 0)
                r = skip_resents(&counter);
        if (r >= 0)
                r = read_available(&counter);
        if (r >= 0)
                r = take_missing(&counter);
        reader_clear(&counter);
        reader->skip = MAX(lines - query->tail, 0);
        return r;
}

/* Waits for something new. 1: look; 0: the container has ended, or the client has gone. */
static int wait_for_more(Reader *reader, int timeout)
{
        const JournalQuery *query = reader->query;
        struct pollfd fds[] = {
                { .fd = sd_journal_get_fd(reader->journal), .events = (short) sd_journal_get_events(reader->journal) },
                { .fd = query->ended_fd, .events = POLLIN },
                { .fd = query->client_fd, .events = POLLRDHUP },
        };
        int r;

        if (fds[0].fd < 0)
                return fds[0].fd;
        do
                r = poll(fds, ARRAY_SIZE(fds), timeout);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;
        reader->client_gone = fds[2].revents != 0;
        if (fds[1].revents || fds[2].revents)
                return 0;
        r = sd_journal_process(reader->journal);
        return r < 0 ? r : 1;
}

static int follow(Reader *reader)
{
        uint64_t n_read;
        int looks = 0, r;

        for (;;) {
                n_read = reader->n_read;
                r = read_available(reader);
                if (r != 0 || reader->stopped)
                        return r;
                /* Those sent twice come close on one another: none are on their way any more. */
                if (reader->n_read == n_read)
                        r = take_missing(reader);
                if (r != 0)
                        return r;
                looks = reader->n_read > n_read ? FOLLOW_BUSY_LOOKS : MAX(looks - 1, 0);
                r = reader->query->ended_fd < 0 ? 0 : wait_for_more(reader, looks > 0 ? FOLLOW_BUSY_MS : -1);
                if (r < 0)
                        return r;
                if (reader->client_gone)
                        return 0;
                if (r == 0)
                        break;
        }
        /* A monitor that was killed left the rest to another. */
        if (reader->query->spool_path &&
            spool_wait(reader->query->spool_path, reader->query->client_fd) == -ECANCELED) {
                reader->client_gone = true;
                return 0;
        }
        (void) journal_barrier();
        /* Files that were begun meanwhile are found by this. */
        r = sd_journal_process(reader->journal);
        return r < 0 ? r : read_available(reader);
}

int journal_count_since(const char *container_id, int64_t since_us, uint64_t *ret_count)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        JournalEntry entry = {};
        uint64_t count = 0;
        int r = journal_barrier();

        if (r >= 0)
                r = journal_open_container(container_id, &journal);
        if (r >= 0)
                r = sd_journal_seek_realtime_usec(journal, (uint64_t) since_us);
        while (r >= 0 && (r = sd_journal_next(journal)) > 0) {
                r = journal_entry_read(journal, &entry);
                if (r >= 0 && !entry.resent && entry.time_us >= since_us)
                        count++;
        }
        buffer_clear(&entry.message);
        if (r >= 0)
                *ret_count = count;
        return r;
}

/* What is sent from now on has a later time: an entry's is that of its sending. */
static int settle(JournalQuery *query, void *userdata)
{
        int64_t now_us = time_now_ns() / 1000;

        if (query->until_ns == 0)
                query->until_ns = now_us * 1000;
        while (time_now_ns() / 1000 == now_us)
                ;
        return query->ready(userdata);
}

int journal_read_lines(const JournalQuery *query, LineFunction line, void *userdata)
{
        JournalQuery effective = *query;
        Reader reader = { .query = &effective, .line = line, .userdata = userdata };
        int r;

        if (query->tail == 0 && !query->follow)
                return 0;
        /* No lines of the past: what was sent from this moment on, however long it takes to get going. */
        if (query->tail == 0)
                effective.since_ns = MAX(query->since_ns, time_now_ns());
        /* A follower sees all that comes; the last N lines are known when all are there. */
        if (query->spool_path && (!query->follow || query->tail > 0) &&
            spool_wait(query->spool_path, query->client_fd) == -ECANCELED)
                return 0;
        /* Where journald does not answer, what is in the journal is still there to be read. */
        (void) journal_barrier();
        r = query->ready ? settle(&effective, userdata) : 0;
        if (r >= 0)
                r = journal_open_container(query->container_id, &reader.journal);
        /* Before the position is found: from here on, new files are noticed. */
        if (r >= 0 && query->follow)
                r = MIN(sd_journal_get_fd(reader.journal), 0);
        if (r >= 0)
                r = journal_resents_load(&reader.resents, query->container_id);
        if (r >= 0)
                r = count_surplus(&reader);
        if (r >= 0)
                r = seek_start(&reader);
        if (r >= 0)
                r = skip_resents(&reader);
        if (r >= 0)
                r = query->follow ? follow(&reader) : read_available(&reader);
        if (r == 0 && !reader.client_gone)
                r = take_rest(&reader);
        reader_clear(&reader);
        return r;
}
