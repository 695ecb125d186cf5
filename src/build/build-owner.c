/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owners by number or by the names of a root's own databases. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/mount.h"
#include "build-private.h"

#define DATABASE_MAX (4u * 1024 * 1024)

/* The numbers in the third and fourth field of NAME's line. -ENOENT where it has none. */
static int find_line(int root_fd, const char *file, const char *name, uint32_t *ret_third, uint32_t *ret_fourth)
{
        CLEANUP_CLOSE int fd = mount_path_open(root_fd, file, O_RDONLY | O_NONBLOCK);
        CLEANUP_BUFFER Buffer text = { 0 };
        ssize_t n;

        if (fd < 0)
                return -ENOENT;
        while (text.size < DATABASE_MAX && (n = buffer_read(&text, fd, 65536)) > 0)
                ;
        for (char *rest = text.data, *line; (line = strsep(&rest, "\n"));) {
                char *fields[4] = { NULL };
                int64_t third, fourth = 0;

                for (size_t i = 0; i < 4; i++)
                        fields[i] = strsep(&line, ":");
                if (!str_equal(fields[0], name) || str_to_int64(fields[2] ?: "", 0, UINT32_MAX - 1, &third) < 0)
                        continue;
                (void) str_to_int64(fields[3] ?: "", 0, UINT32_MAX - 1, &fourth);
                *ret_third = (uint32_t) third;
                *ret_fourth = (uint32_t) fourth;
                return 0;
        }
        return -ENOENT;
}

int build_parse_owner(int root_fd, const char *text, uint32_t *ret_uid, uint32_t *ret_gid, Error *error)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *group = copy, *user = copy ? strsep(&group, ":") : NULL;
        uint32_t ignored, first_group = 0;
        int64_t number;

        if (!copy)
                return -ENOMEM;
        if (str_to_int64(user, 0, UINT32_MAX - 1, &number) >= 0) {
                *ret_uid = (uint32_t) number;
                first_group = (uint32_t) number;
        } else if (find_line(root_fd, "etc/passwd", user, ret_uid, &first_group) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "unable to convert uid/gid chown string to host mapping: can't find uid for user %s: "
                                 "no such user: %s",
                                 user, user);
        *ret_gid = first_group;
        if (!group) /* a group of the user's name, where there is one */
                (void) find_line(root_fd, "etc/group", user, ret_gid, &ignored);
        if (!group)
                return 0;
        if (str_to_int64(group, 0, UINT32_MAX - 1, &number) >= 0)
                *ret_gid = (uint32_t) number;
        else if (find_line(root_fd, "etc/group", group, ret_gid, &ignored) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "unable to convert uid/gid chown string to host mapping: can't find gid for group %s: "
                                 "no such group: %s",
                                 group, group);
        return 0;
}
