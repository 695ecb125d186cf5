/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon keeps the files of a context, as one generation of many (engine-build-keep.c); what they were is written
 * down here, in the user's cache directory, and compared with what is there now. An entry has a stamp of all that
 * changes with a file: its kind and mode, size, times, device and inode. The time of change is set by the kernel
 * whenever anything else is, so the same stamp is the same file, but for one that was changed a moment before it was
 * looked at: that one might be changed again without another time, and its stamp is none. So is that of file systems
 * whose times are not this kernel's.
 *
 * The file: strings that end in zero bytes, MAGIC, whose context it is, the key, the generation, and then a stamp and a
 * path each, in the order of the walk. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-build-keep.h"
#include "client-config.h"

#define MAGIC "berth-context-1"
#define FILE_MAX (512u * 1024 * 1024)
#define SETTLED_NS (INT64_C(2) * 1000000000)
/* The daemon keeps nothing smaller. */
#define ENTRIES_MIN 500
#define BYTES_MIN (INT64_C(4) * 1024 * 1024)
#define STAMP_SIZE 160
#define NO_STAMP "-"

void client_keep_clear(ClientKeep *keep)
{
        free(keep->path);
        free(keep->fresh);
        free(keep->identity);
        buffer_clear(&keep->old);
        if (keep->out)
                fclose(keep->out);
        *keep = (ClientKeep) {};
}

/* --- The file ----------------------------------------------------------------------------------------------------- */

static char *cache_directory(void)
{
        const char *cache = getenv("XDG_CACHE_HOME");

        return cache && *cache == '/' ? client_must(path_join(cache, "berth/context"))
                                      : client_home(".cache/berth/context");
}

/* Whose file it is stands in it; the name only has to differ mostly. */
static uint64_t weak_hash(const char *text)
{
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (; *text; text++)
                hash = (hash ^ (unsigned char) *text) * UINT64_C(0x100000001b3);
        return hash;
}

/* The string at *AT, which goes behind it; NULL at the end. */
static const char *take_string(const Buffer *file, size_t *at)
{
        const char *text = file->data + *at, *end = *at < file->size ? memchr(text, 0, file->size - *at) : NULL;

        if (!end)
                return NULL;
        *at += (size_t) (end - text) + 1;
        return text;
}

static void next_entry(ClientKeep *keep)
{
        size_t at = keep->entry ? (size_t) (keep->entry - keep->old.data) + strlen(keep->entry) + 1
                                : (size_t) (keep->stamp - keep->old.data);

        keep->stamp = take_string(&keep->old, &at);
        keep->entry = keep->stamp ? take_string(&keep->old, &at) : NULL;
}

/* Takes the key and the generation of the file, whose first entry is then the next one. */
static bool read_file(ClientKeep *keep)
{
        char *data;
        size_t size, at = 0;

        if (file_read_at(AT_FDCWD, keep->path, FILE_MAX, &data, &size) < 0)
                return false;
        keep->old = (Buffer) { .data = data, .size = size, .capacity = size };
        const char *magic = take_string(&keep->old, &at), *identity = take_string(&keep->old, &at),
                   *key = take_string(&keep->old, &at), *generation = take_string(&keep->old, &at);
        if (!str_equal(magic, MAGIC) || !str_equal(identity, keep->identity) || !key || strlen(key) != ID_LENGTH ||
            !generation || strlen(generation) != ID_LENGTH)
                return false;
        memcpy(keep->key, key, sizeof(keep->key));
        memcpy(keep->base, generation, sizeof(keep->base));
        keep->stamp = keep->old.data + at;
        next_entry(keep);
        return true;
}

static bool daemon_has_it(Client *client, const ClientKeep *keep)
{
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        CLEANUP_FREE char *target = client_must(str_printf("/_berth/context/%s", keep->key));

        return client_call(client, "GET", target, NULL, &reply, &error) == 0 &&
               str_equal(json_get_string(reply.json, "Generation"), keep->base);
}

void client_keep_forget(ClientKeep *keep)
{
        *keep->base = 0;
        keep->stamp = keep->entry = NULL;
        buffer_clear(&keep->old);
}

void client_keep_open(Client *client, const char *directory, const char *dockerfile, ClientKeep *ret)
{
        CLEANUP_FREE char *above = cache_directory(), *real = realpath(directory, NULL);
        CLEANUP_KEEP ClientKeep keep = {};

        if (!real || path_make_directories(above, 0700) < 0)
                return;
        keep.identity = client_must(str_printf("%s\n%s\n%s", client->host, real, dockerfile ?: ""));
        keep.path = client_must(str_printf("%s/%016" PRIx64, above, weak_hash(keep.identity)));
        keep.fresh = client_must(str_printf("%s.%d", keep.path, (int) getpid()));
        if (!read_file(&keep) || !daemon_has_it(client, &keep))
                client_keep_forget(&keep);
        if (!*keep.key)
                client_must_zero(id_generate(keep.key));
        client_must_zero(id_generate(keep.next));
        *ret = keep;
        keep = (ClientKeep) {};
}

char *client_keep_query(const ClientKeep *keep, const char *directory)
{
        CLEANUP_FREE char *real = keep->path ? realpath(directory, NULL) : NULL;
        CLEANUP_JSON json_t *query = keep->path ? json_pack("{ss ss}", "Key", keep->key, "Next", keep->next) : NULL;

        if (!query)
                return NULL;
        if (*keep->base)
                json_set_string(query, "Base", keep->base);
        json_set_string(query, "Description", real ?: directory); /* one that is no UTF-8 stays away */
        return client_must(json_dumps(query, JSON_COMPACT));
}

