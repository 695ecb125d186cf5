/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "user[:group]" against the passwd and group files inside the root, which the image's author wrote: bounded reads of
 * regular files, no library that would look at the host's. The rules are Docker's: the first entry that matches by name
 * or by number wins, numbers need no entry, an explicit group leaves out the supplementary ones. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

#define DATABASE_MAX (8u * 1024 * 1024)
#define GROUPS_MAX 65536

void runtime_user_clear(RuntimeUser *user)
{
        free(user->groups);
        free(user->home);
        *user = (RuntimeUser) {};
}

/* The file's text; empty where there is none. */
static int database_read(int root_fd, const char *path, char **ret_text)
{
        CLEANUP_CLOSE int fd = -EBADF;
        CLEANUP_BUFFER Buffer buffer = {};
        struct stat st;
        ssize_t n;
        char *text;

        /* Not blocking, as it could be a fifo. */
        fd = mount_path_open(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (fd >= 0 && fstat(fd, &st) >= 0 && S_ISREG(st.st_mode)) {
                if (st.st_size > DATABASE_MAX)
                        return -EFBIG;
                do {
                        /* One byte more finds the end without another buffer. */
                        n = buffer_read(&buffer, fd, MAX((size_t) st.st_size, 4095) + 1);
                        if (n < 0)
                                return (int) n;
                        if (buffer.size > DATABASE_MAX)
                                return -EFBIG;
                } while (n > 0);
        }
        text = buffer_take(&buffer);
        if (!text)
                return -ENOMEM;
        *ret_text = text;
        return 0;
}

/* Cuts the next line off *REST into up to 7 fields; missing ones are empty. False at the end. */
static bool database_next(char **rest, char *fields[static 7])
{
        static char empty[1] = "";
        char *line = strsep(rest, "\n");

        if (!line)
                return false;
        for (size_t i = 0; i < 7; i++) {
                char *field = line ? strsep(&line, ":") : NULL;

                fields[i] = field ? field : empty;
        }
        return true;
}

/* A user or group number, or -1. */
static int64_t number(const char *s)
{
        int64_t value;

        return str_to_int64(s, 0, INT_MAX, &value) < 0 ? -1 : value;
}

static int user_add_group(RuntimeUser *user, gid_t gid)
{
        gid_t *groups;

        for (size_t i = 0; i < user->n_groups; i++)
                if (user->groups[i] == gid)
                        return 0;
        if (user->n_groups >= GROUPS_MAX)
                return -E2BIG;
        groups = reallocarray(user->groups, user->n_groups + 1, sizeof(*groups));
        if (!groups)
                return -ENOMEM;
        user->groups = groups;
        user->groups[user->n_groups++] = gid;
        return 0;
}

/* Looks the user up; RET_NAME is the entry's name, empty where only a number is known. */
static int user_find(RuntimeUser *user, char *passwd, const char *wanted, char **ret_name, Error *ret_error)
{
        int64_t wanted_id = number(wanted);
        char *fields[7];

        while (database_next(&passwd, fields)) {
                int64_t uid = number(fields[2]);

                if (fields[0][0] == '\0' || fields[0][0] == '#' || uid < 0)
                        continue;
                if (*wanted ? !str_equal(fields[0], wanted) && uid != wanted_id : uid != 0)
                        continue;
                user->uid = (uid_t) uid;
                user->gid = (gid_t) MAX(number(fields[3]), 0);
                user->home = strdup(fields[5]);
                *ret_name = strdup(fields[0]);
                return user->home && *ret_name ? 0 : -ENOMEM;
        }
        if (*wanted && wanted_id < 0) {
                bool range = strspn(wanted, "-0123456789") == strlen(wanted);

                error_set(ret_error, OUTCOME_BAD_REQUEST,
                          range ? "uids and gids must be in range 0-2147483647"
                                : "unable to find user %s: no matching entries in passwd file",
                          wanted);
                return -ESRCH;
        }
        user->uid = (uid_t) MAX(wanted_id, 0);
        user->home = strdup("/");
        *ret_name = strdup("");
        return user->home && *ret_name ? 0 : -ENOMEM;
}

static bool list_contains(const char *list, const char *name)
{
        size_t length = strlen(name);

        while (length > 0 && *list) {
                size_t word = strcspn(list, ",");

                if (word == length && strncmp(list, name, length) == 0)
                        return true;
                list += word + (list[word] == ',');
        }
        return false;
}

/* The number of a group given by name or number. UNABLE begins the refusal, which Docker spells in two ways. */
static int group_find(const char *group_text, const char *wanted, const char *unable, gid_t *ret_gid, Error *ret_error)
{
        CLEANUP_FREE char *copy = strdup(group_text);
        char *rest = copy, *fields[7];
        int64_t wanted_id = number(wanted);

        if (!copy)
                return -ENOMEM;
        while (database_next(&rest, fields)) {
                int64_t gid = number(fields[2]);

                if (gid < 0 || fields[0][0] == '\0' || fields[0][0] == '#')
                        continue;
                if (str_equal(fields[0], wanted) || gid == wanted_id) {
                        *ret_gid = (gid_t) gid;
                        return 0;
                }
        }
        if (wanted_id < 0) {
                error_set(ret_error, OUTCOME_BAD_REQUEST, "%s to find group %s: no matching entries in group file",
                          unable, wanted);
                return -ESRCH;
        }
        *ret_gid = (gid_t) wanted_id;
        return 0;
}

/* Every group that lists the user. */
static int user_add_member_groups(RuntimeUser *user, const char *group_text, const char *name)
{
        CLEANUP_FREE char *copy = strdup(group_text);
        char *rest = copy, *fields[7];

        if (!copy)
                return -ENOMEM;
        while (database_next(&rest, fields)) {
                int64_t gid = number(fields[2]);
                int r;

                if (gid < 0 || fields[0][0] == '#' || !list_contains(fields[3], name))
                        continue;
                r = user_add_group(user, (gid_t) gid);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int user_resolve_name(RuntimeUser *user, int root_fd, const char *text, const char *extra, Error *ret_error)
{
        CLEANUP_FREE char *passwd = NULL, *group_text = NULL, *name = NULL, *copy = strdup(text), *more = NULL;
        char *group_name = copy, *user_name, *word;
        int r;

        if (!copy)
                return -ENOMEM;
        user_name = strsep(&group_name, ":");
        r = database_read(root_fd, "/etc/passwd", &passwd);
        if (r >= 0)
                r = user_find(user, passwd, user_name, &name, ret_error);
        if (r >= 0)
                r = database_read(root_fd, "/etc/group", &group_text);
        if (r >= 0 && !str_empty(group_name))
                r = group_find(group_text, group_name, "unable", &user->gid, ret_error);
        /* The primary group is among the others too, so that leaving it by setgid(2) is no way round a file's
         * denial. */
        if (r >= 0)
                r = user_add_group(user, user->gid);
        if (r >= 0 && str_empty(group_name))
                r = user_add_member_groups(user, group_text, name);
        if (r < 0 || str_empty(extra))
                return r;
        more = strdup(extra);
        if (!more)
                return -ENOMEM;
        for (char *rest = more; r >= 0 && (word = strsep(&rest, ","));) {
                gid_t gid = 0;

                r = group_find(group_text, word, "Unable", &gid, ret_error);
                if (r >= 0)
                        r = user_add_group(user, gid);
        }
        return r;
}

int runtime_user_resolve(int root_fd, const json_t *config, RuntimeUser *ret_user, Error *ret_error)
{
        CLEANUP(runtime_user_clear) RuntimeUser user = {};
        json_t *object = json_get_object(json_get_object(config, "process"), "user"), *gid;
        const char *name = json_get_string(object, "username");
        const char *extra = json_get_string(json_get_object(config, "annotations"), "berth.group-add");
        CLEANUP_FREE char *numbers = NULL;
        size_t i;
        int r = 0;

        if (name)
                r = user_resolve_name(&user, root_fd, name, extra, ret_error);
        else {
                numbers = str_printf("%lld", (long long) json_get_int(object, "uid", 0));
                if (!numbers)
                        return -ENOMEM;
                r = user_resolve_name(&user, root_fd, numbers, NULL, ret_error);
                user.gid = (gid_t) json_get_int(object, "gid", 0);
                user.n_groups = 0;
        }
        json_array_foreach(json_get_array(object, "additionalGids"), i, gid) {
                if (r < 0)
                        break;
                r = user_add_group(&user, (gid_t) json_integer_value(gid));
        }
        if (r < 0)
                return r;
        *ret_user = user;
        user = (RuntimeUser) {};
        return 0;
}
