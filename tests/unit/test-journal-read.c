/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Container logs read back from the journal of this host, under identifiers of their own; skipped where no journald
 * runs. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/file.h"
#include "berth/journal.h"
#include "berth/string.h"
#include "journal-barrier.h"

static char id[ID_LENGTH + 1];
static int journald = -EBADF;

typedef struct Collected {
        char text[8192];
        size_t size, n, stop_after;
        JournalLine last;
} Collected;

static int collect(const JournalLine *line, void *userdata)
{
        Collected *c = userdata;

        c->last = *line;
        c->n++;
        c->size += (size_t) snprintf(c->text + c->size, sizeof(c->text) - c->size, "%c:%.*s|",
                                     line->standard_error ? 'e' : 'o', (int) MIN(line->size, 40u), line->data);
        assert_true(c->size < sizeof(c->text));
        return c->stop_after > 0 && c->n == c->stop_after ? 77 : 0;
}

static int setup(void **state)
{
        (void) state;
        assert_int_equal(id_generate(id), 0);
        if (journald < 0)
                journald = socket_connect_unix("/run/systemd/journal/socket", SOCK_DGRAM);
        return 0;
}

#define NEED_JOURNALD()           \
        do {                      \
                if (journald < 0) \
                        skip();   \
        } while (0)

static void send_record(int priority, const char *extra, const char *message)
{
        char entry[4096];
        int n = snprintf(entry, sizeof(entry), "CONTAINER_ID_FULL=%s\nPRIORITY=%d\n%sMESSAGE=%s\n", id, priority, extra,
                         message);

        assert_int_equal(send(journald, entry, (size_t) n, 0), n);
}

static JournalQuery query_all(void)
{
        return (JournalQuery) { .container_id = id,
                                .tail = -1,
                                .standard_output = true,
                                .standard_error = true,
                                .ended_fd = -EBADF,
                                .client_fd = -EBADF };
}

static void assert_lines(const JournalQuery *query, const char *expected)
{
        Collected c = {};

        assert_int_equal(journal_read_lines(query, collect, &c), 0);
        assert_string_equal(c.text, expected);
}

static void test_streams_parts_and_tail(void **state)
{
        JournalQuery query = query_all();
        Collected c = { .stop_after = 2 };

        (void) state;
        NEED_JOURNALD();
        assert_lines(&query, "");
        send_record(6, "", "one");
        send_record(3, "", "bad");
        send_record(6, "CONTAINER_PARTIAL_MESSAGE=true\n", "aa");
        send_record(6, "CONTAINER_PARTIAL_MESSAGE=true\n", "bb");
        send_record(6, "", "cc");
        send_record(6, "", "");
        send_record(4, "", "gap");
        send_record(6, "CONTAINER_PARTIAL_MESSAGE=true\n", "rest");
        assert_lines(&query, "o:one|e:bad|o:aabbcc|o:|e:gap|o:rest|");
        assert_int_equal(journal_read_lines(&query, collect, &c), 77);
        query.standard_error = false;
        assert_lines(&query, "o:one|o:aabbcc|o:|o:rest|");
        query.tail = 2;
        assert_lines(&query, "o:aabbcc|o:|o:rest|");
        query = query_all();
        query.standard_output = false;
        assert_lines(&query, "e:bad|e:gap|");
        query.tail = 1;
        assert_lines(&query, "e:gap|");
        query.tail = 0;
        assert_lines(&query, "");
        query.tail = 100;
        assert_lines(&query, "e:bad|e:gap|");
}

static void test_times(void **state)
{
        JournalQuery query = query_all();
        Collected c = {};
        int64_t between;

        (void) state;
        NEED_JOURNALD();
        send_record(6, "", "early");
        nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
        between = time_now_ns();
        nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
        send_record(6, "", "late");
        query.since_ns = between;
        assert_int_equal(journal_read_lines(&query, collect, &c), 0);
        assert_string_equal(c.text, "o:late|");
        assert_in_range(c.last.time_ns, between, between + 2000000000);
        /* The time a line is shown with is the one it can be asked for by. */
        query.since_ns = c.last.time_ns;
        assert_lines(&query, "o:late|");
        query.since_ns++;
        query = query_all();
        query.until_ns = between;
        assert_lines(&query, "o:early|");
        query.tail = 5;
        assert_lines(&query, "o:early|");
        query.since_ns = between;
        query.until_ns = 0;
        assert_lines(&query, "o:late|");
}

