/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The spool file alone, and a log that goes through it, with a journald played by the test: order and completeness
 * across owners that stop or are killed, damage, a full disk and a full spool. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/string.h"
#include "monitor-log.h"

#define SEC 1000000000LL
#define LIMIT (1024 * 1024u)

typedef struct Fixture {
        char directory[64], socket[128], path[128];
        int journald;
        int64_t now;
} Fixture;

static void setup(Fixture *f)
{
        *f = (Fixture) { .journald = -EBADF, .now = 100 * SEC };
        strcpy(f->directory, "/tmp/test-spool-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        (void) snprintf(f->socket, sizeof(f->socket), "%s/socket", f->directory);
        (void) snprintf(f->path, sizeof(f->path), "%s/spool", f->directory);
}

static void teardown(Fixture *f)
{
        fd_close(f->journald);
        (void) path_remove_tree_at(AT_FDCWD, f->directory);
}

#define FIXTURE(f)                                    \
        __attribute__((cleanup(teardown))) Fixture f; \
        setup(&f)

static uint64_t file_size(const Fixture *f)
{
        struct stat st;

        assert_int_equal(stat(f->path, &st), 0);
        return (uint64_t) st.st_size;
}

static SpoolStatus look(const Fixture *f)
{
        SpoolStatus status;

        assert_int_equal(spool_status(f->path, &status), 0);
        return status;
}

/* --- The file ----------------------------------------------------------------------------------------------------- */

static int add_line(MonitorSpool *spool, const char *text)
{
        MonitorRecord record = { .memfd = -EBADF, .size = (uint32_t) strlen(text), .priority = 6 };

        return monitor_spool_append(spool, &record, text);
}

static void add_fields(MonitorSpool *spool, const char *text)
{
        Buffer fields = { .data = (char *) text, .size = strlen(text) };

        assert_int_equal(monitor_spool_append_fields(spool, &fields), 0);
}

/* A spool that holds fields and three lines, left as by a killed process, after SENT of the lines were sent. */
static void leave_three(const Fixture *f, int sent, bool exact)
{
        MonitorSpool spool;
        MonitorSpooled record;

        monitor_spool_init(&spool, f->path, LIMIT);
        assert_int_equal(monitor_spool_open(&spool, 0), 0);
        assert_int_equal(monitor_spool_begin(&spool, 1234), 0);
        add_fields(&spool, "A=1\n");
        assert_int_equal(add_line(&spool, "one"), 0);
        assert_int_equal(add_line(&spool, "two"), 0);
        assert_int_equal(add_line(&spool, "three"), 0);
        assert_int_equal(monitor_spool_flush(&spool), 0);
        assert_int_equal(monitor_spool_read(&spool, &record), 1);
        assert_int_equal(record.kind, SPOOL_FIELDS);
        monitor_spool_accept_fields(&spool, &record);
        for (int i = 0; i < sent; i++) {
                assert_int_equal(monitor_spool_read(&spool, &record), 1);
                monitor_spool_sent(&spool, record.end);
        }
        if (exact)
                assert_int_equal(monitor_spool_leave(&spool), 0);
        monitor_spool_deinit(&spool);
}

static void expect(MonitorSpool *spool, SpoolKind kind, const char *text)
{
        MonitorSpooled record;

        assert_int_equal(monitor_spool_read(spool, &record), 1);
        assert_int_equal(record.kind, kind);
        assert_int_equal(record.size, strlen(text));
        assert_memory_equal(record.data, text, record.size);
}

static void test_next_owner(void **state)
{
        static const struct {
                int sent;
                bool exact;
                uint64_t skip;
                const char *first;
        } table[] = {
                { 0, false, 0, "one" }, { 1, true, 0, "two" },    { 2, true, 0, "three" },
                { 0, false, 1, "two" }, { 0, false, 2, "three" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                FIXTURE(f);
                MonitorSpool spool;
                MonitorSpooled record;

                leave_three(&f, table[i].sent, table[i].exact);
                assert_int_equal(look(&f).header.exact, table[i].exact);
                assert_int_equal(look(&f).header.before_us, 1234);
                assert_int_equal(look(&f).owner, 0);
                SpoolStatus left = look(&f);
                assert_false(spool_is_drained(&left));
                monitor_spool_init(&spool, f.path, LIMIT);
                assert_int_equal(monitor_spool_open(&spool, table[i].skip), 0);
                assert_true(spool.active);
                expect(&spool, SPOOL_FIELDS, "A=1\n");
                expect(&spool, SPOOL_LINE, table[i].first);
                /* What comes now goes behind. */
                add_fields(&spool, "B=2\n");
                assert_int_equal(add_line(&spool, "four"), 0);
                while (monitor_spool_read(&spool, &record) == 1 && record.kind == SPOOL_LINE)
                        ;
                assert_memory_equal(record.data, "B=2\n", 4);
                monitor_spool_unread(&spool);
                expect(&spool, SPOOL_FIELDS, "B=2\n");
                expect(&spool, SPOOL_LINE, "four");
                assert_int_equal(monitor_spool_read(&spool, &record), 0);
                monitor_spool_reset(&spool);
                assert_true(look(&f).size == look(&f).header.sent);
                assert_int_equal(look(&f).header.generation, 1);
                monitor_spool_remove(&spool);
                monitor_spool_deinit(&spool);
                assert_int_equal(access(f.path, F_OK), -1);
        }
}

static void test_all_was_sent(void **state)
{
        FIXTURE(f);
        MonitorSpool spool;

        (void) state;
        leave_three(&f, 0, false);
        monitor_spool_init(&spool, f.path, LIMIT);
        assert_int_equal(monitor_spool_open(&spool, 3), 0);
        assert_false(spool.active);
        monitor_spool_deinit(&spool);
}

/* Whatever is cut off or overwritten at the end, what lies before it stays. */
static void test_damaged_end(void **state)
{
        (void) state;
        for (int cut = 1; cut <= 16; cut++) {
                for (int overwrite = 0; overwrite < 2; overwrite++) {
                        FIXTURE(f);
                        MonitorSpool spool;
                        MonitorSpooled record;
                        int fd;

                        leave_three(&f, 0, false);
                        fd = open(f.path, O_RDWR | O_CLOEXEC);
                        if (overwrite)
                                assert_int_equal(pwrite(fd, "\xa5", 1, (off_t) file_size(&f) - cut), 1);
                        else
                                assert_int_equal(ftruncate(fd, (off_t) file_size(&f) - cut), 0);
                        close(fd);
                        monitor_spool_init(&spool, f.path, LIMIT);
                        assert_int_equal(monitor_spool_open(&spool, 0), 0);
                        expect(&spool, SPOOL_FIELDS, "A=1\n");
                        expect(&spool, SPOOL_LINE, "one");
                        expect(&spool, SPOOL_LINE, "two");
                        assert_int_equal(monitor_spool_read(&spool, &record), 0);
                        assert_int_equal(add_line(&spool, "four"), 0);
                        expect(&spool, SPOOL_LINE, "four");
                        monitor_spool_deinit(&spool);
                }
        }
}

static void test_no_header(void **state)
{
        FIXTURE(f);
        MonitorSpool spool;

        (void) state;
        int fd = open(f.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "bgsp", 4), 4);
        close(fd);
        SpoolStatus status = look(&f);
        assert_true(spool_is_drained(&status));
        monitor_spool_init(&spool, f.path, LIMIT);
        assert_int_equal(monitor_spool_open(&spool, 0), 0);
        assert_false(spool.active);
        monitor_spool_deinit(&spool);
        assert_int_equal(look(&f).header.magic, SPOOL_MAGIC);
        assert_int_equal(spool_status("/nonexistent/spool", &status), -ENOENT);
        assert_int_equal(spool_wait("/nonexistent/spool", -1), 0);
}

static void test_one_owner(void **state)
{
        FIXTURE(f);
        MonitorSpool spool;
        int status, ready[2];
        char byte;

        (void) state;
        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0) {
                monitor_spool_init(&spool, f.path, LIMIT);
                _exit(monitor_spool_open(&spool, 0) < 0 || write(ready[1], "x", 1) != 1 || pause());
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(look(&f).owner, pid);
        monitor_spool_init(&spool, f.path, LIMIT);
        assert_int_equal(monitor_spool_open(&spool, 0), -EBUSY);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(look(&f).owner, 0);
        assert_int_equal(monitor_spool_open(&spool, 0), 0);
        monitor_spool_deinit(&spool);
        close(ready[0]);
        close(ready[1]);
}

static void test_limit_counts_what_waits(void **state)
{
        FIXTURE(f);
        MonitorSpool spool;
        MonitorSpooled record;
        char text[1001] = {};
        int n = 0;

        (void) state;
        memset(text, 'x', 1000);
        monitor_spool_init(&spool, f.path, LIMIT);
        assert_int_equal(monitor_spool_open(&spool, 0), 0);
        assert_int_equal(monitor_spool_begin(&spool, 1), 0);
        add_fields(&spool, "A=1\n");
        while (add_line(&spool, text) == 0)
                n++;
        assert_in_range(n, LIMIT / 1012 - 1, LIMIT / 1012);
        /* Each one that goes makes room for one, many times over; the blocks are given back. */
        expect(&spool, SPOOL_FIELDS, "A=1\n");
        monitor_spool_accept_fields(&spool, &(MonitorSpooled) { .end = spool.read });
        for (int i = 0; i < 5 * n; i++) {
                assert_int_equal(monitor_spool_read(&spool, &record), 1);
                monitor_spool_sent(&spool, record.end);
                assert_int_equal(add_line(&spool, text), 0);
                assert_int_equal(add_line(&spool, text), -ENOBUFS);
        }
        struct stat st;
        assert_int_equal(monitor_spool_flush(&spool), 0);
        assert_int_equal(stat(f.path, &st), 0);
        assert_true(st.st_size > 5 * (off_t) LIMIT);
        assert_true(st.st_blocks * 512 < 3 * (off_t) LIMIT);
        monitor_spool_deinit(&spool);
}

static void test_entry(void **state)
{
        FIXTURE(f);
        MonitorSpool spool;
        MonitorSpooled record;
        static char data[300000], got[sizeof(data) + 1];
        MonitorRecord entry = { .memfd = memfd_create("entry", MFD_CLOEXEC), .priority = 6 };

        (void) state;
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (char) (i * 7 / 3);
        assert_int_equal(fd_write_all(entry.memfd, data, sizeof(data)), 0);
        monitor_spool_init(&spool, f.path, LIMIT);
        assert_int_equal(monitor_spool_open(&spool, 0), 0);
        assert_int_equal(monitor_spool_begin(&spool, 1), 0);
        assert_int_equal(add_line(&spool, "before"), 0);
        assert_int_equal(monitor_spool_append(&spool, &entry, NULL), 0);
        assert_int_equal(add_line(&spool, "behind"), 0);
        expect(&spool, SPOOL_LINE, "before");
        assert_int_equal(monitor_spool_read(&spool, &record), 1);
        assert_int_equal(record.kind, SPOOL_ENTRY);
        assert_int_equal(pread(record.memfd, got, sizeof(got), 0), sizeof(data));
        assert_memory_equal(got, data, sizeof(data));
        assert_true(fcntl(record.memfd, F_GET_SEALS) & F_SEAL_WRITE);
        expect(&spool, SPOOL_LINE, "behind");
        close(record.memfd);
        close(entry.memfd);
        monitor_spool_deinit(&spool);
}

/* --- A log through it --------------------------------------------------------------------------------------------- */

static void bind_journald(Fixture *f)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        f->journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        strcpy(address.sun_path, f->socket);
        assert_int_equal(bind(f->journald, (struct sockaddr *) &address, sizeof(address)), 0);
}

