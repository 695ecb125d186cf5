/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* logfile_read(): all files are opened first, so that what is renamed meanwhile is read all the same; then they are
 * read one after the other, but for those that are too old. With a tail the lines are counted before, file by file from
 * the newest, and in plain files from the end. A follower that was overtaken by renames finds its place again by the
 * time of the last record it took. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "berth/string.h"
#include "logfile-source.h"

#define BLOCK (64u * 1024)
#define OPEN_TRIES 100
/* How far a file's own time may be behind the records in it. */
#define CLOCK_SLACK_NS INT64_C(1000000000)
#define LOOK_MS 200

typedef struct Reader {
        const LogfileQuery *query;
        int (*record)(const LogfileRecord *record, void *userdata);
        void *userdata;
        int directory;
        const char *name;
        Buffer bytes, text;
        bool discarding; /* a record that is too long */
        bool open[2];    /* the stream's line goes on */
        bool hidden[2];  /* that line is not shown */
        bool counting;
        int64_t lines, skip;
        int64_t last_ns; /* the time of the last record, and how many had it */
        uint64_t n_last;
        int64_t resume_ns; /* records up to this were seen before */
        uint64_t n_resume; /* and so many of that time */
        bool stopped, client_gone;
} Reader;

static bool seen_before(Reader *reader, const LogfileRecord *record)
{
        if (reader->resume_ns == 0 || record->time_ns > reader->resume_ns)
                return false;
        if (record->time_ns < reader->resume_ns)
                return true;
        if (reader->n_resume == 0)
                return false;
        reader->n_resume--;
        return true;
}

static int take_record(Reader *reader, LogfileRecord *record)
{
        const LogfileQuery *query = reader->query;
        size_t stream = record->standard_error;

        if (seen_before(reader, record))
                return 0;
        reader->n_last = record->time_ns == reader->last_ns ? reader->n_last + 1 : 1;
        reader->last_ns = record->time_ns;
        if (query->until_ns > 0 && record->time_ns > query->until_ns) {
                reader->stopped = true;
                return 0;
        }
        if (query->since_ns > 0 && record->time_ns < query->since_ns)
                return 0;
        if (!(stream ? query->standard_error : query->standard_output))
                return 0;
        record->continued = reader->open[stream];
        if (!record->continued) {
                reader->lines++;
                reader->hidden[stream] = reader->lines <= reader->skip;
        }
        reader->open[stream] = !record->ended;
        return reader->counting || reader->hidden[stream] ? 0 : reader->record(record, reader->userdata);
}

/* Cuts what was read into records, and keeps the rest. */
static int take_bytes(Reader *reader)
{
        LogfileFormat format = reader->query->format;
        Buffer *bytes = &reader->bytes;
        size_t at = 0, start, size, next;
        int r = 0;

        while (r == 0 && !reader->stopped) {
                const char *data = bytes->data + at;
                bool found = logfile_find(format, data, bytes->size - at, &start, &size, &next);
                LogfileRecord record;

                at += next;
                if (!found)
                        break;
                if (!reader->discarding &&
                    logfile_decode(format, data + start, size, reader->counting ? NULL : &reader->text, &record) >= 0)
                        r = take_record(reader, &record);
                reader->discarding = false;
        }
        buffer_consume(bytes, at);
        if (bytes->size > LOGFILE_RECORD_MAX) {
                bytes->size = 0;
                reader->discarding = true;
        }
        return r;
}