/* Sends first copies, and tells from which moment to which. NULL stands for one that is lost. */
static void send_group(const char *messages[], size_t n, int64_t *ret_before, int64_t *ret_after)
{
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
        *ret_before = time_now_ns() / 1000;
        for (size_t i = 0; i < n; i++)
                if (messages[i])
                        send_record(6, "", messages[i]);
        *ret_after = time_now_ns() / 1000;
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
}

static void send_again(int priority, const char *message, int64_t before, int64_t after, unsigned index, unsigned count)
{
        char extra[256];

        (void) snprintf(extra, sizeof(extra), "CONTAINER_LOG_RESENT=1\nCONTAINER_LOG_PLACE=%lld.%lld.%u.%u\n",
                        (long long) before, (long long) after, index, count);
        send_record(priority, extra, message);
}

static void send_resent(const char *message, int64_t before, int64_t after, unsigned index, unsigned count)
{
        send_again(6, message, before, after, index, count);
}

static void test_resent(void **state)
{
        JournalQuery query = query_all();
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        /* Lost while journald died: it has its place before what was still queued. */
        send_group((const char *[]) { "1", "2", NULL, "4" }, 4, &before, &after);
        send_record(6, "", "5");
        send_resent("3", before, after, 2, 4);
        send_record(6, "", "6");
        assert_lines(&query, "o:1|o:2|o:3|o:4|o:5|o:6|");
        query.tail = 5;
        assert_lines(&query, "o:2|o:3|o:4|o:5|o:6|");
        query.tail = 2;
        assert_lines(&query, "o:5|o:6|");
        query = query_all();
        /* Not lost after all. */
        send_group((const char *[]) { "7", "7", "8" }, 3, &before, &after);
        send_resent("7", before, after, 1, 3);
        assert_lines(&query, "o:1|o:2|o:3|o:4|o:5|o:6|o:7|o:7|o:8|");
        /* The last of its group. */
        send_group((const char *[]) { "9", NULL }, 2, &before, &after);
        send_resent("10", before, after, 1, 2);
        assert_lines(&query, "o:1|o:2|o:3|o:4|o:5|o:6|o:7|o:7|o:8|o:9|o:10|");
        query.since_ns = before * 1000;
        assert_lines(&query, "o:9|o:10|");
        query.since_ns = (after + 1) * 1000;
        assert_lines(&query, "");
}

/* What a monitor does when journald is killed again: all of a group from an index on. */
static void send_rest_again(const char *messages[], size_t first, size_t n, int64_t before, int64_t after)
{
        for (size_t i = first; i < n; i++)
                send_resent(messages[i], before, after, (unsigned) i, (unsigned) n);
}

/* A group of N, of which those with a bit in LOST are not stored and those from FIRST on are sent again. */
static void send_group_twice(const char *messages[], size_t n, unsigned lost, size_t first, int64_t *ret_before,
                             int64_t *ret_after)
{
        const char *stored[8];

        assert_true(n <= ARRAY_SIZE(stored));
        for (size_t i = 0; i < n; i++)
                stored[i] = lost & 1u << i ? NULL : messages[i];
        send_group(stored, n, ret_before, ret_after);
        send_rest_again(messages, first, n, *ret_before, *ret_after);
}

