/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container mounts besides its own: VolumesFrom, Binds, Mounts and the image's volumes become one list of mount
 * points at creation, which is kept in the record (see engine-volume-private.h). One destination is there once: what
 * the user says himself takes the place of what is inherited, and the image's volumes come last. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-spec-private.h"
#include "engine-volume-private.h"

typedef struct Points {
        Engine *engine;
        const json_t *config, *host;
        json_t *list;
        Error *error;
} Points;

static json_t *new_point(const char *type, const char *source, const char *destination, const char *mode, bool writable,
                         const char *propagation)
{
        return json_pack("{ss ss ss ss sb ss}", "Type", type, "Source", source, "Destination", destination, "Mode",
                         mode, "RW", writable, "Propagation", propagation);
}

static size_t find_point(const json_t *list, const char *destination)
{
        size_t i = 0;

        while (i < json_array_size(list) &&
               !str_equal(json_get_string(json_array_get(list, i), "Destination"), destination))
                i++;
        return i;
}

static bool is_tmpfs(const Points *points, const char *destination)
{
        const char *target;
        json_t *value;

        json_object_foreach(json_object_get(points->host, "Tmpfs"), target, value) {
                CLEANUP_FREE char *clean = spec_clean_path(target);
                if (str_equal(clean, destination))
                        return true;
        }
        return false;
}

/* Takes POINT over. */
static int add_point(Points *points, json_t *point)
{
        CLEANUP_JSON json_t *owned = point;
        const char *destination = json_get_string_or(point, "Destination", "");
        size_t i = find_point(points->list, destination);

        if (!point)
                return -ENOMEM;
        if (is_tmpfs(points, destination))
                return error_set(points->error, OUTCOME_BAD_REQUEST, "Duplicate mount point: %s", destination);
        if (i < json_array_size(points->list)) {
                if (!json_get_bool(json_array_get(points->list, i), "Inherited"))
                        return error_set(points->error, OUTCOME_BAD_REQUEST, "Duplicate mount point: %s", destination);
                json_array_remove(points->list, i);
        }
        return json_array_append(points->list, point) < 0 ? -ENOMEM : 0;
}

/* --- VolumesFrom -------------------------------------------------------------------------------------------------- */

