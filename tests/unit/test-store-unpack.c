/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unpacking layers: what becomes of entries, what hostile ones cannot reach, and that the tar comes back byte for byte.
 * Needs root, as devices and trusted attributes do. */
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "store-test.h"
#include "store-unpack.h"

typedef struct Fixture {
        char *path; /* holds layer/ and things that must not be touched */
        int fd, layer_fd;
} Fixture;

static int setup(void **state)
{
        Fixture *fixture = calloc(1, sizeof(*fixture));

        fixture->path = make_directory();
        fixture->fd = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(mkdirat(fixture->fd, "layer", 0700), 0);
        assert_int_equal(file_replace_volatile_at(fixture->fd, "secret", "old", 3, 0600), 0);
        fixture->layer_fd = openat(fixture->fd, "layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        *state = fixture;
        return 0;
}

static int teardown(void **state)
{
        Fixture *fixture = *state;

        fd_close(fixture->layer_fd);
        fd_close(fixture->fd);
        remove_directory(fixture->path);
        free(fixture);
        return 0;
}

static int unpack(Fixture *fixture, const Buffer *tar, StoreUnpacked *ret, Error *error)
{
        StoreMemoryStream stream;

        store_memory_stream_init(&stream, tar->data, tar->size);
        return store_unpack(&stream.stream, NULL, fixture->layer_fd, false, NULL, NULL, ret, error);
}

/* Unpacks, and checks that writing the tar again gives what it was. */
static void unpack_well(Fixture *fixture, const Buffer *tar, StoreUnpacked *ret)
{
        Buffer again CLEANUP_BUFFER = {};
        Error error CLEANUP_ERROR = {};
        char digest[STORE_DIGEST_SIZE];
        int r = unpack(fixture, tar, ret, &error);

        if (r != 0)
                fail_msg("%d %s", r, error.message ? error.message : "");
        assert_int_equal(store_digest_data(tar->data, tar->size, digest), 0);
        assert_string_equal(ret->diff_id, digest);
        assert_int_equal(ret->tar_size, tar->size);
        assert_int_equal(store_layer_write_tar(fixture->layer_fd, memory_write, &again), 0);
        assert_int_equal(again.size, tar->size);
        assert_memory_equal(again.data, tar->data, tar->size);
}

static void assert_content(const Fixture *fixture, const char *path, const char *want)
{
        char *data CLEANUP_FREE = NULL;

        assert_int_equal(file_read_at(fixture->layer_fd, path, 1024 * 1024, &data, NULL), 0);
        assert_string_equal(data, want);
}

static struct stat stat_of(const Fixture *fixture, const char *path)
{
        struct stat st;

        assert_int_equal(fstatat(fixture->layer_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
        return st;
}

static void test_plain(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;
        struct stat st;

        tar_header(&tar, '5', "./", NULL, 0751, 0);
        tar_header(&tar, '5', "etc/", NULL, 02755, 0);
        tar_file(&tar, "./etc/hosts", "127.0.0.1 localhost\n");
        tar_pax(&tar, "mtime", "1600000000.123456789", 20);
        tar_header(&tar, '0', "bin", NULL, 04755, 0);
        tar_header(&tar, '1', "etc/hosts2", "etc/hosts", 0644, 0);
        tar_header(&tar, '2', "link", "../../../etc/passwd", 0777, 0);
        tar_header(&tar, '6', "fifo", NULL, 0600, 0);
        tar_header(&tar, '3', "null", NULL, 0666, 0);
        tar_end(&tar);
        unpack_well(*state, &tar, &unpacked);
        assert_int_equal(unpacked.entries, 8);
        assert_int_equal(stat_of(*state, "fs").st_mode, S_IFDIR | 0751);
        st = stat_of(*state, "fs/etc");
        assert_int_equal(st.st_mode, S_IFDIR | 02755);
        assert_int_equal(st.st_mtim.tv_sec, 1700000000);
        assert_content(*state, "fs/etc/hosts", "127.0.0.1 localhost\n");
        assert_int_equal(stat_of(*state, "fs/etc/hosts2").st_nlink, 2);
        st = stat_of(*state, "fs/bin");
        assert_int_equal(st.st_mode, S_IFREG | 04755);
        assert_int_equal(st.st_mtim.tv_nsec, 123456789);
        assert_true(S_ISLNK(stat_of(*state, "fs/link").st_mode));
        assert_true(S_ISFIFO(stat_of(*state, "fs/fifo").st_mode));
}

/* Files of zeros, smaller and larger than what may stay a hole, and zeros at both ends of other data. */
static void test_zeros(void **state)
{
        static const size_t sizes[] = { 1, 511, 512, 4096, 65535, 65536, 65537, 200000 };
        static const char zero[200512];
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                char name[16];

                snprintf(name, sizeof(name), "zero%zu", i);
                tar_header(&tar, '0', name, NULL, 0644, sizes[i]);
                assert_int_equal(buffer_append(&tar, zero, (sizes[i] + 511) / 512 * 512), 0);
                snprintf(name, sizeof(name), "amid%zu", i);
                tar_header(&tar, '0', name, NULL, 0644, sizes[i] + 1 + sizes[i]);
                assert_int_equal(buffer_append(&tar, zero, sizes[i]), 0);
                assert_int_equal(buffer_append(&tar, "x", 1), 0);
                assert_int_equal(buffer_append(&tar, zero, (2 * sizes[i] + 1 + 511) / 512 * 512 - sizes[i] - 1), 0);
        }
        tar_end(&tar);
        unpack_well(*state, &tar, &unpacked);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                char path[32];

                snprintf(path, sizeof(path), "fs/zero%zu", i);
                assert_int_equal(stat_of(*state, path).st_size, sizes[i]);
                snprintf(path, sizeof(path), "fs/amid%zu", i);
                assert_int_equal(stat_of(*state, path).st_size, 2 * sizes[i] + 1);
        }
        assert_true(stat_of(*state, "fs/zero7").st_blocks < 200000 / 512);
}

static void test_owner_and_attributes(void **state)
{
        static const char capability[] = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;
        char value[64];
        int fd CLEANUP_CLOSE = -EBADF;

        tar_pax(&tar, "SCHILY.xattr.security.capability", capability, 20);
        tar_pax(&tar, "SCHILY.xattr.user.note", "a\0b", 3);
        tar_pax(&tar, "SCHILY.xattr.trusted.overlay.redirect", "/secret", 7);
        tar_pax(&tar, "uid", "100000", 6);
        tar_file(&tar, "ping", "x");
        tar_end(&tar);
        unpack_well(fixture, &tar, &unpacked);
        fd = openat(fixture->layer_fd, "fs/ping", O_RDONLY | O_CLOEXEC);
        assert_int_equal(stat_of(fixture, "fs/ping").st_uid, 100000);
        assert_int_equal(fgetxattr(fd, "security.capability", value, sizeof(value)), 20);
        assert_memory_equal(value, capability, 20);
        assert_int_equal(fgetxattr(fd, "user.note", value, sizeof(value)), 3);
        assert_int_equal(fgetxattr(fd, "trusted.overlay.redirect", value, sizeof(value)), -1);
}

/* A context of a build: no name means anything, what comes again replaces, and nothing is recorded. */
static void test_what_is_no_layer(void **state)
{
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        Error error CLEANUP_ERROR = {};
        StoreMemoryStream stream;
        StoreUnpacked unpacked;

        tar_file(&tar, ".wh.gone", "a file");
        tar_file(&tar, "twice", "first");
        tar_file(&tar, "twice", "then");
        tar_end(&tar);
        store_memory_stream_init(&stream, tar.data, tar.size);
        assert_int_equal(store_unpack(&stream.stream, NULL, fixture->layer_fd, true, NULL, NULL, &unpacked, &error), 0);
        assert_content(fixture, "fs/.wh.gone", "a file");
        assert_content(fixture, "fs/twice", "then");
        assert_int_equal(unpacked.entries, 3);
        assert_int_equal(unpacked.size, 10);
        assert_string_equal(unpacked.diff_id, "");
        assert_int_equal(faccessat(fixture->layer_fd, "headers.zst", F_OK, 0), -1);
}

static void test_whiteouts(void **state)
{
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;
        struct stat st;
        char value[8];
        int fd CLEANUP_CLOSE = -EBADF;
        int fd2 CLEANUP_CLOSE = -EBADF;

        tar_header(&tar, '5', "a/", NULL, 0755, 0);
        tar_header(&tar, '0', "a/.wh..wh..opq", NULL, 0644, 0);
        tar_header(&tar, '0', "a/.wh.gone", NULL, 0644, 0);
        tar_file(&tar, "b", "stays");
        tar_header(&tar, '0', ".wh.b", NULL, 0644, 0);
        tar_header(&tar, '0', ".wh.c", NULL, 0644, 0);
        tar_header(&tar, '5', "c/", NULL, 0755, 0);
        tar_file(&tar, "c/in", "new");
        tar_file(&tar, ".wh..wh.plnk", "of another engine");
        tar_end(&tar);
        unpack_well(fixture, &tar, &unpacked);
        st = stat_of(fixture, "fs/a/gone");
        assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
        fd = openat(fixture->layer_fd, "fs/a", O_RDONLY | O_CLOEXEC);
        assert_int_equal(fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)), 1);
        assert_content(fixture, "fs/b", "stays");
        assert_content(fixture, "fs/c/in", "new");
        fd2 = openat(fixture->layer_fd, "fs/c", O_RDONLY | O_CLOEXEC);
        assert_int_equal(fgetxattr(fd2, "trusted.overlay.opaque", value, sizeof(value)), 1);
        assert_int_equal(faccessat(fixture->layer_fd, "fs/.wh..wh.plnk", F_OK, 0), -1);
}