static void test_resent_all(void **state)
{
        JournalQuery query = query_all();
        const char *mixed[] = { "1", "2", "2", "3", "2", "4" }, *same[] = { "s", "s", "s", "s", "s" };
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        send_group_twice(mixed, 6, 1 << 3, 2, &before, &after);
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:2|o:4|");
        assert_int_equal(setup(state), 0);
        send_group_twice(mixed, 6, 1 << 3 | 1 << 4, 0, &before, &after);
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:2|o:4|");
        assert_int_equal(setup(state), 0);
        send_group_twice(mixed, 6, 1 << 0 | 1 << 2 | 1 << 5, 0, &before, &after);
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:2|o:4|");
        /* Nothing was lost. */
        send_group_twice(same, 5, 0, 1, &before, &after);
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:2|o:4|o:s|o:s|o:s|o:s|o:s|");
        assert_int_equal(setup(state), 0);
        send_group_twice(same, 5, 1 << 1 | 1 << 3, 1, &before, &after);
        send_record(6, "", "end");
        assert_lines(&query, "o:s|o:s|o:s|o:s|o:s|o:end|");
}

/* Whatever of what was sent again is lost, and however alike the lines are. */
static void test_resent_any(void **state)
{
        JournalQuery query = query_all();
        unsigned random = 1;
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        for (int round = 0; round < 60; round++) {
                const char *messages[8];
                char expected[64] = "";
                unsigned first, lost;

                assert_int_equal(id_generate(id), 0);
                random = random * 1103515245u + 12345u;
                first = random >> 16 & 7;
                lost = (random >> 20 & 0xff) & ~((1u << first) - 1);
                for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
                        messages[i] = random >> (8 + i) & 1 ? "x" : "y";
                send_group_twice(messages, ARRAY_SIZE(messages), lost, first, &before, &after);
                for (size_t n = 1; n <= ARRAY_SIZE(messages); n++) {
                        *expected = '\0';
                        for (size_t i = ARRAY_SIZE(messages) - n; i < ARRAY_SIZE(messages); i++)
                                (void) snprintf(expected + strlen(expected), 8, "o:%s|", messages[i]);
                        query.tail = (int64_t) n;
                        assert_lines(&query, expected);
                }
                query.tail = -1;
                assert_lines(&query, expected);
        }
}

/* The doubtful one of the first kill comes before all the others, and again among them. */
static void test_resent_out_of_order(void **state)
{
        JournalQuery query = query_all();
        const char *messages[] = { "1", "2", "3", "4" };
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        send_group((const char *[]) { "1", NULL, NULL, "4" }, 4, &before, &after);
        send_resent("3", before, after, 2, 4);
        send_rest_again(messages, 0, 4, before, after);
        send_record(6, "", "5");
        assert_lines(&query, "o:1|o:2|o:3|o:4|o:5|");
}

/* Those that were sent once have their first copies whatever is in them. */
static void test_resent_some(void **state)
{
        JournalQuery query = query_all();
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        send_group((const char *[]) { "p", "q", NULL, "q" }, 4, &before, &after);
        send_resent("p", before, after, 0, 4);
        send_resent("p", before, after, 2, 4);
        assert_lines(&query, "o:p|o:q|o:p|o:q|");
        send_group((const char *[]) { NULL, "z", "z", "z" }, 4, &before, &after);
        send_resent("z", before, after, 0, 4);
        send_resent("z", before, after, 2, 4);
        assert_lines(&query, "o:p|o:q|o:p|o:q|o:z|o:z|o:z|o:z|");
        /* The same text on the other stream is another line. */
        assert_int_equal(setup(state), 0);
        before = time_now_ns() / 1000;
        send_record(3, "", "x");
        after = time_now_ns() / 1000;
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
        send_resent("x", before, after, 0, 2);
        send_again(3, "x", before, after, 1, 2);
        assert_lines(&query, "o:x|e:x|");
}

