/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The overlay with as many layers as are promised, and what it must not switch on. Root, in a mount namespace of its
 * own, on a tmpfs. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "berth/file.h"
#include "berth/mount.h"
#include "berth/string.h"

#define LAYERS 128

static char top[] = "/tmp/test-mount-XXXXXX";

static char *make(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *make(const char *format, ...)
{
        CLEANUP_FREE char *name = NULL;
        va_list args;
        char *path;

        va_start(args, format);
        assert_true(vasprintf(&name, format, args) > 0);
        va_end(args);
        path = path_join(top, name);
        assert_int_equal(path_make_directories(path, 0755), 0);
        return path;
}

/* Paths as long as the engine's: 20 digits and "/fs" a layer, a 64-digit container. */
static void test_many_layers(void **state)
{
        CLEANUP_STRV char **lower = NULL;
        CLEANUP_FREE char *upper = make("container/%064d/upper", 1), *work = make("container/%064d/work", 1);
        CLEANUP_FREE char *target = make("target"), *layers = make("layer"), *mountinfo = NULL;
        CLEANUP_ERROR Error error = {};

        (void) state;
        for (int i = 0; i < LAYERS; i++) {
                CLEANUP_FREE char *name = str_printf("%020d/fs", i), *path = make("layer/%020d/fs/from-%d", i, i);

                assert_int_equal(strv_append(&lower, name), 0);
        }
        MountOverlay overlay = { .layer_root = layers, .lower = lower, .upper = upper, .work = work, .target = target };
        int r = mount_overlay(&overlay, &error);
        if (r < 0)
                fail_msg("%s", error.message);
        for (int i = 0; i < LAYERS; i++) {
                CLEANUP_FREE char *path = str_printf("%s/from-%d", target, i);

                assert_int_equal(access(path, F_OK), 0);
        }
        assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 22, &mountinfo, NULL), 0);
        assert_null(strstr(mountinfo, "metacopy=on"));
        assert_null(strstr(mountinfo, "redirect_dir=on"));
        assert_null(strstr(mountinfo, "index=on"));
        assert_int_equal(mount_overlay_undo(target), 0);
        assert_int_equal(mount_overlay_undo(target), 0);
        CLEANUP_FREE char *first = str_printf("%s/from-0", target);
        assert_int_equal(access(first, F_OK), -1);
}

static void test_read_only(void **state)
{
        CLEANUP_FREE char *one = make("ro/one/a"), *two = make("ro/two/b"), *root = make("ro"),
                          *target = make("target2");
        char first[] = "one", second[] = "two";
        char *lower[] = { first, second, NULL };
        MountOverlay overlay = { .layer_root = root, .lower = lower, .target = target };
        CLEANUP_FREE char *file = str_printf("%s/x", target), *b = str_printf("%s/b", target);

        (void) state;
        assert_int_equal(mount_overlay(&overlay, NULL), 0);
        assert_int_equal(access(b, F_OK), 0);
        assert_int_equal(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
        assert_int_equal(errno, EROFS);
        assert_int_equal(mount_overlay_undo(target), 0);
}

static void test_refusals(void **state)
{
        char odd[] = "a,upperdir=/etc", missing[] = "missing";
        char *odd_lower[] = { odd, NULL }, *lower[] = { missing, NULL };
        MountOverlay overlay = { .layer_root = top, .lower = odd_lower, .upper = "/u", .work = "/w", .target = top };
        CLEANUP_ERROR Error error = {};

        (void) state;
        assert_int_equal(mount_overlay(&overlay, NULL), -EINVAL);
        overlay.lower = lower;
        assert_int_equal(mount_overlay(&overlay, &error), -ENOENT);
        assert_non_null(strstr(error.message, ": no such file or directory"));
        overlay.layer_root = "/nonexistent";
        assert_int_equal(mount_overlay(&overlay, NULL), -ENOENT);
}

static int set_up(void **state)
{
        (void) state;
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        assert_non_null(mkdtemp(top));
        assert_int_equal(mount("tmpfs", top, "tmpfs", 0, NULL), 0);
        return 0;
}

static int tear_down(void **state)
{
        (void) state;
        (void) umount2(top, MNT_DETACH);
        return rmdir(top);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_many_layers),
                cmocka_unit_test(test_read_only),
                cmocka_unit_test(test_refusals),
        };

        if (geteuid() != 0) {
                printf("skipped: needs root\n");
                return 0;
        }
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
