/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes as records and directories: rules, making, finding and removing. A volume is made in the trash directory and
 * renamed into its place, and renamed back there to be removed: it is whole or it is not there. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/mount.h"
#include "engine-volume-private.h"

static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

/* The driver's options, and those that each needs beside it. */
static const struct {
        const char *name;
        const char *needs[2];
} driver_options[] = {
        { "type", { "device" } },
        { "device", { "type" } },
        { "o", { "device", "type" } },
        { "size", {} },
};

/* --- Rules -------------------------------------------------------------------------------------------------------- */

static bool name_is_valid(const char *name)
{
        return strlen(name) >= 2 && strlen(name) <= NAME_MAX && !strchr("_.-", name[0]) &&
               strspn(name, name_characters) == strlen(name);
}

static int check_name(const char *name, Error *error)
{
        if (strlen(name) == 1)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "volume name is too short, names should be at least two alphanumeric characters");
        if (strlen(name) > NAME_MAX)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "volume name is too long: at most %d characters are allowed", NAME_MAX);
        if (!name_is_valid(name))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "\"%s\" includes invalid characters for a local volume name, only "
                                 "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, "
                                 "use absolute path",
                                 name);
        return 0;
}

static int check_size(const Engine *engine, const char *text, Error *error)
{
        int64_t size;

        if (str_to_size(text, 1024, &size) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid size: '%s'", text);
        return size == 0 || mount_quota_supported(engine->volume_root)
                       ? 0
                       : error_set(error, OUTCOME_BAD_REQUEST, "quota size requested but no quota support");
}

static int check_options(const Engine *engine, const json_t *options, Error *error)
{
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) options, key, value) {
                size_t i = 0;

                while (i < ARRAY_SIZE(driver_options) && !str_equal(driver_options[i].name, key))
                        i++;
                if (i == ARRAY_SIZE(driver_options))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid option: \"%s\"", key);
        }
        for (size_t i = 0; i < ARRAY_SIZE(driver_options); i++)
                for (size_t j = 0; j < 2 && json_get_string(options, driver_options[i].name); j++)
                        if (driver_options[i].needs[j] &&
                            str_empty(json_get_string(options, driver_options[i].needs[j])))
                                return error_set(error, OUTCOME_BAD_REQUEST, "missing required option: \"%s\"",
                                                 driver_options[i].needs[j]);
        return json_get_string(options, "size") ? check_size(engine, json_get_string(options, "size"), error) : 0;
}

int volume_check(const Engine *engine, const VolumeRequest *request, Error *error)
{
        if (!str_empty(request->driver) && !str_equal(request->driver, VOLUME_DRIVER))
                return error_set(error, OUTCOME_NOT_FOUND, "error looking up volume plugin %s: plugin \"%s\" not found",
                                 request->driver, request->driver);
        int r = str_empty(request->name) ? 0 : check_name(request->name, error);
        return r != 0 ? r : check_options(engine, request->options, error);
}

/* --- Finding ------------------------------------------------------------------------------------------------------ */

char *volume_path(const Engine *engine, const char *name, const char *below)
{
        return str_printf("%s/%s%s%s", engine->volume_root, name, below ? "/" : "", below ? below : "");
}

/* -ENOENT where there is none. */
static int read_record(const Engine *engine, const char *name, json_t **ret_record)
{
        CLEANUP_FREE char *path = volume_path(engine, name, VOLUME_RECORD);
        CLEANUP_JSON json_t *record = NULL;

        if (!path)
                return -ENOMEM;
        if (!name_is_valid(name))
                return -ENOENT;
        int r = json_read_at(AT_FDCWD, path, &record);
        if (r < 0)
                return r == -ENOTDIR ? -ENOENT : r;
        if (!str_equal(json_get_string(record, "Name"), name))
                return -EBADMSG;
        *ret_record = TAKE_PTR(record);
        return 0;
}