static void log_open(const Fixture *f, MonitorLog *log, const char *name, uint64_t limit)
{
        const MonitorEntryFields fields = { "0123456789abcdef", name, "image", "tag", NULL };

        assert_int_equal(monitor_log_init(log, &fields, f->socket, false), 0);
        assert_int_equal(monitor_journal_use_spool(&log->journal, f->path, limit, 0, true), 0);
}

static unsigned feed(Fixture *f, MonitorLog *log, unsigned from, unsigned to)
{
        char line[64];

        for (unsigned i = from; i < to; i++) {
                int size = snprintf(line, sizeof(line), "line %u\n", i);

                if (monitor_log_feed(log, false, line, (size_t) size, f->now) == 0)
                        return i;
        }
        return to;
}

static void dispatch(Fixture *f, MonitorLog *log)
{
        struct pollfd fds[2];
        size_t n = monitor_journal_poll(&log->journal, fds);

        (void) poll(fds, n, 0);
        f->now += SEC;
        monitor_journal_dispatch(&log->journal, fds, n, f->now);
}

/* Takes entries until LINE numbers up to TO have come, in order, each with the container's name. */
static void expect_lines(Fixture *f, MonitorLog *log, const char *name, unsigned from, unsigned to)
{
        CLEANUP_FREE char *field = str_printf("CONTAINER_NAME=%s\n", name);
        static char data[65536];

        for (unsigned patience = 0; from < to;) {
                ssize_t n = recv(f->journald, data, sizeof(data) - 1, 0);
                unsigned number;

                if (n < 0) {
                        assert_true(patience++ < 100);
                        dispatch(f, log);
                        continue;
                }
                if (n == 0)
                        continue;
                patience = 0;
                data[n] = '\0';
                assert_non_null(strstr(data, field));
                const char *message = memmem(data, (size_t) n, "MESSAGE\n", 8);
                assert_non_null(message);
                assert_int_equal(sscanf(message + 16, "line %u\n", &number), 1);
                assert_int_equal(number, from);
                from++;
        }
}