void client_keep_finish(const ClientKeep *keep, bool taken)
{
        if (keep->path && (!taken || rename(keep->fresh, keep->path) < 0))
                unlink(keep->fresh);
}

/* --- The walk ----------------------------------------------------------------------------------------------------- */

static bool has_own_times(int fd)
{
        static const unsigned long types[] = {
                EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,      BTRFS_SUPER_MAGIC,     TMPFS_MAGIC,
                F2FS_SUPER_MAGIC, 0x2fc12fc1 /* ZFS */, OVERLAYFS_SUPER_MAGIC, 0xca451a4e /* bcachefs */,
        };
        struct statfs st;

        if (fstatfs(fd, &st) < 0)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if ((unsigned long) st.f_type == types[i])
                        return true;
        return false;
}

int client_keep_begin(ClientKeep *keep, int root_fd, int (*remove)(void *userdata, const char *path), void *userdata)
{
        int fd = open(keep->fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat st;

        keep->out = fd < 0 ? NULL : fdopen(fd, "w");
        if (fstat(root_fd, &st) < 0)
                return -errno;
        keep->device = has_own_times(root_fd) ? st.st_dev : 0;
        keep->started_ns = time_now_ns();
        keep->remove = remove;
        keep->userdata = userdata;
        if (keep->out)
                fprintf(keep->out, MAGIC "%c%s%c%s%c%s%c", 0, keep->identity, 0, keep->key, 0, keep->next, 0);
        return 0;
}

static int64_t nanoseconds(const struct timespec *time)
{
        return time->tv_sec * INT64_C(1000000000) + time->tv_nsec;
}

static void make_stamp(const ClientKeep *keep, const struct stat *st, bool always, char ret[static STAMP_SIZE])
{
        if (!st)
                snprintf(ret, STAMP_SIZE, "%o", S_IFDIR);
        else if (always || st->st_dev != keep->device || nanoseconds(&st->st_ctim) > keep->started_ns - SETTLED_NS)
                snprintf(ret, STAMP_SIZE, "%o " NO_STAMP, st->st_mode);
        else
                snprintf(ret, STAMP_SIZE, "%o %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64, st->st_mode,
                         (int64_t) st->st_size, nanoseconds(&st->st_mtim), nanoseconds(&st->st_ctim),
                         (uint64_t) st->st_dev, (uint64_t) st->st_ino);
}

static bool is_same(const char *before, const char *now)
{
        return !str_has_suffix(now, NO_STAMP) && str_equal(before, now);
}

static bool is_kind(const char *before, const char *now)
{
        return ((strtoul(before, NULL, 8) ^ strtoul(now, NULL, 8)) & S_IFMT) == 0;
}

/* As the walk goes: what is below a name comes before the names behind it. */
static int compare_paths(const char *a, const char *b)
{
        while (*a && *a == *b) {
                a++;
                b++;
        }
        int left = *a == '/' ? 1 : *a ? (unsigned char) *a + 1 : 0;
        int right = *b == '/' ? 1 : *b ? (unsigned char) *b + 1 : 0;
        return left - right;
}

static bool is_below(const char *path, const char *above)
{
        const char *rest = above ? str_after_prefix(path, above) : NULL;

        return rest && *rest == '/';
}

static int drop_entry(ClientKeep *keep)
{
        const char *path = keep->entry;

        next_entry(keep);
        if (is_below(path, keep->removed))
                return 0;
        keep->removed = path;
        keep->changes++;
        return keep->remove(keep->userdata, path);
}

int client_keep_visit(ClientKeep *keep, const char *path, const struct stat *st, bool always)
{
        char stamp[STAMP_SIZE];
        bool same = false;
        int r = 0;

        while (r >= 0 && keep->entry && compare_paths(keep->entry, path) < 0)
                r = drop_entry(keep);
        make_stamp(keep, st, always, stamp);
        if (r >= 0 && keep->entry && str_equal(keep->entry, path)) {
                same = is_same(keep->stamp, stamp);
                if (same || is_kind(keep->stamp, stamp))
                        next_entry(keep);
                else
                        r = drop_entry(keep);
        }
        if (r < 0)
                return r;
        if (keep->out)
                fprintf(keep->out, "%s%c%s%c", stamp, 0, path, 0);
        keep->entries++;
        keep->bytes += st && S_ISREG(st->st_mode) ? st->st_size : 0;
        keep->changes += !same;
        return !same;
}

int client_keep_leave(ClientKeep *keep, const char *path)
{
        int r = 0;

        while (r >= 0 && keep->entry && is_below(keep->entry, path))
                r = drop_entry(keep);
        return r;
}

int client_keep_end(ClientKeep *keep)
{
        int r = 0;

        while (r >= 0 && keep->entry)
                r = drop_entry(keep);
        bool bad = !keep->out || ferror(keep->out);
        if ((keep->out && fclose(TAKE_PTR(keep->out)) != 0) || bad ||
            (!*keep->base && keep->entries < ENTRIES_MIN && keep->bytes < BYTES_MIN))
                unlink(keep->fresh);
        return r;
}