int volume_read(Engine *engine, const char *name, json_t **ret_record, Error *error)
{
        int r = read_record(engine, name, ret_record);

        if (r == -ENOENT)
                return error_set(error, OUTCOME_NOT_FOUND, "get %s: no such volume", name);
        if (r == -EBADMSG)
                return error_set(error, OUTCOME_FAILED, "get %s: the volume's record cannot be read", name);
        return r;
}

int volume_each(Engine *engine, int (*each)(const char *name, const json_t *record, void *userdata), void *userdata)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir(engine->volume_root);
        struct dirent *entry;

        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                CLEANUP_JSON json_t *record = NULL;

                if (entry->d_name[0] == '.')
                        continue;
                int r = read_record(engine, entry->d_name, &record);
                if (r == -EBADMSG)
                        log_warning("The record of volume %s cannot be read; the volume is left out", entry->d_name);
                if (r >= 0)
                        r = each(entry->d_name, record, userdata);
                else if (r == -ENOENT || r == -EBADMSG)
                        r = 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

json_t *volume_object(const Engine *engine, const json_t *record)
{
        const char *name = json_get_string_or(record, "Name", "");
        CLEANUP_FREE char *path = volume_path(engine, name, VOLUME_DATA);
        CLEANUP_JSON json_t *labels = json_sorted(json_object_get(record, "Labels"));
        CLEANUP_JSON json_t *options = json_sorted(json_object_get(record, "Options"));
        char created[TIME_RFC3339_SIZE];

        time_format_rfc3339(json_get_int(record, "CreatedNs", 0) / 1000000000 * 1000000000, created);
        return json_pack("{ss ss sO? ss* ss sO? ss}", "CreatedAt", created, "Driver", VOLUME_DRIVER, "Labels", labels,
                         "Mountpoint", path, "Name", name, "Options", options, "Scope", "local");
}

/* --- Making ------------------------------------------------------------------------------------------------------- */

static json_t *new_record(const char *name, const VolumeRequest *request)
{
        json_t *labels = json_is_object(request->labels) ? json_copy((json_t *) request->labels) : NULL;
        json_t *options = json_is_object(request->options) ? json_copy((json_t *) request->options) : NULL;

        if (str_empty(request->name)) {
                if (!labels)
                        labels = json_object();
                json_set_string(labels, VOLUME_ANONYMOUS_LABEL, "");
        }
        return json_pack("{ss sI ss so? so?}", "Name", name, "CreatedNs", (json_int_t) time_now_ns(), "Driver",
                         VOLUME_DRIVER, "Labels", labels, "Options", options);
}

