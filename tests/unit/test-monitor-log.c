/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines and records with a journald played by the test and a clock of the test's own: nothing is lost while journald is
 * away for a short time, and what is lost in a long one is counted and told of in its place. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/string.h"
#include "monitor-log.h"

#define SEC 1000000000LL

typedef struct Fixture {
        char directory[64];
        char path[128];
        int journald;
        MonitorLog log;
        int64_t now;
} Fixture;

static void bind_journald(Fixture *f)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) unlink(f->path);
        f->journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        strcpy(address.sun_path, f->path);
        assert_int_equal(bind(f->journald, (struct sockaddr *) &address, sizeof(address)), 0);
}

static void setup(Fixture *f)
{
        const MonitorEntryFields fields = { "0123456789abcdef", "n\name", "image", "tag", "WHO=me\n" };

        *f = (Fixture) { .journald = -EBADF, .now = 100 * SEC };
        strcpy(f->directory, "/tmp/test-monitor-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        (void) snprintf(f->path, sizeof(f->path), "%s/socket", f->directory);
        assert_int_equal(monitor_log_init(&f->log, &fields, f->path, false), 0);
}

static void teardown(Fixture *f)
{
        monitor_log_deinit(&f->log);
        fd_close(f->journald);
        (void) path_remove_tree_at(AT_FDCWD, f->directory);
}

#define FIXTURE(f)                                    \
        __attribute__((cleanup(teardown))) Fixture f; \
        setup(&f)

/* The next entry's message, or NULL when there is none. */
static const char *take(Fixture *f)
{
        static char data[65536];
        ssize_t n;
        char *message;

        do
                n = recv(f->journald, data, sizeof(data) - 1, 0);
        while (n == 0);
        if (n < 0)
                return NULL;
        data[n - 1] = '\0';
        assert_non_null(memmem(data, (size_t) n, "CONTAINER_NAME=n ame\n", 21));
        message = memmem(data, (size_t) n, "MESSAGE\n", 8);
        assert_non_null(message);
        return message + 16;
}

/* Offers numbered lines until N were taken or one was refused. Returns the next number. */
static unsigned feed(Fixture *f, unsigned from, unsigned n)
{
        char line[64];

        for (unsigned i = from; i < from + n; i++) {
                int size = snprintf(line, sizeof(line), "line %u ........................\n", i);

                if (monitor_log_feed(&f->log, false, line, (size_t) size, f->now) == 0)
                        return i;
        }
        return from + n;
}

static void dispatch(Fixture *f)
{
        struct pollfd fds[2];
        size_t n = monitor_journal_poll(&f->log.journal, fds);

        (void) poll(fds, n, 0);
        f->now += SEC;
        monitor_journal_dispatch(&f->log.journal, fds, n, f->now);
}

static void expect_lines(Fixture *f, unsigned from, unsigned to)
{
        unsigned number;

        for (unsigned i = from; i < to; i++) {
                const char *message = take(f);

                /* What comes after records that were sent again waits until these are known to be stored. */
                for (int patience = 0; !message && patience < 4; patience++) {
                        dispatch(f);
                        message = take(f);
                }
                assert_non_null(message);
                assert_int_equal(sscanf(message, "line %u ", &number), 1);
                assert_int_equal(number, i);
        }
}

static void test_short_absence(void **state)
{
        FIXTURE(f);
        unsigned held;

        (void) state;
        held = feed(&f, 0, 100000);
        /* The queue is full: the container waits. */
        assert_in_range(held, 500, 5000);
        assert_int_equal(f.log.lost, 0);
        bind_journald(&f);
        dispatch(&f);
        expect_lines(&f, 0, held);
        assert_null(take(&f));
        for (int i = 0; i < 4; i++)
                dispatch(&f);
        while (take(&f))
                ;
        for (int i = 0; i < 4; i++)
                dispatch(&f);
        assert_true(monitor_journal_is_stored(&f.log.journal));
        assert_int_equal(f.log.lost, 0);
}

static void test_long_absence(void **state)
{
        FIXTURE(f);
        unsigned held, next;
        unsigned long long lost;
        const char *message;

        (void) state;
        held = feed(&f, 0, 100000);
        f.now += 31 * SEC;
        next = feed(&f, held, 1000);
        assert_int_equal(next, held + 1000);
        assert_int_equal(f.log.lost, 1000);
        bind_journald(&f);
        dispatch(&f);
        expect_lines(&f, 0, held);
        next = feed(&f, next, 10);
        dispatch(&f);
        message = take(&f);
        assert_non_null(message);
        assert_int_equal(sscanf(message, "berth-monitor: the journal was out of reach, %llu lines", &lost), 1);
        assert_int_equal(lost, 1000);
        expect_lines(&f, next - 10, next);
}

/* mode=non-blocking: what finds no room is dropped, counted and told of, and the container never waits. */
static void test_drops(void **state)
{
        FIXTURE(f);
        unsigned held, next;
        unsigned long long lost;
        const char *message;

        (void) state;
        f.log.drops = true;
        assert_int_equal(feed(&f, 0, 100000), 100000);
        held = 100000 - (unsigned) f.log.lost;
        assert_in_range(held, 1, 99999);
        bind_journald(&f);
        f.now += SEC;
        dispatch(&f);
        expect_lines(&f, 0, held);
        next = feed(&f, 100000, 10);
        dispatch(&f);
        message = take(&f);
        assert_non_null(message);
        assert_int_equal(sscanf(message, "berth-monitor: the journal was out of reach, %llu lines", &lost), 1);
        assert_int_equal(lost, f.log.lost);
        expect_lines(&f, 100000, next);
}

static void test_new_socket_loses_nothing(void **state)
{
        FIXTURE(f);

        (void) state;
        bind_journald(&f);
        assert_int_equal(feed(&f, 0, 10), 10);
        expect_lines(&f, 0, 4);
        /* The other six go with the socket. */
        fd_close(f.journald);
        bind_journald(&f);
        assert_int_equal(feed(&f, 10, 1), 11);
        dispatch(&f);
        /* Whether the first four were stored is not known yet: all that is in doubt comes again. */
        expect_lines(&f, 0, 11);
        assert_null(take(&f));
}

static unsigned n_sent(const MonitorQueue *queue)
{
        unsigned n = 0;

        for (size_t at = queue->head; at < queue->sent; at = monitor_queue_next(queue, at))
                n++;
        return n;
}

/* The process that read the socket ends; the socket stays. */
static void kill_journald(Fixture *f)
{
        f->log.journal.daemon = eventfd(1, EFD_CLOEXEC);
        assert_true(f->log.journal.daemon >= 0);
        dispatch(f);
        assert_true(f->log.journal.daemon < 0);
}

static void test_killed_while_the_socket_is_full(void **state)
{
        FIXTURE(f);
        unsigned sent;

        (void) state;
        bind_journald(&f);
        assert_int_equal(feed(&f, 0, 200), 200);
        expect_lines(&f, 0, 1);
        dispatch(&f);
        assert_true(f.log.journal.blocked);
        sent = n_sent(&f.log.journal.queue);
        /* Whether the first line was stored is in doubt, and nobody makes room for it until the next one is killed. */
        kill_journald(&f);
        kill_journald(&f);
        /* What waited there, all that was sent once more, and the rest. */
        expect_lines(&f, 1, sent);
        expect_lines(&f, 0, 200);
        assert_int_equal(f.log.journal.resend, 0);
}

static void test_parts(void **state)
{
        static const char *const pieces[] = { "a", "b\nc", "\n\n", "d" };
        static const char *const expected[] = { "ab", "c", "", "d" };
        FIXTURE(f);

        (void) state;
        bind_journald(&f);
        for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
                assert_int_equal(monitor_log_feed(&f.log, false, pieces[i], strlen(pieces[i]), f.now),
                                 strlen(pieces[i]));
        assert_true(monitor_log_finish(&f.log, f.now));
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
                assert_string_equal(take(&f), expected[i]);
        assert_null(take(&f));
}

static void test_abandon_counts(void **state)
{
        FIXTURE(f);

        (void) state;
        assert_int_equal(feed(&f, 0, 7), 7);
        assert_int_equal(monitor_log_feed(&f.log, true, "rest", 4, f.now), 4);
        monitor_log_abandon(&f.log);
        assert_int_equal(f.log.lost, 8);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_short_absence),
                cmocka_unit_test(test_long_absence),
                cmocka_unit_test(test_drops),
                cmocka_unit_test(test_new_socket_loses_nothing),
                cmocka_unit_test(test_killed_while_the_socket_is_full),
                cmocka_unit_test(test_parts),
                cmocka_unit_test(test_abandon_counts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
