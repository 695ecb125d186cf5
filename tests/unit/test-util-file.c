/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files, trees, descriptors and processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/stream.h"
#include "berth/string.h"

static char top[64];
static int top_fd = -EBADF;

static int setup(void **state)
{
        (void) state;
        strcpy(top, "/tmp/berth-test-XXXXXX");
        if (!mkdtemp(top))
                return -1;
        top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return top_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
        (void) state;
        top_fd = fd_close(top_fd);
        return path_remove_tree_at(AT_FDCWD, top) < 0 ? -1 : 0;
}

static void test_replace(void **state)
{
        CLEANUP_FREE char *text = NULL, *again = NULL;
        struct stat st;
        size_t size;
        (void) state;

        assert_int_equal(file_replace_at(top_fd, "record", "one", 3, 0600), 0);
        assert_int_equal(file_replace_volatile_at(top_fd, "record", "second", 6, 0640), 0);
        assert_int_equal(file_read_at(top_fd, "record", 100, &text, &size), 0);
        assert_int_equal(size, 6);
        assert_string_equal(text, "second");
        assert_int_equal(fstatat(top_fd, "record", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
        assert_int_equal(file_read_at(top_fd, "record", 5, &again, NULL), -EFBIG);
        assert_int_equal(file_read_at(top_fd, "nothing", 5, &again, NULL), -ENOENT);
        assert_null(again);
}

/* A path, wherever the process is. */
static void test_replace_path(void **state)
{
        CLEANUP_FREE char *path = str_printf("%s/by-path", top), *text = NULL;
        (void) state;

        assert_int_equal(file_replace_volatile_at(AT_FDCWD, path, "one", 3, 0600), 0);
        assert_int_equal(file_replace_at(AT_FDCWD, path, "two", 3, 0600), 0);
        assert_int_equal(file_read_at(top_fd, "by-path", 100, &text, NULL), 0);
        assert_string_equal(text, "two");
}

static void test_remove_tree(void **state)
{
        CLEANUP_FREE char *deep = str_printf("%s/tree/a/b/c", top), *link = str_printf("%s/tree/link", top),
                          *kept = str_printf("%s/kept", top);
        (void) state;

        assert_int_equal(path_make_directories(deep, 0755), 0);
        assert_int_equal(path_make_directories(deep, 0755), 0);
        assert_int_equal(mkdir(kept, 0755), 0);
        assert_int_equal(symlink(kept, link), 0);
        assert_int_equal(path_remove_tree_at(top_fd, "tree"), 0);
        assert_int_equal(access(kept, F_OK), 0);
        assert_int_equal(path_remove_tree_at(top_fd, "tree"), 0);
        assert_int_equal(rmdir(kept), 0);
}

static void test_descriptor_passing(void **state)
{
        int pair[2], pipe_fds[2], received[4];
        size_t n = ARRAY_SIZE(received);
        char text[16] = "";
        (void) state;

        assert_int_equal(socket_pair(SOCK_SEQPACKET, pair), 0);
        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
        assert_int_equal(socket_send_fds(pair[0], "hello", 5, &pipe_fds[1], 1), 0);
        assert_int_equal(socket_recv_fds(pair[1], text, sizeof(text), received, &n), 5);
        assert_int_equal(n, 1);
        assert_int_equal(fcntl(received[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fd_write_all(received[0], "x", 1), 0);
        assert_int_equal(read(pipe_fds[0], text, 1), 1);
        int left[] = { pair[0], pair[1], pipe_fds[0], pipe_fds[1], received[0] };
        for (size_t i = 0; i < ARRAY_SIZE(left); i++)
                fd_close(left[i]);
}

static void test_long_socket_path(void **state)
{
        CLEANUP_FREE char *directory = str_printf("%s/%0100d", top, 1), *path = str_printf("%s/socket", directory);
        (void) state;

        assert_int_equal(path_make_directories(directory, 0755), 0);
        CLEANUP_CLOSE int listener = socket_listen_unix(path, SOCK_STREAM, 0600);
        assert_true(listener >= 0);
        CLEANUP_CLOSE int client = socket_connect_unix(path, SOCK_STREAM);
        assert_true(client >= 0);
}

static void test_process_identity(void **state)
{
        uint64_t start;
        (void) state;

        assert_int_equal(process_start_time(getpid(), &start), 0);
        CLEANUP_CLOSE int fd = process_open(getpid(), start);
        assert_true(fd >= 0);
        assert_int_equal(process_open(getpid(), start + 1), -ESRCH);
        pid_t child = fork();
        if (child == 0)
                _exit(0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(process_start_time(child, &start), -ESRCH);
}

static void test_json_records(void **state)
{
        CLEANUP_JSON json_t *value = json_pack("{si s[ss]}", "n", 3, "list", "a", "b"), *read_back = NULL,
                            *broken = NULL;
        (void) state;

        assert_int_equal(json_write_at(top_fd, "value.json", value, 0600), 0);
        assert_int_equal(json_read_at(top_fd, "value.json", &read_back), 0);
        assert_true(json_equal(value, read_back));
        CLEANUP_STRV char **list = json_to_strv(json_get_array(read_back, "list"));
        assert_int_equal(strv_length(list), 2);
        assert_string_equal(list[1], "b");
        assert_int_equal(json_create_at(top_fd, "value2.json", value, 0600), 0);
        assert_int_equal(json_rewrite_at(top_fd, "nowhere.json", value), -ENOENT);
        CLEANUP_JSON json_t *shorter = json_pack("{si}", "n", 1), *again = NULL;
        assert_int_equal(json_rewrite_at(top_fd, "value2.json", shorter), 0);
        assert_int_equal(json_read_at(top_fd, "value2.json", &again), 0);
        assert_true(json_equal(again, shorter));
        assert_int_equal(file_replace_volatile_at(top_fd, "broken.json", "{\"a\":", 5, 0600), 0);
        assert_int_equal(json_read_at(top_fd, "broken.json", &broken), -EBADMSG);
        assert_null(broken);
}

static void test_stream_framing(void **state)
{
        int pair[2];
        char text[256] = "";
        (void) state;

        assert_int_equal(socket_pair(SOCK_STREAM, pair), 0);
        CLEANUP_STREAM Stream stream = { .fd = pair[0], .chunked = true };
        CLEANUP_CLOSE int other = pair[1];
        assert_int_equal(buffer_append_string(&stream.head, "HEAD\r\n\r\n"), 0);
        assert_int_equal(stream_write(&stream, "0123456789abcdefX", 17), 0);
        assert_int_equal(stream_write(&stream, "y", 1), 0);
        assert_int_equal(stream_end(&stream), 0);
        stream_clear(&stream);
        ssize_t n = recv(other, text, sizeof(text) - 1, MSG_WAITALL);
        assert_true(n > 0);
        assert_string_equal(text, "HEAD\r\n\r\n11\r\n0123456789abcdefX\r\n1\r\ny\r\n0\r\n\r\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_replace),          cmocka_unit_test(test_replace_path),
                cmocka_unit_test(test_remove_tree),      cmocka_unit_test(test_descriptor_passing),
                cmocka_unit_test(test_long_socket_path), cmocka_unit_test(test_process_identity),
                cmocka_unit_test(test_json_records),     cmocka_unit_test(test_stream_framing),
        };

        return cmocka_run_group_tests_name("util-file", tests, setup, teardown);
}
