/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking all that the store holds, without changing any of it: every digest again, every name that one thing has for
 * another, every file's kind, owner, mode and time, and nothing there that nobody names. The store is not opened, as
 * opening mends what a crash left: that is to be seen here. Each fault is told in one line. A directory in staging is
 * what layers are compared in; were this process killed, the next opening would remove it. */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-compare.h"
#include "store-headers.h"
#include "store-private.h"
#include "store-stage.h"
#include "store-tree.h"

typedef struct Check {
        int image_fd, record_fd, algorithm_fd, blob_fd, layer_fd, staging_fd; /* owned; negative where there is none */
        json_t *blobs, *layers;                                               /* owned; what images name, as keys */
        json_t *sizes;                                                        /* owned; a layer's size by diff ID */
        StoreCheck *result;
        void (*fault)(void *userdata, const char *text);
        void *userdata;
} Check;

static void check_clear(Check *check)
{
        fd_close(check->image_fd);
        fd_close(check->record_fd);
        fd_close(check->algorithm_fd);
        fd_close(check->blob_fd);
        fd_close(check->layer_fd);
        fd_close(check->staging_fd);
        json_decref(check->blobs);
        json_decref(check->layers);
        json_decref(check->sizes);
}

__attribute__((format(printf, 2, 3))) static void fault(Check *check, const char *format, ...)
{
        char *text CLEANUP_FREE = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);
        check->result->faults++;
        check->fault(check->userdata, text ?: "out of memory");
}

static int for_each(Check *check, int dirfd, void (*func)(Check *check, const char *name))
{
        int fd = dirfd < 0 ? -EBADF : openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir CLEANUP_CLOSEDIR = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;

        if (dirfd < 0)
                return 0;
        if (!dir) {
                int r = -errno;

                fd_close(fd);
                return r;
        }
        while ((errno = 0, entry = readdir(dir)))
                if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
                        func(check, entry->d_name);
        return errno > 0 ? -errno : 0;
}