static int sync_directory(const char *path)
{
        CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* A path in the trash that nothing else has. */
static char *trash_path(const Engine *engine)
{
        char id[ID_LENGTH + 1];

        return id_generate(id) < 0 ? NULL : str_printf("%s/%s/%s", engine->volume_root, VOLUME_TRASH, id);
}

/* The volume's own size, as far as it has one. */
static int limit_size(const char *data, const json_t *record)
{
        const char *text = json_get_string(json_object_get(record, "Options"), "size");
        int64_t size = 0;

        if (text)
                (void) str_to_size(text, 1024, &size);
        return size > 0 ? mount_quota_set(data, (uint64_t) size) : 0;
}

/* Makes the whole directory aside, and renames it. */
static int make_directory(const Engine *engine, const char *name, const json_t *record)
{
        CLEANUP_FREE char *staged = trash_path(engine), *final = volume_path(engine, name, NULL);
        CLEANUP_FREE char *data = staged ? path_join(staged, VOLUME_DATA) : NULL;

        if (!data || !final)
                return -ENOMEM;
        if (mkdir(staged, 0711) < 0)
                return -errno;
        CLEANUP_CLOSE int fd = open(staged, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = fd < 0 ? -errno : 0;
        if (r >= 0 && (fchmod(fd, 0711) < 0 || mkdir(data, 0755) < 0 || chmod(data, 0755) < 0))
                r = -errno;
        if (r >= 0)
                r = limit_size(data, record);
        if (r >= 0)
                r = json_write_at(fd, VOLUME_RECORD, record, 0600);
        if (r >= 0 && rename(staged, final) < 0)
                r = -errno;
        if (r >= 0)
                return sync_directory(engine->volume_root);
        path_remove_tree_at(AT_FDCWD, staged);
        return r;
}

int volume_create(Engine *engine, const VolumeRequest *request, json_t **ret_record, Error *error)
{
        char id[ID_LENGTH + 1];
        CLEANUP_FREE char *prefix = NULL;
        int r = id_generate(id);

        if (r < 0)
                return r;
        const char *name = str_empty(request->name) ? id : request->name;
        prefix = str_printf("create %s", name);
        if (!prefix)
                return -ENOMEM;
        r = volume_check(engine, request, error);
        if (r > 0)
                return error_prefix(error, prefix);
        if (r == 0)
                r = read_record(engine, name, ret_record);
        if (r != -ENOENT)
                return r == -EBADMSG
                               ? error_set(error, OUTCOME_FAILED, "%s: the volume's record cannot be read", prefix)
                               : r;
        CLEANUP_JSON json_t *record = new_record(name, request);
        r = record ? make_directory(engine, name, record) : -ENOMEM;
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "%s: error while creating volume root path: %s", prefix,
                                 strerror(-r));
        engine_event_emit(engine, "volume", "create", name, json_pack("{ss}", "driver", VOLUME_DRIVER));
        *ret_record = TAKE_PTR(record);
        return 0;
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

static bool names_volume(const Container *container, const char *name)
{
        json_t *point;
        size_t i;

        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point)
                if (str_equal(json_get_string(point, "Type"), "volume") &&
                    str_equal(json_get_string(point, "Name"), name))
                        return true;
        return false;
}

json_t *volume_users(Engine *engine, const char *name)
{
        json_t *users = json_array();
        const Container *container;

        engine_ensure_all(engine);
        LIST_FOREACH(container, &engine->containers, link)
                if (names_volume(container, name))
                        json_array_append_new(users, json_string(container->id));
        return users;
}

void container_release_volumes(const Container *container)
{
        Engine *engine = container->engine;
        const Container *other;
        json_t *point;
        size_t i;

        if (!engine->volumes_settled)
                return; /* who else runs is not known yet: see engine_volumes_settle() */
        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point) {
                const char *name = json_get_string(point, "Name");
                bool used = false;

                if (!str_equal(json_get_string(point, "Type"), "volume") || !name || !volume_is_mounted(engine, name))
                        continue;
                LIST_FOREACH(other, &engine->containers, link)
                        used = used || (other != container && other->record && names_volume(other, name) &&
                                        (container_is_running(other) || other->start));
                int r = used ? 0 : volume_unmount(engine, name);
                if (r < 0)
                        log_warning_errno(r, "Cannot unmount volume %s", name);
        }
}

/* --- Removing ----------------------------------------------------------------------------------------------------- */

static int remove_directory(Engine *engine, const char *name)
{
        CLEANUP_FREE char *path = volume_path(engine, name, NULL), *trash = trash_path(engine);

        if (!path || !trash)
                return -ENOMEM;
        int r = volume_unmount(engine, name);
        if (r < 0)
                return r;
        CLEANUP_FREE char *data = path_join(path, VOLUME_DATA);
        if (data)
                (void) mount_quota_clear(data);
        if (rename(path, trash) < 0)
                return -errno;
        r = sync_directory(engine->volume_root);
        return r < 0 ? r : engine_remove_tree(engine, trash);
}

int volume_remove(Engine *engine, const char *name, Error *error)
{
        CLEANUP_JSON json_t *record = NULL, *users = NULL;
        CLEANUP_BUFFER Buffer list = { 0 };
        json_t *user;
        size_t i;
        int r = volume_read(engine, name, &record, error);

        if (r != 0)
                return r;
        users = volume_users(engine, name);
        json_array_foreach(users, i, user) {
                r = buffer_printf(&list, "%s%s", i > 0 ? ", " : "", json_string_value(user));
                if (r < 0)
                        return r;
        }
        if (list.size > 0)
                return error_set(error, OUTCOME_CONFLICT, "remove %s: volume is in use - [%s]", name, list.data);
        r = remove_directory(engine, name);
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "remove %s: %s", name, strerror(-r));
        engine_event_emit(engine, "volume", "destroy", name, json_pack("{ss}", "driver", VOLUME_DRIVER));
        return 0;
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