static void test_resent_tail(void **state)
{
        JournalQuery query = query_all();
        const char *messages[] = { "1", "2", "2", "3", "4", "5" };
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        send_record(6, "", "0");
        send_group_twice(messages, 6, 1 << 2 | 1 << 3 | 1 << 5, 1, &before, &after);
        query.tail = 1;
        assert_lines(&query, "o:5|");
        query.tail = 2;
        assert_lines(&query, "o:4|o:5|");
        query.tail = 3;
        assert_lines(&query, "o:3|o:4|o:5|");
        query.tail = 4;
        assert_lines(&query, "o:2|o:3|o:4|o:5|");
        query.tail = 6;
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:4|o:5|");
        query.tail = 7;
        assert_lines(&query, "o:0|o:1|o:2|o:2|o:3|o:4|o:5|");
        send_record(6, "", "6");
        query.tail = 1;
        assert_lines(&query, "o:6|");
        query.tail = 3;
        assert_lines(&query, "o:4|o:5|o:6|");
        query.since_ns = before * 1000;
        query.tail = -1;
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:4|o:5|o:6|");
        query.until_ns = after * 1000;
        assert_lines(&query, "o:1|o:2|o:2|o:3|o:4|o:5|");
        query.tail = 3;
        assert_lines(&query, "o:3|o:4|o:5|");
        query.until_ns = (before - 1) * 1000;
        query.since_ns = 0;
        assert_lines(&query, "o:0|");
}

static void send_while_followed(void)
{
        const char *first[] = { "a", "b", "b", "c", "d" }, *second[] = { "e", "f", "f" };
        int64_t before, after;

        nanosleep(&(struct timespec) { .tv_nsec = 100000000 }, NULL);
        send_group((const char *[]) { "a", "b", "b", NULL, "d" }, 5, &before, &after);
        send_resent("b", before, after, 1, 5);
        send_rest_again(first, 0, 5, before, after);
        send_record(6, "", "next");
        /* What was shown before the others came is one of them. */
        send_group((const char *[]) { "e", NULL, "f" }, 3, &before, &after);
        send_resent("f", before, after, 1, 3);
        nanosleep(&(struct timespec) { .tv_nsec = 500000000 }, NULL);
        send_rest_again(second, 0, 3, before, after);
        send_group((const char *[]) { "g", NULL }, 2, &before, &after);
        send_resent("h", before, after, 1, 2);
}

static void test_resent_follow(void **state)
{
        JournalQuery query = query_all();
        pid_t pid;

        (void) state;
        NEED_JOURNALD();
        send_record(6, "", "0");
        assert_int_equal(journal_barrier(), 0);
        pid = fork();
        if (pid == 0) {
                send_while_followed();
                _exit(0);
        }
        query.follow = true;
        query.ended_fd = pidfd_open(pid, 0);
        /* What comes too late for its place is shown late, once. */
        assert_lines(&query, "o:0|o:a|o:b|o:b|o:d|o:c|o:next|o:e|o:f|o:f|o:g|o:h|");
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(query.ended_fd);
        query = query_all();
        assert_lines(&query, "o:0|o:a|o:b|o:b|o:c|o:d|o:next|o:e|o:f|o:f|o:g|o:h|");
}

/* A line that is missing does not wait for the next. */
static void test_resent_follow_idle(void **state)
{
        JournalQuery query = query_all();
        Collected c = { .stop_after = 2 };
        int never[2];
        int64_t before, after;

        (void) state;
        NEED_JOURNALD();
        send_group((const char *[]) { "1", NULL }, 2, &before, &after);
        send_resent("2", before, after, 1, 2);
        assert_int_equal(pipe2(never, O_CLOEXEC), 0);
        query.follow = true;
        query.ended_fd = never[0];
        alarm(10);
        assert_int_equal(journal_read_lines(&query, collect, &c), 77);
        alarm(0);
        assert_string_equal(c.text, "o:1|o:2|");
        close(never[0]);
        close(never[1]);
}

static void test_follow(void **state)
{
        JournalQuery query = query_all();
        Collected c = {};
        pid_t pid;

        (void) state;
        NEED_JOURNALD();
        send_record(6, "", "before");
        assert_int_equal(journal_barrier(), 0);
        pid = fork();
        if (pid == 0) {
                for (int i = 0; i < 5; i++) {
                        char text[16];

                        nanosleep(&(struct timespec) { .tv_nsec = 100000000 }, NULL);
                        (void) snprintf(text, sizeof(text), "n%d", i);
                        send_record(6, "", text);
                }
                _exit(0);
        }
        query.follow = true;
        query.tail = 0;
        query.ended_fd = pidfd_open(pid, 0);
        assert_int_equal(journal_read_lines(&query, collect, &c), 0);
        assert_string_equal(c.text, "o:n0|o:n1|o:n2|o:n3|o:n4|");
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(query.ended_fd);
        query.ended_fd = -EBADF;
        query.tail = 1;
        assert_lines(&query, "o:n4|");
}