static void test_entries_that_come_again(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;

        tar_file(&tar, "f", "first");
        tar_file(&tar, "f", "second");
        tar_file(&tar, "f", "third");
        tar_header(&tar, '5', "d", NULL, 0700, 0);
        tar_file(&tar, "d/in", "inside");
        tar_header(&tar, '5', "d", NULL, 0711, 0);
        tar_file(&tar, "d/in", "inside again");
        tar_header(&tar, '2', "d", "f", 0777, 0);
        tar_header(&tar, '5', "f", NULL, 0755, 0);
        tar_header(&tar, '1', "h", "h", 0644, 0);
        tar.size -= 512;
        tar_end(&tar);
        unpack_well(*state, &tar, &unpacked);
        assert_true(S_ISLNK(stat_of(*state, "fs/d").st_mode));
        assert_true(S_ISDIR(stat_of(*state, "fs/f").st_mode));
}

static void test_links_in_parents_stay_inside(void **state)
{
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;

        tar_header(&tar, '2', "abs", "/", 0777, 0);
        tar_header(&tar, '2', "up", "../../..", 0777, 0);
        tar_header(&tar, '2', "lib", "usr/lib", 0777, 0);
        tar_file(&tar, "abs/etc/owned", "1");
        tar_file(&tar, "up/secret", "2");
        tar_file(&tar, "lib/x.so", "3");
        tar_file(&tar, "/../../rooted", "4");
        tar_header(&tar, '1', "hard", "/abs/up/secret", 0644, 0);
        tar_end(&tar);
        unpack_well(fixture, &tar, &unpacked);
        assert_content(fixture, "fs/etc/owned", "1");
        assert_content(fixture, "fs/secret", "2");
        assert_content(fixture, "fs/usr/lib/x.so", "3");
        assert_content(fixture, "fs/rooted", "4");
        assert_content(fixture, "fs/hard", "2");
        assert_content(fixture, "../secret", "old");
}