static void settle(Fixture *f, MonitorLog *log)
{
        char data[16];

        for (int i = 0; i < 20 && !monitor_journal_is_stored(&log->journal); i++) {
                dispatch(f, log);
                while (recv(f->journald, data, sizeof(data), 0) >= 0)
                        ;
        }
        assert_true(monitor_journal_is_stored(&log->journal));
}

static void test_log_waits_on_the_disk(void **state)
{
        FIXTURE(f);
        MonitorLog log;

        (void) state;
        log_open(&f, &log, "web", 64 * LIMIT);
        assert_int_equal(feed(&f, &log, 0, 20000), 20000);
        assert_true(log.journal.spool.active);
        /* All of it is in the file: that this process goes would not matter. */
        assert_in_range(file_size(&f), 20000 * 20, 20000 * 30);
        assert_false(monitor_journal_is_stored(&log.journal));
        bind_journald(&f);
        expect_lines(&f, &log, "web", 0, 20000);
        settle(&f, &log);
        assert_int_equal(file_size(&f), sizeof(SpoolHeader));
        assert_int_equal(feed(&f, &log, 20000, 20010), 20010);
        expect_lines(&f, &log, "web", 20000, 20010);
        assert_int_equal(log.lost, 0);
        monitor_log_deinit(&log);
}