/* All that the file has now. */
static int read_source(Reader *reader, LogfileSource *source)
{
        while (!reader->stopped) {
                ssize_t n;
                int r = buffer_reserve(&reader->bytes, BLOCK);

                if (r < 0)
                        return r;
                n = logfile_source_read(source, reader->bytes.data + reader->bytes.size, BLOCK);
                /* A compressed file that is damaged gives what could be read. */
                if (n == 0 || n == -EBADMSG)
                        return 0;
                if (n < 0)
                        return (int) n;
                reader->bytes.size += (size_t) n;
                r = take_bytes(reader);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* What has no end in this file has none. */
static void forget_rest(Reader *reader)
{
        reader->bytes.size = 0;
        reader->discarding = false;
}

/* --- The files ---------------------------------------------------------------------------------------------------- */

typedef struct Sources {
        LogfileSource *list; /* oldest first */
        size_t n;
} Sources;

static void sources_clear(Sources *sources)
{
        for (size_t i = 0; i < sources->n; i++)
                logfile_source_close(&sources->list[i]);
        free(sources->list);
        *sources = (Sources) {};
}

/* -ENOENT: something was renamed meanwhile. */
static int open_once(Reader *reader, Sources *ret)
{
        CLEANUP_FREE LogfileName *names = NULL, *again = NULL;
        CLEANUP(sources_clear) Sources sources = {};
        size_t n, n_again;
        int r = logfile_list(reader->directory, reader->name, &names, &n);

        if (r < 0)
                return r;
        sources.list = calloc(n + 1, sizeof(*sources.list));
        if (!sources.list)
                return -ENOMEM;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = logfile_source_open(reader->directory, reader->name, &names[i], &sources.list[i]);
                sources.n += r >= 0;
        }
        if (r >= 0)
                r = logfile_list(reader->directory, reader->name, &again, &n_again);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                if (n != n_again || names[i].inode != again[i].inode)
                        return -ENOENT;
        *ret = sources;
        sources = (Sources) {};
        return 0;
}

static int open_all(Reader *reader, Sources *ret)
{
        int r = -ENOENT;

        for (int i = 0; r == -ENOENT && i < OPEN_TRIES; i++)
                r = open_once(reader, ret);
        return r;
}

/* The time of a file's first record; INT64_MAX where it has none. */
static int first_time(LogfileFormat format, LogfileSource *source, int64_t *ret_ns)
{
        const LogfileQuery query = { .format = format, .until_ns = 1 };
        Reader first = { .query = &query, .counting = true, .last_ns = INT64_MAX };
        int r;

        r = read_source(&first, source);
        buffer_clear(&first.bytes);
        logfile_source_seek(source, 0);
        if (r >= 0)
                *ret_ns = first.last_ns;
        return r;
}

/* Passes over files that were changed last before the time that is asked for. Where the clock was set back, a file's
 * records are later than its change, and it is read. */
static int skip_old(const Reader *reader, Sources *sources, size_t *ret_first)
{
        int64_t since = reader->query->since_ns, first_ns = 0;
        size_t i = 0;
        int r = 0;

        while (i + 1 < sources->n && since > 0 && sources->list[i].modified_ns < since - CLOCK_SLACK_NS) {
                r = first_time(reader->query->format, &sources->list[i], &first_ns);
                if (r < 0 || first_ns >= since)
                        break;
                i++;
        }
        *ret_first = i;
        return r;
}

static void begin_counting(Reader *counter)
{
        counter->lines = 0;
        counter->open[0] = counter->open[1] = counter->stopped = false;
}

/* Counts the lines at the end of a file, until there are so many. The source is left where they begin. */
static int count_last(Reader *counter, LogfileSource *source, int64_t wanted)
{
        off_t start = source->limit;
        int r;

        for (off_t window = BLOCK;; window *= 4) {
                start = source->inflate ? 0 : logfile_source_boundary(source, counter->query->format, start, window);
                logfile_source_seek(source, start);
                begin_counting(counter);
                r = read_source(counter, source);
                logfile_source_seek(source, start);
                forget_rest(counter);
                if (r < 0 || start == 0 || counter->lines >= wanted)
                        return r;
        }
}

/* Where the last lines begin: the file, which is left at a record from which on they are all read, and how many lines
 * from there on are passed over. Files before *ret_first do not count. */
static int seek_tail(Reader *reader, Sources *sources, size_t *ret_first)
{
        Reader counter = { .query = reader->query, .counting = true };
        size_t i = sources->n, oldest = *ret_first;
        int64_t tail = MIN(reader->query->tail, INT64_MAX / 2), lines = 0, wanted = 1;
        int r = 0;

        while (r >= 0 && i > oldest && lines < wanted) {
                i--;
                /* From where reading begins, the first line of either stream may be the rest of one from before. */
                wanted = tail + 2 * (int64_t) (sources->n - i);
                r = count_last(&counter, &sources->list[i], wanted - lines);
                lines += counter.lines;
        }
        /* Now as they will be read. */
        begin_counting(&counter);
        for (size_t k = i; r >= 0 && k < sources->n; k++) {
                off_t start = sources->list[k].offset;

                r = read_source(&counter, &sources->list[k]);
                logfile_source_seek(&sources->list[k], k == i ? start : 0);
                forget_rest(&counter);
        }
        buffer_clear(&counter.bytes);
        reader->skip = MAX(counter.lines - tail, 0);
        *ret_first = i;
        return r;
}

/* --- Following ---------------------------------------------------------------------------------------------------- */

static bool was_renamed(const Reader *reader, const LogfileSource *source)
{
        struct stat st;

        return fstatat(reader->directory, reader->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != source->inode;
}

/* Goes on with the file behind this one. */
static int next_file(Reader *reader, LogfileSource *source)
{
        CLEANUP(sources_clear) Sources sources = {};
        size_t next = 0;
        int r = open_all(reader, &sources);

        if (r < 0 || sources.n == 0)
                return r;
        while (next < sources.n && sources.list[next].inode != source->inode)
                next++;
        if (next + 1 == sources.n)
                return 0;
        if (next == sources.n) {
                reader->resume_ns = reader->last_ns;
                reader->n_resume = reader->n_last;
                next = 0;
                while (next + 1 < sources.n && sources.list[next].modified_ns < reader->resume_ns - CLOCK_SLACK_NS)
                        next++;
        } else {
                next++;
        }
        forget_rest(reader);
        logfile_source_close(source);
        *source = sources.list[next];
        sources.list[next] = (LogfileSource) LOGFILE_SOURCE_INIT;
        source->limit = LONG_MAX;
        return 1;
}

static int read_on(Reader *reader, LogfileSource *source)
{
        struct stat st;
        int r;

        do {
                bool renamed = source->fd < 0 || was_renamed(reader, source);

                /* Somebody emptied it. */
                if (source->fd >= 0 && !source->inflate && fstat(source->fd, &st) >= 0 && st.st_size < source->offset) {
                        forget_rest(reader);
                        logfile_source_seek(source, 0);
                }
                r = source->fd >= 0 ? read_source(reader, source) : 0;
                if (r == 0)
                        r = renamed ? next_file(reader, source) : 0;
                else if (r > 0)
                        return r;
        } while (r > 0 && !reader->stopped);
        return r;
}

/* True when there may be more. */
static bool wait_for_more(Reader *reader, int watch)
{
        const LogfileQuery *query = reader->query;
        struct pollfd fds[] = {
                { .fd = watch, .events = POLLIN },
                { .fd = query->ended_fd, .events = POLLIN },
                { .fd = query->client_fd, .events = POLLRDHUP },
        };
        char events[4096];

        (void) poll(fds, ARRAY_SIZE(fds), watch < 0 || query->until_ns > 0 ? LOOK_MS : -1);
        if (fds[0].revents && read(watch, events, sizeof(events)) < 0 && errno != EAGAIN)
                return false;
        reader->client_gone = fds[2].revents != 0;
        return !fds[1].revents && !fds[2].revents &&
               (query->until_ns == 0 || time_now_ns() < query->until_ns + CLOCK_SLACK_NS);
}

static int follow(Reader *reader, LogfileSource *source, int watch)
{
        int r;

        for (;;) {
                r = read_on(reader, source);
                if (r != 0 || reader->stopped || reader->query->ended_fd < 0)
                        return r;
                if (!wait_for_more(reader, watch))
                        return reader->client_gone ? 0 : read_on(reader, source);
        }
}

static int read_all(Reader *reader)
{
        CLEANUP_CLOSE int watch = -EBADF;
        CLEANUP(sources_clear) Sources sources = {};
        LogfileSource last = LOGFILE_SOURCE_INIT;
        size_t first = 0;
        int r;

        if (reader->query->follow) {
                CLEANUP_FREE char *path = str_printf("/proc/self/fd/%d", reader->directory);

                watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
                if (watch >= 0 && (!path || inotify_add_watch(watch, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0))
                        watch = fd_close(watch);
        }
        r = open_all(reader, &sources);
        if (r >= 0 && reader->query->ready)
                r = reader->query->ready(reader->userdata);
        if (r >= 0)
                r = skip_old(reader, &sources, &first);
        if (r >= 0 && reader->query->tail >= 0)
                r = seek_tail(reader, &sources, &first);
        for (size_t i = first; r == 0 && i < sources.n; i++) {
                forget_rest(reader);
                r = read_source(reader, &sources.list[i]);
        }
        if (r != 0 || !reader->query->follow || reader->stopped)
                return r;
        if (sources.n > 0) {
                last = sources.list[sources.n - 1];
                sources.list[sources.n - 1] = (LogfileSource) LOGFILE_SOURCE_INIT;
                last.limit = LONG_MAX;
        }
        reader->skip = 0;
        r = follow(reader, &last, watch);
        logfile_source_close(&last);
        return r;
}

int logfile_read(const LogfileQuery *query, int (*record)(const LogfileRecord *record, void *userdata), void *userdata)
{
        Reader reader = { .query = query, .record = record, .userdata = userdata };
        int r;

        CLEANUP_CLOSE int directory = logfile_open_directory(query->path, &reader.name);
        if (directory < 0)
                return directory;
        reader.directory = directory;
        r = read_all(&reader);
        buffer_clear(&reader.bytes);
        buffer_clear(&reader.text);
        return r;
}