/* What is there before anything new is made there. */
static int sweep(Engine *engine, const char *trash)
{
        CLEANUP_STRV char **paths = NULL;
        CLEANUP_CLOSEDIR DIR *directory = opendir(trash);
        struct dirent *entry;
        int r = directory ? 0 : -errno;

        while (directory && r >= 0 && (entry = readdir(directory))) {
                CLEANUP_FREE char *path = path_join(trash, entry->d_name);

                if (entry->d_name[0] != '.')
                        r = path ? strv_append(&paths, path) : -ENOMEM;
        }
        return r < 0 ? r : engine_remove_trees(engine, TAKE_PTR(paths));
}

int engine_volumes_open(Engine *engine)
{
        CLEANUP_FREE char *trash = NULL;

        engine->volume_root = path_join(engine->config->data_root, "volume");
        engine->volume_state = path_join(engine->config->exec_root, "volume");
        trash = engine->volume_root ? path_join(engine->volume_root, VOLUME_TRASH) : NULL;
        if (!trash || !engine->volume_state)
                return -ENOMEM;
        int r = path_make_directories(engine->volume_root, 0711);
        if (r >= 0)
                r = path_make_directories(trash, 0700);
        if (r >= 0)
                r = path_make_directories(engine->volume_state, 0700);
        return r < 0 ? r : sweep(engine, trash);
}

/* What was mounted for containers that ended while nobody looked. */
void engine_volumes_settle(Engine *engine)
{
        CLEANUP_CLOSEDIR DIR *directory = opendir(engine->volume_state);
        const Container *container;
        struct dirent *entry;

        engine->volumes_settled = true;
        while (directory && (entry = readdir(directory))) {
                bool used = false;

                if (entry->d_name[0] == '.')
                        continue;
                engine_ensure_all(engine);
                LIST_FOREACH(container, &engine->containers, link)
                        used = used || (names_volume(container, entry->d_name) && container_is_running(container));
                int r = used ? 0 : volume_unmount(engine, entry->d_name);
                if (r < 0)
                        log_warning_errno(r, "Cannot unmount volume %s", entry->d_name);
        }
}

/* --- The API's operations ----------------------------------------------------------------------------------------- */

int engine_volume_create(Engine *engine, const json_t *body, json_t **ret_object, Error *error)
{
        CLEANUP_JSON json_t *fields = NULL, *warnings = json_array(), *record = NULL;
        int r = 0;

        if (body && !json_is_object(body) && !json_is_null(body))
                return fields_refuse(body, "", "volume.CreateOptions", error);
        r = fields_normalise("CreateOptions", body, &fields, error);
        if (r != 0)
                return r;
        if (json_is_object(json_object_get(fields, "ClusterVolumeSpec")))
                return error_set(error, OUTCOME_UNAVAILABLE,
                                 "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" "
                                 "to connect this node to swarm and try again.");
        VolumeRequest request = {
                .name = json_get_string(fields, "Name"),
                .driver = json_get_string(fields, "Driver"),
                .options = json_object_get(fields, "DriverOpts"),
                .labels = json_object_get(fields, "Labels"),
        };
        r = volume_create(engine, &request, &record, error);
        if (r != 0)
                return r;
        *ret_object = volume_object(engine, record);
        return *ret_object ? 0 : -ENOMEM;
}

int engine_volume_inspect(Engine *engine, const char *name, json_t **ret_object, Error *error)
{
        CLEANUP_JSON json_t *record = NULL;
        int r = volume_read(engine, name, &record, error);

        if (r != 0)
                return r;
        *ret_object = volume_object(engine, record);
        return *ret_object ? 0 : -ENOMEM;
}

int engine_volume_remove(Engine *engine, const char *name, bool force, Error *error)
{
        int r = volume_remove(engine, name, error);

        return r == OUTCOME_NOT_FOUND && force ? 0 : r;
}