static void test_log_of_two_runs(void **state)
{
        FIXTURE(f);
        MonitorLog log;

        (void) state;
        log_open(&f, &log, "before", 64 * LIMIT);
        assert_int_equal(feed(&f, &log, 0, 5000), 5000);
        assert_int_equal(monitor_journal_leave(&log.journal), 0);
        monitor_log_deinit(&log);
        assert_int_equal(look(&f).header.exact, 1);
        /* It was renamed meanwhile: each line says what the container was called when it came. */
        log_open(&f, &log, "behind", 64 * LIMIT);
        assert_int_equal(feed(&f, &log, 5000, 9000), 9000);
        bind_journald(&f);
        expect_lines(&f, &log, "before", 0, 5000);
        expect_lines(&f, &log, "behind", 5000, 9000);
        settle(&f, &log);
        assert_int_equal(feed(&f, &log, 9000, 9001), 9001);
        expect_lines(&f, &log, "behind", 9000, 9001);
        monitor_log_deinit(&log);
}

static void test_full_spool_holds_up(void **state)
{
        FIXTURE(f);
        MonitorLog log;
        unsigned held;

        (void) state;
        log_open(&f, &log, "web", LIMIT);
        held = feed(&f, &log, 0, 200000);
        assert_in_range(held, LIMIT / 30, LIMIT / 20);
        assert_int_equal(log.lost, 0);
        bind_journald(&f);
        expect_lines(&f, &log, "web", 0, held);
        settle(&f, &log);
        assert_int_equal(feed(&f, &log, held, held + 10), held + 10);
        expect_lines(&f, &log, "web", held, held + 10);
        monitor_log_deinit(&log);
}

/* The disk is played by a limit on the size of files. */
static void test_full_disk_holds_up(void **state)
{
        FIXTURE(f);
        struct rlimit before, small;
        MonitorLog log;
        unsigned held;

        (void) state;
        (void) signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        small = (struct rlimit) { .rlim_cur = 200000, .rlim_max = before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        log_open(&f, &log, "web", 64 * LIMIT);
        held = feed(&f, &log, 0, 200000);
        assert_in_range(held, 200000 / 30, 2 * 200000 / 20);
        bind_journald(&f);
        expect_lines(&f, &log, "web", 0, held);
        settle(&f, &log);
        assert_int_equal(log.lost, 0);
        monitor_log_deinit(&log);
        /* Not even the header can be written: as without a spool. */
        small.rlim_cur = 10;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        fd_close(f.journald);
        f.journald = -EBADF;
        (void) unlink(f.socket);
        (void) unlink(f.path);
        log_open(&f, &log, "web", 64 * LIMIT);
        held = feed(&f, &log, 0, 200000);
        assert_in_range(held, 500, 5000);
        assert_false(log.journal.spool.active);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_true(feed(&f, &log, held, 20000) == 20000);
        bind_journald(&f);
        expect_lines(&f, &log, "web", 0, 20000);
        monitor_log_deinit(&log);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_next_owner),
                cmocka_unit_test(test_all_was_sent),
                cmocka_unit_test(test_damaged_end),
                cmocka_unit_test(test_no_header),
                cmocka_unit_test(test_one_owner),
                cmocka_unit_test(test_limit_counts_what_waits),
                cmocka_unit_test(test_entry),
                cmocka_unit_test(test_log_waits_on_the_disk),
                cmocka_unit_test(test_log_of_two_runs),
                cmocka_unit_test(test_full_spool_holds_up),
                cmocka_unit_test(test_full_disk_holds_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