static void test_follow_ends_with_the_client(void **state)
{
        JournalQuery query = query_all();
        int client[2], never[2];
        time_t start = time(NULL);

        (void) state;
        NEED_JOURNALD();
        send_record(6, "", "x");
        assert_int_equal(socket_pair(SOCK_STREAM, client), 0);
        assert_int_equal(pipe2(never, O_CLOEXEC), 0);
        close(client[1]);
        query.follow = true;
        query.ended_fd = never[0];
        query.client_fd = client[0];
        assert_lines(&query, "o:x|");
        assert_true(time(NULL) - start < 5);
        close(client[0]);
        close(never[0]);
        close(never[1]);
}

static void test_rate_limit_links(void **state)
{
        char target[8] = {};

        (void) state;
        /* In a mount namespace of this test's own. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0)
                skip();
        assert_int_equal(journal_lift_rate_limit("berth-x.scope"), 0);
        assert_int_equal(readlink("/run/systemd/units/log-rate-limit-interval:berth-x.scope", target, 8), 1);
        assert_int_equal(target[0], '0');
        assert_int_equal(readlink("/run/systemd/units/log-rate-limit-burst:berth-x.scope", target, 8), 1);
        assert_int_equal(unlink("/run/systemd/units/log-rate-limit-burst:berth-x.scope"), 0);
        assert_int_equal(symlink("10000", "/run/systemd/units/log-rate-limit-burst:berth-x.scope"), 0);
        assert_int_equal(journal_lift_rate_limit("berth-x.scope"), 0);
        assert_int_equal(readlink("/run/systemd/units/log-rate-limit-burst:berth-x.scope", target, 8), 1);
        journal_restore_rate_limit("berth-x.scope");
        assert_int_equal(readlink("/run/systemd/units/log-rate-limit-interval:berth-x.scope", target, 8), -1);
        assert_int_equal(readlink("/run/systemd/units/log-rate-limit-burst:berth-x.scope", target, 8), -1);
}

/* For the tests of a whole host: "read ID TAIL" writes a container's lines, each behind its stream and time. */
static int print(const JournalLine *line, void *userdata)
{
        (void) userdata;
        printf("%c%lld ", line->standard_error ? 'e' : 'o', (long long) line->time_ns);
        (void) fwrite(line->data, 1, line->size, stdout);
        putchar('\n');
        return 0;
}

static int read_for_host_test(char **argv)
{
        JournalQuery query = query_all();

        query.container_id = argv[2];
        return str_to_int64(argv[3], -1, INT64_MAX, &query.tail) < 0 || journal_read_lines(&query, print, NULL) < 0;
}

int main(int argc, char **argv)
{
        if (argc == 4 && str_equal(argv[1], "read"))
                return read_for_host_test(argv);

        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_streams_parts_and_tail, setup),
                cmocka_unit_test_setup(test_times, setup),
                cmocka_unit_test_setup(test_resent, setup),
                cmocka_unit_test_setup(test_resent_all, setup),
                cmocka_unit_test_setup(test_resent_any, setup),
                cmocka_unit_test_setup(test_resent_out_of_order, setup),
                cmocka_unit_test_setup(test_resent_some, setup),
                cmocka_unit_test_setup(test_resent_tail, setup),
                cmocka_unit_test_setup(test_resent_follow, setup),
                cmocka_unit_test_setup(test_resent_follow_idle, setup),
                cmocka_unit_test_setup(test_follow, setup),
                cmocka_unit_test_setup(test_follow_ends_with_the_client, setup),
                cmocka_unit_test(test_rate_limit_links),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
