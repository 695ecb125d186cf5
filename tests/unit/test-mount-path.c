/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names inside a root that its author made to lead out of it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "berth/file.h"
#include "berth/mount.h"
#include "berth/string.h"

static char top[] = "/tmp/test-mount-XXXXXX";
static int root = -EBADF;

static void assert_made(const char *path, bool directory, const char *expected)
{
        int fd = mount_path_make(root, path, directory, 0755);
        struct stat st, there;

        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(S_ISDIR(st.st_mode), directory);
        assert_int_equal(fstatat(root, expected, &there, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_ino, there.st_ino);
        close(fd);
}

static void test_make(void **state)
{
        (void) state;
        assert_made("/a/b/c", true, "a/b/c");
        assert_made("/a/b/c", true, "a/b/c");
        assert_made("a/b/file", false, "a/b/file");
        assert_made("/", true, ".");
        assert_made("/d/e//f/", true, "d/e/f");
        assert_int_equal(mount_path_make(root, "/a/b/file/x", true, 0755), -ENOTDIR);
}

static void test_links(void **state)
{
        (void) state;
        assert_int_equal(symlinkat("../../../../outside", root, "up"), 0);
        assert_int_equal(symlinkat("/absolute/path", root, "abs"), 0);
        assert_int_equal(symlinkat("loop", root, "loop"), 0);
        assert_int_equal(symlinkat("/proc/self/root", root, "magic"), 0);
        assert_int_equal(symlinkat("/target-file", root, "to-file"), 0);
        assert_made("/up/x", true, "outside/x");
        assert_made("/abs", true, "absolute/path");
        assert_made("/abs/more", true, "absolute/path/more");
        assert_made("/to-file", false, "target-file");
        assert_int_equal(mount_path_make(root, "/loop", true, 0755), -ELOOP);
        assert_int_equal(mount_path_make(root, "/loop/x", true, 0755), -ELOOP);
        /* No /proc in here: the link's target is made as ordinary directories inside. */
        assert_made("/magic/y", true, "proc/self/root/y");
}

static void test_open(void **state)
{
        CLEANUP_CLOSE int real = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        (void) state;
        assert_int_equal(mount_path_open(root, "/nothing", O_PATH), -ENOENT);
        assert_int_equal(mount_path_open(root, "../../etc/passwd", O_RDONLY), -ENOENT);
        assert_int_equal(mount_path_open(real, "/proc/self/exe", O_PATH), -ELOOP);
        assert_int_equal(mount_path_open(real, "/proc/self/root/etc", O_PATH), -ELOOP);
}

static void test_below(void **state)
{
        (void) state;
        assert_true(mount_path_is_below("/proc", "/proc"));
        assert_true(mount_path_is_below("/proc/x", "/proc"));
        assert_true(mount_path_is_below("/proc", "/"));
        assert_false(mount_path_is_below("/process", "/proc"));
        assert_false(mount_path_is_below("/pro", "/proc"));
}

static void parse(const char *text, MountEntry *entry, int expected)
{
        json_t *object = json_loads(text, 0, NULL);
        int r = mount_entry_parse(object, entry, NULL);

        assert_int_equal(r, expected);
        /* The strings are the object's; only flags are looked at here. */
        json_decref(object);
}

static void test_options(void **state)
{
        MountEntry entry = MOUNT_ENTRY_EMPTY;

        (void) state;
        parse("{\"destination\":\"/"
              "x\",\"type\":\"tmpfs\",\"options\":[\"nosuid\",\"noexec\",\"exec\",\"size=1m\",\"mode=700\"]}",
              &entry, 0);
        assert_int_equal(entry.flags, 2 /* MS_NOSUID */);
        assert_string_equal(entry.data, "size=1m,mode=700");
        mount_entry_clear(&entry);
        parse("{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"rbind\",\"ro\",\"rw\",\"rro\",\"rslave\"]}",
              &entry, 0);
        assert_true(entry.bind && entry.recursive && entry.propagation_recursive);
        assert_int_equal(entry.set, 0);
        assert_int_equal(entry.set_recursive, 1 /* MOUNT_ATTR_RDONLY */);
        mount_entry_clear(&entry);
        parse("{\"destination\":\"x\",\"type\":\"tmpfs\"}", &entry, -EINVAL);
        parse("{\"destination\":\"/x\",\"type\":\"bind\"}", &entry, -EINVAL);
}

static int set_up(void **state)
{
        (void) state;
        assert_non_null(mkdtemp(top));
        root = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return root < 0;
}

static int tear_down(void **state)
{
        (void) state;
        close(root);
        return path_remove_tree_at(AT_FDCWD, top);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_make),  cmocka_unit_test(test_links),   cmocka_unit_test(test_open),
                cmocka_unit_test(test_below), cmocka_unit_test(test_options),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