static void refused(Fixture *fixture, Buffer *tar, const char *message)
{
        StoreUnpacked unpacked;
        Error error CLEANUP_ERROR = {};

        tar_end(tar);
        assert_int_equal(unpack(fixture, tar, &unpacked, &error), OUTCOME_BAD_REQUEST);
        if (!strstr(error.message, message))
                fail_msg("%s", error.message);
        assert_content(fixture, "../secret", "old");
}

static void test_climbing_is_refused(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};

        tar_file(&tar, "a/../../secret", "new");
        refused(*state, &tar, "is outside of the layer");
}

static void test_hard_link_outside_is_refused(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};

        tar_header(&tar, '1', "x", "../../secret", 0644, 0);
        refused(*state, &tar, "is outside of the layer");
}

static void test_hard_link_through_link_stays_inside(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};

        tar_header(&tar, '2', "up", "../..", 0777, 0);
        tar_header(&tar, '1', "x", "up/secret", 0644, 0);
        refused(*state, &tar, "No such file");
}

static void test_loop_of_links_is_refused(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};

        tar_header(&tar, '2', "a", "b", 0777, 0);
        tar_header(&tar, '2', "b", "a", 0777, 0);
        tar_file(&tar, "a/x", "1");
        refused(*state, &tar, "cannot unpack");
}