/* What the store makes for itself belongs to its user, and to nobody else. */
static void check_form(Check *check, int dirfd, const char *name, const char *shown, mode_t mode)
{
        struct stat st;

        if (dirfd < 0 || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return;
        if ((st.st_mode & S_IFMT) != (mode & S_IFMT))
                fault(check, "%s%s: is of another kind", shown, name);
        else if ((st.st_mode & 07777) != (mode & 07777))
                fault(check, "%s%s: has the mode %o", shown, name, st.st_mode & 07777);
        if (st.st_uid != geteuid() || st.st_gid != getegid())
                fault(check, "%s%s: belongs to %u:%u", shown, name, st.st_uid, st.st_gid);
        if (S_ISREG(st.st_mode) && st.st_nlink != 1)
                fault(check, "%s%s: has other links", shown, name);
}

/* --- Layers ------------------------------------------------------------------------------------------------------- */

typedef struct Difference {
        Check *check;
        const char *layer;
} Difference;

static void tell_of_layer(void *userdata, const char *path, const char *what)
{
        const Difference *difference = userdata;

        fault(difference->check, "layer/%s/%s: %s", difference->layer, path, what);
}

/* The tar is made again: its digest tells of every byte of headers and files, and what is unpacked from it what the
 * files have to be like. */
static void compare_layer(Check *check, const char *name, int fd, int scratch_fd, const json_t *record)
{
        Difference difference = { check, name };
        StoreCompare compare = {
                .layer_fd = fd, .scratch_fd = scratch_fd, .tell = tell_of_layer, .userdata = &difference
        };
        StoreUnpacked found;
        int r = store_compare(&compare, &found);

        if (r < 0) {
                fault(check, "layer/%s: its tar cannot be written again: %s", name,
                      r == -EBADMSG ? "its files or headers have changed" : strerror(-r));
                return;
        }
        if (!str_equal(found.diff_id, json_get_string(record, "DiffID")))
                fault(check, "layer/%s: its tar has the digest %s", name, found.diff_id);
        else if (found.tar_size != json_get_int(record, "TarSize", -1))
                fault(check, "layer/%s: its tar has %lld bytes", name, (long long) found.tar_size);
        if (found.size != json_get_int(record, "Size", -1) || found.entries != json_get_int(record, "Entries", -1))
                fault(check, "layer/%s: its record has other numbers than its tar", name);
}

static void check_content(Check *check, const char *name, int fd, const json_t *record)
{
        int scratch CLEANUP_CLOSE = -EBADF;
        char id[ID_LENGTH + 1], *directory CLEANUP_FREE = NULL;
        int r = check->staging_fd < 0 ? -ENOENT : id_generate(id);

        if (r >= 0)
                directory = str_printf("%s%.16s", STORE_CHECK_PREFIX, id);
        if (r >= 0 && (!directory || mkdirat(check->staging_fd, directory, 0700) < 0))
                r = directory ? -errno : -ENOMEM;
        if (r >= 0) {
                scratch = openat(check->staging_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = scratch < 0 ? -errno : 0;
        }
        if (r < 0)
                fault(check, "layer/%s: cannot be compared: %s", name, strerror(-r));
        else
                compare_layer(check, name, fd, scratch, record);
        if (directory)
                (void) path_remove_tree_at(check->staging_fd, directory);
}

static void check_layer_files(Check *check, const char *name, int fd)
{
        /* The trees' own modes are compared with them. */
        static const struct {
                const char *name;
                mode_t mode;
        } known[] = {
                { STORE_TREE_FS, 0 },
                { STORE_TREE_KEPT, 0 },
                { STORE_HEADERS_NAME, S_IFREG | 0600 },
                { STORE_LAYER_RECORD, S_IFREG | 0600 },
                { STORE_SOURCES_NAME, S_IFREG | 0600 },
        };
        char *shown CLEANUP_FREE = str_printf("layer/%s/", name);
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir CLEANUP_CLOSEDIR = copy >= 0 ? fdopendir(copy) : NULL;
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                bool found = str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..");

                for (size_t i = 0; i < ARRAY_SIZE(known) && !found; i++) {
                        found = str_equal(entry->d_name, known[i].name);
                        if (found && known[i].mode)
                                check_form(check, fd, entry->d_name, shown ?: "", known[i].mode);
                }
                if (!found)
                        fault(check, "layer/%s/%s: belongs to nothing", name, entry->d_name);
        }
}

static void check_layer(Check *check, const char *name)
{
        int fd CLEANUP_CLOSE = openat(check->layer_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        json_t *record CLEANUP_JSON = NULL;
        char expected[STORE_LAYER_ID_LENGTH + 1];
        const char *diff_id;
        int r;

        check->result->layers++;
        check_form(check, check->layer_fd, name, "layer/", S_IFDIR | 0700);
        r = fd < 0 ? -errno : json_read_at(fd, STORE_LAYER_RECORD, &record);
        diff_id = json_get_string(record, "DiffID");
        if (r < 0 || !store_digest_is_valid(diff_id)) {
                fault(check, "layer/%s: no record: %s", name, strerror(r < 0 ? -r : EBADMSG));
                return;
        }
        store_layer_name(diff_id, expected);
        if (!str_equal(expected, name))
                fault(check, "layer/%s: holds the layer %s", name, diff_id);
        if (!json_object_get(check->layers, diff_id))
                fault(check, "layer/%s: no image names it", name);
        (void) json_set_int(check->sizes, diff_id, json_get_int(record, "Size", -1));
        check_layer_files(check, name, fd);
        check_content(check, name, fd, record);
}

/* --- Images ------------------------------------------------------------------------------------------------------- */

static void note_names(json_t *set, const json_t *names)
{
        json_t *item;
        size_t i;

        json_array_foreach(names, i, item)
                if (json_is_string(item))
                        (void) json_object_set_new(set, json_string_value(item), json_true());
}

static void check_configuration(Check *check, const char *hex, const json_t *record)
{
        json_t *config CLEANUP_JSON = NULL, *diff_ids;
        int r = json_read_at(check->blob_fd, hex, &config);

        if (r < 0) {
                fault(check, "image %.12s: no configuration: %s", hex, strerror(-r));
                return;
        }
        diff_ids = store_config_layers(config);
        if (json_array_size(diff_ids) + json_array_size(json_get_array(record, "Layers")) > 0 &&
            !json_equal(diff_ids, json_get_array(record, "Layers")))
                fault(check, "image %.12s: its record names other layers than its configuration", hex);
}

/* That an image was removed, beside its record. */
static bool is_mark(const Check *check, const char *name, const char *hex)
{
        char record[ID_LENGTH + 8];

        snprintf(record, sizeof(record), "%.64s.json", hex);
        return strlen(hex) == ID_LENGTH && str_equal(name + ID_LENGTH, STORE_REMOVED_SUFFIX) &&
               faccessat(check->record_fd, record, F_OK, 0) == 0;
}

static void check_record(Check *check, const char *name)
{
        json_t *record CLEANUP_JSON = NULL, *item, *blobs;
        char *hex CLEANUP_FREE = strndup(name, strcspn(name, "."));
        size_t i;
        int r;

        if (hex && is_mark(check, name, hex)) {
                check_form(check, check->record_fd, name, "image/record/", S_IFREG | 0600);
                return;
        }
        if (!hex || strlen(hex) != ID_LENGTH || !id_is_prefix(hex) || !str_has_suffix(name, ".json") ||
            strlen(name) != ID_LENGTH + 5) {
                fault(check, "image/record/%s: belongs to nothing", name);
                return;
        }
        check->result->images++;
        check_form(check, check->record_fd, name, "image/record/", S_IFREG | 0600);
        r = json_read_at(check->record_fd, name, &record);
        if (r < 0) {
                fault(check, "image %.12s: no record: %s", hex, strerror(-r));
                return;
        }
        blobs = json_get_array(record, "Blobs");
        note_names(check->blobs, blobs);
        note_names(check->layers, json_get_array(record, "Layers"));
        check_configuration(check, hex, record);
        json_array_foreach(blobs, i, item) {
                const char *digest = json_string_value(item);

                if (!store_digest_is_valid(digest) ||
                    faccessat(check->blob_fd, store_digest_hex(digest), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                        fault(check, "image %.12s: its blob %s is missing", hex, digest ?: "?");
        }
}

/* After the layers were read. */
static void check_record_sizes(Check *check, const char *name)
{
        json_t *record CLEANUP_JSON = NULL, *item, *sizes, *size;
        int64_t total = 0;
        size_t i;

        if (json_read_at(check->record_fd, name, &record) < 0)
                return;
        sizes = json_get_array(record, "Sizes");
        json_array_foreach(json_get_array(record, "Layers"), i, item) {
                size = json_object_get(check->sizes, json_string_value(item) ?: "");
                total += json_integer_value(size);
                if (!size)
                        fault(check, "image %.12s: its layer %s is missing", name, json_string_value(item) ?: "?");
                else if (!json_equal(size, json_array_get(sizes, i)))
                        fault(check, "image %.12s: its record has another size of layer %s", name,
                              json_string_value(item));
        }
        if (total != json_get_int(record, "Size", -1))
                fault(check, "image %.12s: its record has another size than its layers", name);
}

static void check_blob(Check *check, const char *name)
{
        char *data CLEANUP_FREE = NULL, digest[STORE_DIGEST_SIZE], found[STORE_DIGEST_SIZE];
        size_t size;
        int r;

        check->result->blobs++;
        check_form(check, check->blob_fd, name, "image/blobs/sha256/", S_IFREG | 0600);
        r = file_read_at(check->blob_fd, name, STORE_BLOB_SIZE_MAX, &data, &size);
        if (r >= 0)
                r = store_digest_data(data, size, found);
        snprintf(digest, sizeof(digest), "%s%.64s", STORE_DIGEST_PREFIX, name);
        if (r < 0)
                fault(check, "blob %.12s: cannot be read: %s", name, strerror(-r));
        else if (!str_equal(digest, found))
                fault(check, "blob %.12s: has the digest %s", name, found);
        if (!json_object_get(check->blobs, digest))
                fault(check, "blob %.12s: no image names it", name);
}

/* --- References, and what is left over ---------------------------------------------------------------------------- */

static int check_references(Check *check)
{
        json_t *references CLEANUP_JSON = NULL, *value;
        const char *key;
        int r;

        r = check->image_fd < 0 ? -ENOENT : json_read_at(check->image_fd, STORE_REFERENCES_NAME, &references);
        if (r == -ENOENT)
                return 0;
        if (r == -EBADMSG) {
                fault(check, "image/" STORE_REFERENCES_NAME ": cannot be read");
                return 0;
        }
        json_object_foreach(references, key, value) {
                StoreReference reference CLEANUP_REFERENCE = {};
                const char *id = json_string_value(value);
                char *normal CLEANUP_FREE = NULL, *record CLEANUP_FREE = NULL;

                check->result->references++;
                if (store_reference_parse(key, &reference, NULL) == 0)
                        normal = store_reference_normal(&reference);
                if (!str_equal(normal, key) || !(reference.tag || reference.digest))
                        fault(check, "reference %s: is no full name", key);
                if (store_digest_is_valid(id))
                        record = str_printf("%s.json", store_digest_hex(id));
                if (!record || faccessat(check->record_fd, record, F_OK, 0) < 0)
                        fault(check, "reference %s: there is no image %s", key, id ?: "?");
        }
        return r < 0 ? r : 0;
}

static void check_leftover(Check *check, const char *name)
{
        fault(check, "staging/%s: left over", name);
}

static void check_image_file(Check *check, const char *name)
{
        mode_t mode = str_equal(name, STORE_REFERENCES_NAME) ? S_IFREG | 0600 : S_IFDIR | 0700;

        if (str_equal(name, STORE_REMOVALS_NAME)) {
                fault(check, "image/" STORE_REMOVALS_NAME ": left over");
                return;
        }
        check_form(check, check->image_fd, name, "image/", mode);
        if (!str_equal(name, "record") && !str_equal(name, "blobs") && !str_equal(name, STORE_REFERENCES_NAME))
                fault(check, "image/%s: belongs to nothing", name);
}

static void check_algorithm(Check *check, const char *name)
{
        check_form(check, check->algorithm_fd, name, "image/blobs/", S_IFDIR | 0700);
        if (!str_equal(name, "sha256"))
                fault(check, "image/blobs/%s: belongs to nothing", name);
}

static int open_part(const char *root, const char *name, int *ret_fd)
{
        char *path CLEANUP_FREE = path_join(root, name);

        if (!path)
                return -ENOMEM;
        *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret_fd < 0 && errno != ENOENT ? -errno : 0;
}

static int open_parts(Check *check, const char *root)
{
        const struct {
                const char *name;
                int *fd;
        } parts[] = {
                { "image", &check->image_fd },           { "image/record", &check->record_fd },
                { "image/blobs", &check->algorithm_fd }, { "image/blobs/sha256", &check->blob_fd },
                { "layer", &check->layer_fd },           { "staging", &check->staging_fd },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(parts); i++)
                r = open_part(root, parts[i].name, parts[i].fd);
        return r;
}

/* What is left over is looked for first, as layers are compared in a directory of staging. */
static int check_all(Check *check)
{
        const struct {
                int fd;
                void (*func)(Check *check, const char *name);
        } steps[] = {
                { check->staging_fd, check_leftover },    { check->image_fd, check_image_file },
                { check->record_fd, check_record },       { check->algorithm_fd, check_algorithm },
                { check->blob_fd, check_blob },           { check->layer_fd, check_layer },
                { check->record_fd, check_record_sizes },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
                r = for_each(check, steps[i].fd, steps[i].func);
        return r < 0 ? r : check_references(check);
}

int store_check(const char *root, void (*tell)(void *userdata, const char *text), void *userdata, StoreCheck *ret)
{
        StoreCheck result = {};
        Check check CLEANUP(check_clear) = { .image_fd = -EBADF, .record_fd = -EBADF, .blob_fd = -EBADF };
        int r;

        check.algorithm_fd = check.layer_fd = check.staging_fd = -EBADF;
        check.result = &result;
        check.fault = tell;
        check.userdata = userdata;
        check.blobs = json_object();
        check.layers = json_object();
        check.sizes = json_object();
        r = check.blobs && check.layers && check.sizes ? open_parts(&check, root) : -ENOMEM;
        if (r >= 0)
                r = check_all(&check);
        if (r >= 0)
                *ret = result;
        return r;
}