static int inherit(Points *points, const Container *other, bool read_only)
{
        json_t *point;
        size_t i;

        json_array_foreach(json_get_array(other->record, "MountPoints"), i, point) {
                const char *type = json_get_string_or(point, "Type", "");
                const char *destination = json_get_string_or(point, "Destination", "");

                /* A tmpfs is each container's own, and an image is there for everybody. */
                if ((!str_equal(type, "volume") && !str_equal(type, "bind")) || is_tmpfs(points, destination))
                        continue;
                CLEANUP_JSON json_t *copy = json_deep_copy(point);
                size_t k = find_point(points->list, destination);
                if (!copy)
                        return -ENOMEM;
                if (k < json_array_size(points->list))
                        json_array_remove(points->list, k);
                json_set_bool(copy, "Inherited", true);
                json_set_string(copy, "Mode", "");
                json_set_bool(copy, "RW", json_get_bool(point, "RW") && !read_only);
                json_object_del(copy, "CopyData");
                if (json_array_append(points->list, copy) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int add_volumes_from(Points *points, const char *text)
{
        CLEANUP_FREE char *name = strndup(text, strcspn(text, ":"));
        const char *mode = strchr(text, ':') ? strchr(text, ':') + 1 : "";
        SpecModes modes;
        Container *other;

        if (!name)
                return -ENOMEM;
        if (!*text)
                return error_set(points->error, OUTCOME_BAD_REQUEST,
                                 "volumes-from specification cannot be an empty string");
        if (spec_parse_modes(mode, &modes) < 0 || modes.propagation || modes.no_copy)
                return error_set(points->error, OUTCOME_BAD_REQUEST, "invalid mode: %s", mode);
        int r = engine_container_find(points->engine, name, &other, points->error);
        if (r > 0) {
                points->error->outcome = OUTCOME_BAD_REQUEST;
                return OUTCOME_BAD_REQUEST;
        }
        return r < 0 ? r : inherit(points, other, modes.read_only);
}

/* --- Binds -------------------------------------------------------------------------------------------------------- */

static int invalid_bind(Points *points, const char *text, const char *type, const char *reason)
{
        if (!type)
                return error_set(points->error, OUTCOME_BAD_REQUEST, "invalid volume specification: '%s'", text);
        return error_set(points->error, OUTCOME_BAD_REQUEST,
                         "invalid volume specification: '%s': invalid mount config for type \"%s\": %s", text, type,
                         reason);
}

static json_t *volume_point(const char *name, const char *driver, const char *destination, const char *mode,
                            bool writable, bool copy)
{
        json_t *point = new_point("volume", "", destination, mode, writable, "");

        if (!point)
                return NULL;
        if (!str_empty(name))
                json_set_string(point, "Name", name);
        else
                json_set_bool(point, "Anonymous", true);
        json_set_string(point, "Driver", driver);
        if (copy)
                json_set_bool(point, "CopyData", true);
        return point;
}

static int add_bind_parts(Points *points, const char *text, const char *source, const char *target, const char *mode)
{
        const char *type = source[0] == '/' ? "bind" : "volume";
        CLEANUP_FREE char *clean = spec_clean_path(target), *path = spec_clean_path(source);
        CLEANUP_FREE char *reason = str_printf("invalid mount path: '%s' mount path must be absolute", target);
        SpecModes modes;

        if (!reason)
                return -ENOMEM;
        if (spec_parse_modes(mode, &modes) < 0)
                return error_set(points->error, OUTCOME_BAD_REQUEST, "invalid mode: %s", mode);
        if (!clean)
                return invalid_bind(points, text, type, reason);
        if (str_equal(clean, "/"))
                return invalid_bind(points, text, type, "invalid specification: destination can't be '/'");
        if (source[0] == '/')
                return add_point(points, new_point("bind", path, clean, mode, !modes.read_only,
                                                   modes.propagation ? modes.propagation : "rprivate"));
        if (modes.propagation)
                return invalid_bind(points, text, type, "field BindOptions must not be specified");
        return add_point(points, volume_point(source, json_get_string_or(points->host, "VolumeDriver", ""), clean,
                                              *mode ? mode : "z", !modes.read_only, !modes.no_copy));
}

/* "destination", "source:destination" or "source:destination:mode" */
static int add_bind(Points *points, const char *text)
{
        CLEANUP_FREE char *copy = strdup(text);
        char *rest = copy, *parts[4] = { NULL };
        SpecModes modes;
        size_t n = 0;

        if (!copy)
                return -ENOMEM;
        while (n < ARRAY_SIZE(parts) && (parts[n] = strsep(&rest, ":")))
                n++;
        if (n > 3 || !*parts[0] || (n > 1 && !*parts[1]))
                return invalid_bind(points, text, NULL, NULL);
        if (n == 1)
                return add_bind_parts(points, text, "", parts[0], "");
        /* A place in the container cannot have a mode. */
        if (n == 2 && spec_parse_modes(parts[1], &modes) >= 0)
                return invalid_bind(points, text, NULL, NULL);
        return add_bind_parts(points, text, parts[0], parts[1], n > 2 ? parts[2] : "");
}

/* --- Mounts ------------------------------------------------------------------------------------------------------- */

static const struct {
        const char *type, *options;
} mount_types[] = {
        { "bind", "BindOptions" },
        { "volume", "VolumeOptions" },
        { "image", "ImageOptions" },
        { "tmpfs", "TmpfsOptions" },
};

static int invalid_mount(Points *points, const char *type, const char *reason)
{
        return error_set(points->error, OUTCOME_BAD_REQUEST, "invalid mount config for type \"%s\": %s", type, reason);
}

/* A known type, with no other's options. */
static int check_type(Points *points, const json_t *mount, const char *type)
{
        bool known = false;

        for (size_t i = 0; i < ARRAY_SIZE(mount_types); i++) {
                if (str_equal(mount_types[i].type, type))
                        known = true;
                else if (json_is_object(json_object_get(mount, mount_types[i].options)))
                        return error_set(points->error, OUTCOME_BAD_REQUEST,
                                         "%s must not be specified on mount type \"%s\"", mount_types[i].options, type);
        }
        return known ? 0 : invalid_mount(points, type, "mount type unknown");
}

/* A relative path that does not leave the place it begins in. */
static bool is_local(const char *path)
{
        CLEANUP_FREE char *copy = strdup(path);
        char *rest = copy;
        int depth = 0;

        if (!copy || *path == '/' || !*path)
                return false;
        for (char *name; (name = strsep(&rest, "/"));) {
                if (!*name || str_equal(name, "."))
                        continue;
                depth += str_equal(name, "..") ? -1 : 1;
                if (depth < 0)
                        return false;
        }
        return true;
}

static int add_volume_mount(Points *points, const json_t *mount, const char *destination)
{
        const json_t *options = json_get_object(mount, "VolumeOptions");
        const json_t *driver = json_get_object(options, "DriverConfig");
        const char *source = json_get_string_or(mount, "Source", "");
        const char *subpath = json_get_string_or(options, "Subpath", "");
        bool read_only = json_get_bool(mount, "ReadOnly");

        if (*subpath && !*source)
                return invalid_mount(points, "volume", "must not set Subpath when using anonymous volumes");
        if (*subpath && !is_local(subpath))
                return invalid_mount(points, "volume", "subpath must be a relative path within the volume");
        if (read_only && !*source)
                return invalid_mount(points, "volume", "must not set ReadOnly mode when using anonymous volumes");
        json_t *point = volume_point(source, json_get_string_or(driver, "Name", ""), destination, "z", !read_only,
                                     !json_get_bool(options, "NoCopy"));
        if (point && *subpath)
                json_set_string(point, "Subpath", subpath);
        if (point && json_is_object(json_object_get(driver, "Options")))
                json_object_set(point, "DriverOptions", json_object_get(driver, "Options"));
        if (point && json_is_object(json_object_get(options, "Labels")))
                json_object_set(point, "Labels", json_object_get(options, "Labels"));
        return add_point(points, point);
}

static int add_bind_mount(Points *points, const json_t *mount, const char *destination)
{
        const json_t *options = json_get_object(mount, "BindOptions");
        const char *source = json_get_string_or(mount, "Source", "");
        const char *propagation = json_get_string_or(options, "Propagation", "");
        CLEANUP_FREE char *path = spec_clean_path(source);
        CLEANUP_FREE char *reason = NULL;
        SpecModes modes = { 0 };

        if (!*source)
                return invalid_mount(points, "bind", "field Source must not be empty");
        if (*propagation && (spec_parse_modes(propagation, &modes) < 0 || !modes.propagation)) {
                reason = str_printf("invalid propagation mode: %s", propagation);
                return reason ? invalid_mount(points, "bind", reason) : -ENOMEM;
        }
        if (!path) {
                reason = str_printf("invalid mount path: '%s' mount path must be absolute", source);
                return reason ? invalid_mount(points, "bind", reason) : -ENOMEM;
        }
        json_t *point = new_point("bind", path, destination, "", !json_get_bool(mount, "ReadOnly"),
                                  *propagation ? propagation : "rprivate");
        static const char *const kept[] = { "NonRecursive", "ReadOnlyNonRecursive" };
        for (size_t i = 0; point && i < ARRAY_SIZE(kept); i++)
                if (json_get_bool(options, kept[i]))
                        json_set_bool(point, kept[i], true);
        return add_point(points, point);
}

static int add_image_mount(Points *points, const json_t *mount, const char *destination)
{
        const char *source = json_get_string_or(mount, "Source", "");
        const char *subpath = json_get_string_or(json_get_object(mount, "ImageOptions"), "Subpath", "");
        CLEANUP_FREE char *id = NULL;

        if (!*source)
                return invalid_mount(points, "image", "field Source must not be empty");
        if (*subpath && !is_local(subpath))
                return invalid_mount(points, "image", "subpath must be a relative path within the image");
        int r = store_resolve(points->engine->store, source, &id, points->error);
        if (r > 0) /* clients take a 404 for the missing image of the container */
                points->error->outcome = OUTCOME_BAD_REQUEST;
        if (r != 0)
                return r > 0 ? OUTCOME_BAD_REQUEST : r;
        json_t *point = new_point("image", "", destination, "", false, "");
        if (point && *subpath)
                json_set_string(point, "Subpath", subpath);
        if (point)
                json_set_string(point, "Name", source);
        if (point)
                json_set_string(point, "Image", id);
        return add_point(points, point);
}

static int add_mount(Points *points, const json_t *mount)
{
        const char *type = json_get_string_or(mount, "Type", ""), *target = json_get_string_or(mount, "Target", "");
        CLEANUP_FREE char *clean = spec_clean_path(target), *reason = NULL;
        int r = check_type(points, mount, type);

        if (r != 0)
                return r;
        if (!*target)
                return invalid_mount(points, type, "field Target must not be empty");
        if (!clean) {
                reason = str_printf("invalid mount path: '%s' mount path must be absolute", target);
                return reason ? invalid_mount(points, type, reason) : -ENOMEM;
        }
        if (str_equal(clean, "/"))
                return invalid_mount(points, type, "invalid specification: destination can't be '/'");
        if (str_equal(type, "volume"))
                return add_volume_mount(points, mount, clean);
        if (str_equal(type, "bind"))
                return add_bind_mount(points, mount, clean);
        if (str_equal(type, "image"))
                return add_image_mount(points, mount, clean);
        if (!str_empty(json_get_string(mount, "Source")))
                return invalid_mount(points, type, "field Source must not be specified");
        return add_point(points, new_point("tmpfs", "", clean, "", !json_get_bool(mount, "ReadOnly"), ""));
}

/* --- The image's volumes, and those of "-v /place" ---------------------------------------------------------------- */

static int add_config_volume(Points *points, const char *target)
{
        CLEANUP_FREE char *clean = spec_clean_path(target);

        if (!clean || str_equal(clean, "/"))
                return error_set(points->error, OUTCOME_BAD_REQUEST,
                                 clean ? "invalid volume: %s: destination can't be '/'"
                                       : "invalid volume: '%s' mount path must be absolute",
                                 target);
        if (is_tmpfs(points, clean) || find_point(points->list, clean) < json_array_size(points->list))
                return 0;
        return add_point(points, volume_point(NULL, json_get_string_or(points->host, "VolumeDriver", ""), clean, "",
                                              true, true));
}

/* --- All together ------------------------------------------------------------------------------------------------- */

static int check_volumes(Points *points)
{
        json_t *point;
        size_t i;

        json_array_foreach(points->list, i, point) {
                VolumeRequest request = { .name = json_get_string(point, "Name"),
                                          .driver = json_get_string(point, "Driver"),
                                          .options = json_object_get(point, "DriverOptions") };
                if (!str_equal(json_get_string(point, "Type"), "volume") || json_get_bool(point, "Inherited"))
                        continue;
                int r = volume_check(points->engine, &request, points->error);
                if (r > 0) {
                        CLEANUP_FREE char *prefix = str_printf("create %s", request.name ? request.name : "volume");
                        return prefix ? error_prefix(points->error, prefix) : -ENOMEM;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_strings(Points *points, const char *key, int (*add)(Points *, const char *))
{
        json_t *entry;
        size_t i;
        int r = 0;

        json_array_foreach(json_object_get(points->host, key), i, entry) {
                if (r == 0)
                        r = add(points, json_is_string(entry) ? json_string_value(entry) : "");
        }
        return r;
}

int mount_points_read(Engine *engine, const json_t *config, const json_t *host_config, json_t **ret_points,
                      Error *error)
{
        CLEANUP_JSON json_t *list = json_array();
        Points points = { .engine = engine, .config = config, .host = host_config, .list = list, .error = error };
        const char *target;
        json_t *entry;
        size_t i;
        int r = list ? read_strings(&points, "VolumesFrom", add_volumes_from) : -ENOMEM;

        if (r == 0)
                r = read_strings(&points, "Binds", add_bind);
        json_array_foreach(json_object_get(host_config, "Mounts"), i, entry) {
                if (r == 0)
                        r = add_mount(&points, entry);
        }
        json_object_foreach(json_object_get(config, "Volumes"), target, entry) {
                if (r == 0)
                        r = add_config_volume(&points, target);
        }
        if (r == 0)
                r = check_volumes(&points);
        if (r == 0)
                *ret_points = TAKE_PTR(list);
        return r;
}

static int make_volume(Engine *engine, json_t *point, Error *error)
{
        CLEANUP_JSON json_t *record = NULL;
        VolumeRequest request = { .name = json_get_string(point, "Name"),
                                  .driver = json_get_string(point, "Driver"),
                                  .options = json_object_get(point, "DriverOptions"),
                                  .labels = json_object_get(point, "Labels") };
        int r = volume_create(engine, &request, &record, error);

        if (r != 0)
                return r;
        const char *name = json_get_string_or(record, "Name", "");
        CLEANUP_FREE char *source = volume_path(engine, name, VOLUME_DATA);
        if (!source || json_set_string(point, "Name", name) < 0 || json_set_string(point, "Source", source) < 0 ||
            json_set_string(point, "Driver", VOLUME_DRIVER) < 0)
                return -ENOMEM;
        return 0;
}

int mount_points_make(Engine *engine, json_t *points, Error *error)
{
        json_t *point;
        size_t i;
        int r = 0;

        json_array_foreach(points, i, point) {
                if (r == 0 && str_equal(json_get_string(point, "Type"), "volume"))
                        r = make_volume(engine, point, error);
        }
        return r;
}

void mount_points_remove_anonymous(Engine *engine, const json_t *points)
{
        json_t *point;
        size_t i;

        json_array_foreach((json_t *) points, i, point) {
                CLEANUP_ERROR Error error = { 0 };
                const char *name = json_get_string(point, "Name");

                /* One that another container uses stays. */
                if (name && json_get_bool(point, "Anonymous") && str_equal(json_get_string(point, "Type"), "volume"))
                        (void) volume_remove(engine, name, &error);
        }
}

/* --- Of a container ----------------------------------------------------------------------------------------------- */

bool mount_point_is_staged(const json_t *point)
{
        return str_equal(json_get_string(point, "Type"), "image") || json_get_string(point, "Subpath");
}

char *container_staged_mount(const Container *container, size_t i)
{
        char name[32];

        snprintf(name, sizeof(name), STAGED_MOUNT_PREFIX "%zu", i);
        return container_runtime_path(container, name);
}

int container_spec_volumes(const Container *container, json_t **ret_volumes)
{
        CLEANUP_JSON json_t *volumes = json_array();
        json_t *point;
        size_t i;

        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point) {
                const char *type = json_get_string_or(point, "Type", "");
                CLEANUP_FREE char *staged = mount_point_is_staged(point) ? container_staged_mount(container, i) : NULL;
                CLEANUP_JSON json_t *volume = NULL;

                if (!str_equal(type, "volume") && !str_equal(type, "image") && !json_get_bool(point, "Inherited"))
                        continue;
                volume = json_copy(point);
                if (!volume || (staged && json_set_string(volume, "Source", staged) < 0) ||
                    json_array_append(volumes, volume) < 0)
                        return -ENOMEM;
        }
        *ret_volumes = TAKE_PTR(volumes);
        return volumes || *ret_volumes ? 0 : -ENOMEM;
}

void container_volume_events(const Container *container, bool mounted)
{
        json_t *point;
        size_t i;

        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point) {
                json_t *attributes = json_pack("{ss ss}", "container", container->id, "driver", VOLUME_DRIVER);

                if (!str_equal(json_get_string(point, "Type"), "volume")) {
                        json_decref(attributes);
                        continue;
                }
                if (mounted) {
                        json_set_string(attributes, "destination", json_get_string(point, "Destination"));
                        json_set_string(attributes, "propagation", json_get_string_or(point, "Propagation", ""));
                        json_set_string(attributes, "read/write", json_get_bool(point, "RW") ? "true" : "false");
                }
                engine_event_emit(container->engine, "volume", mounted ? "mount" : "unmount",
                                  json_get_string_or(point, "Name", ""), attributes);
        }
}

bool container_mounts_image(const Container *container, const char *image_id)
{
        json_t *point;
        size_t i;

        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point)
                if (str_equal(json_get_string(point, "Image"), image_id))
                        return true;
        return false;
}

int container_mounts(const Container *container, json_t **ret_mounts)
{
        static const char *const shown[] = { "Type",   "Name", "Source", "Destination",
                                             "Driver", "Mode", "RW",     "Propagation" };
        CLEANUP_JSON json_t *mounts = json_array();
        json_t *point;
        size_t i;

        json_array_foreach(json_get_array(container->record, "MountPoints"), i, point) {
                CLEANUP_JSON json_t *mount = json_object();
                CLEANUP_FREE char *staged = container_staged_mount(container, i);

                for (size_t k = 0; k < ARRAY_SIZE(shown); k++)
                        if (json_object_get(point, shown[k]))
                                json_object_set(mount, shown[k], json_object_get(point, shown[k]));
                if (str_equal(json_get_string(point, "Type"), "image"))
                        json_set_string(mount, "Source", staged);
                if (json_array_append(mounts, mount) < 0)
                        return -ENOMEM;
        }
        *ret_mounts = TAKE_PTR(mounts);
        return *ret_mounts ? 0 : -ENOMEM;
}