/* The directory's time is set last, when its name is a link to something of the host's. */
static void test_time_of_replaced_directory(void **state)
{
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;
        struct stat before, after;

        assert_int_equal(stat(fixture->path, &before), 0);
        tar_header(&tar, '5', "d", NULL, 0755, 0);
        tar_header(&tar, '2', "d", fixture->path, 0777, 0);
        tar_end(&tar);
        unpack_well(fixture, &tar, &unpacked);
        assert_int_equal(stat(fixture->path, &after), 0);
        assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
}

static void test_broken_archives(void **state)
{
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;
        Error error CLEANUP_ERROR = {};

        tar_header(&tar, '0', "f", NULL, 0644, 5000);
        assert_int_equal(unpack(fixture, &tar, &unpacked, &error), OUTCOME_BAD_REQUEST);
        assert_non_null(strstr(error.message, "cannot unpack"));
        error_clear(&error);
        remove_directory(str_printf("%s/layer", fixture->path));
        assert_int_equal(mkdirat(fixture->fd, "layer", 0700), 0);
        fd_close(fixture->layer_fd);
        fixture->layer_fd = openat(fixture->fd, "layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        tar.size = 0;
        tar_file(&tar, "f", "1");
        tar.data[0] = 'g';
        assert_int_equal(unpack(fixture, &tar, &unpacked, &error), OUTCOME_BAD_REQUEST);
        assert_string_equal(error.message, "archive/tar: invalid tar header");
}

/* What programs write: each kind of archive must come back byte for byte. */
static void test_archives_of_programs(void **state)
{
        static const char *const commands[] = {
                "tar -C $D/in --format=gnu -cf - .",
                "tar -C $D/in --format=posix -cf - .",
                "tar -C $D/in --format=oldgnu -S -cf - .",
                "tar -C $D/in --format=posix -S -cf - .",
                "tar -C $D/in --format=posix --sparse-version=0.0 -S -cf - .",
                "tar -C $D/in --format=posix --sparse-version=0.1 -S -cf - .",
                "tar -C $D/in --format=v7 --exclude=fifo --exclude=long\\* -cf - .",
                "tar -C $D/in --format=posix --xattrs -cf - ./.",
                "cd $D/in && python3 -c 'import tarfile,sys; "
                "t=tarfile.open(fileobj=sys.stdout.buffer,mode=\"w|\",format=tarfile.PAX_FORMAT); t.add(\".\"); "
                "t.close()'",
        };
        Fixture *fixture = *state;
        char *script CLEANUP_FREE = str_printf(
                "D='%s'; mkdir $D/in && cd $D/in && mkdir -p a/b && echo hello >a/b/file && ln a/b/file a/hard && "
                "ln -s b/file a/soft && mkfifo a/fifo && printf 'x' >$(printf 'not-utf8-\\377') && "
                "L=$(printf 'long%%0120d' 0) && mkdir -p $L/$L && echo deep >$L/$L/$L && "
                "truncate -s 3M sparse && printf mid | dd of=sparse bs=1 seek=1048576 conv=notrunc status=none && "
                "printf end | dd of=sparse bs=1 seek=3000000 conv=notrunc status=none && "
                "chown 12345:54321 a/b/file && setfattr -n user.k -v v a/b/file 2>/dev/null; true",
                fixture->path);

        assert_int_equal(system(script), 0);
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                char *command CLEANUP_FREE = str_printf("D='%s'; %s", fixture->path, commands[i]);
                char *layer CLEANUP_FREE = str_printf("layer-%zu", i);
                FILE *pipe = popen(command, "re");
                Buffer tar CLEANUP_BUFFER = {};
                Fixture one = { .path = fixture->path, .fd = fixture->fd };
                StoreUnpacked unpacked;

                assert_non_null(pipe);
                while (buffer_read(&tar, fileno(pipe), 65536) > 0)
                        ;
                if (pclose(pipe) != 0 && strstr(command, "python3"))
                        continue;
                assert_int_equal(mkdirat(fixture->fd, layer, 0700), 0);
                one.layer_fd = openat(fixture->fd, layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                unpack_well(&one, &tar, &unpacked);
                assert_content(&one, "fs/a/b/file", "hello\n");
                assert_int_equal(stat_of(&one, "fs/a/b/file").st_uid, 12345);
                assert_int_equal(stat_of(&one, "fs/sparse").st_size, 3 * 1024 * 1024);
                fd_close(one.layer_fd);
        }
}

/* bsdtar's library writes both kinds of attributes, and pax records with fractions. */
static void test_archives_of_libarchive(void **state)
{
        static int (*const formats[])(
                struct archive *) = { archive_write_set_format_pax, archive_write_set_format_pax_restricted,
                                      archive_write_set_format_gnutar, archive_write_set_format_ustar };
        Fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
                struct archive *archive = archive_write_new();
                struct archive_entry *entry = archive_entry_new();
                char *layer CLEANUP_FREE = str_printf("layer-%zu", i);
                Buffer tar CLEANUP_BUFFER = {};
                Fixture one = { .path = fixture->path, .fd = fixture->fd };
                StoreUnpacked unpacked;

                assert_int_equal(formats[i](archive), ARCHIVE_OK);
                assert_int_equal(archive_write_open(archive, &tar, NULL, archive_to_buffer, NULL), ARCHIVE_OK);
                archive_entry_set_pathname(entry, "dir/file");
                archive_entry_set_filetype(entry, AE_IFREG);
                archive_entry_set_perm(entry, 0640);
                archive_entry_set_size(entry, 5);
                archive_entry_set_mtime(entry, 1650000000, i < 2 ? 5 : 0);
                archive_entry_xattr_add_entry(entry, "user.k", "v", 1);
                assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
                assert_int_equal(archive_write_data(archive, "bytes", 5), 5);
                assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
                archive_write_free(archive);
                archive_entry_free(entry);
                assert_int_equal(mkdirat(fixture->fd, layer, 0700), 0);
                one.layer_fd = openat(fixture->fd, layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                unpack_well(&one, &tar, &unpacked);
                assert_content(&one, "fs/dir/file", "bytes");
                assert_int_equal(stat_of(&one, "fs/dir/file").st_mtim.tv_nsec, i < 2 ? 5 : 0);
                fd_close(one.layer_fd);
        }
}

/* A size beyond what octal digits can say, in a header that must be read right though its content never comes. */
static void test_large_sizes(void **state)
{
        Buffer tar CLEANUP_BUFFER = {};
        StoreUnpacked unpacked;
        Error error CLEANUP_ERROR = {};

        tar_pax(&tar, "size", "9000000000", 10);
        tar_header(&tar, '0', "big", NULL, 0644, 0);
        assert_int_equal(unpack(*state, &tar, &unpacked, &error), OUTCOME_BAD_REQUEST);
        assert_non_null(strstr(error.message, "\"big\""));
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
                cmocka_unit_test_setup_teardown(test_zeros, setup, teardown),
                cmocka_unit_test_setup_teardown(test_owner_and_attributes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_is_no_layer, setup, teardown),
                cmocka_unit_test_setup_teardown(test_whiteouts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_entries_that_come_again, setup, teardown),
                cmocka_unit_test_setup_teardown(test_links_in_parents_stay_inside, setup, teardown),
                cmocka_unit_test_setup_teardown(test_climbing_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_hard_link_outside_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_hard_link_through_link_stays_inside, setup, teardown),
                cmocka_unit_test_setup_teardown(test_loop_of_links_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_time_of_replaced_directory, setup, teardown),
                cmocka_unit_test_setup_teardown(test_broken_archives, setup, teardown),
                cmocka_unit_test_setup_teardown(test_archives_of_programs, setup, teardown),
                cmocka_unit_test_setup_teardown(test_archives_of_libarchive, setup, teardown),
                cmocka_unit_test_setup_teardown(test_large_sizes, setup, teardown),
        };

        return cmocka_run_group_tests_name("store-unpack", tests, NULL, NULL);
}
