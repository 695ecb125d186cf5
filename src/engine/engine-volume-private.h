/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes and what containers mount, as the files of the engine share them.
 *
 *   volume/NAME/volume.json   {"Name","CreatedNs","Driver","Labels","Options"}; there as long as the volume is
 *   volume/NAME/_data         what containers see; a file system of its own is mounted on it where the options say so
 *   volume/NAME/populating    there while an image's files are copied into it
 *   volume/.trash/            what is being made, and what waits to be removed; no volume's name begins with a dot
 *   <exec root>/volume/NAME   there as long as something may be mounted on _data
 *
 * Nothing of it is kept in memory: a volume is found by its record. Who uses it is said by the containers' records:
 * each has "MountPoints", an array of what inspect shows of a mount and of "Anonymous"   made for this container
 * without a name: goes with it, if that is asked for "CopyData"    the image's files are copied into the volume where
 * that is empty "Subpath"     the part of a volume or image that is mounted "Image"       the ID of the image that is
 * mounted "DriverOptions", "Labels"   what the volume is made with "NonRecursive", "ReadOnlyNonRecursive" "Inherited"
 * of another container (VolumesFrom): HostConfig has no entry for it. */
#pragma once

#include "engine-private.h"

#define VOLUME_RECORD "volume.json"
#define VOLUME_DATA "_data"
#define VOLUME_POPULATING "populating"
#define VOLUME_TRASH ".trash"
#define VOLUME_DRIVER "local"
#define VOLUME_ANONYMOUS_LABEL "com.docker.volume.anonymous"

typedef struct VolumeRequest {
        const char *name;               /* NULL or "": anonymous */
        const char *driver;             /* NULL or "": local */
        const json_t *options, *labels; /* may be NULL */
} VolumeRequest;

/* Whether it could be made. Messages are without "create NAME: ". */
int volume_check(const Engine *engine, const VolumeRequest *request, Error *error);

/* Makes it, or finds it where it is there already. The record is a new reference. */
int volume_create(Engine *engine, const VolumeRequest *request, json_t **ret_record, Error *error);

/* "get NAME: no such volume" */
int volume_read(Engine *engine, const char *name, json_t **ret_record, Error *error);

/* A path below the volume's directory, owned by the caller. */
char *volume_path(const Engine *engine, const char *name, const char *below);

/* Calls EACH for every volume. */
int volume_each(Engine *engine, int (*each)(const char *name, const json_t *record, void *userdata), void *userdata);

/* A record as GET /volumes/NAME shows it. */
json_t *volume_object(const Engine *engine, const json_t *record);

/* The IDs of the containers whose records name the volume, a new reference. */
json_t *volume_users(Engine *engine, const char *name);

/* Removes it unless it is used. */
int volume_remove(Engine *engine, const char *name, Error *error);

/* engine-volume-mount.c. In a start's child, before the container's mounts are opened: mounts what the container's
 * volumes need on the host, and copies what the image has in their places. ROOT is the container's root. */
int volumes_prepare(const Container *container, const char *root, Error *error);

/* In the same place: the /dev/shm that other containers may have too. */
int shared_memory_prepare(const Container *container, Error *error);

/* Whether something may be mounted on the volume, and taking it away. */
bool volume_is_mounted(const Engine *engine, const char *name);
int volume_unmount(const Engine *engine, const char *name);

/* engine-volume-copy.c: what is below FROM, with owners, modes, extended attributes, links and times, and FROM's own of
 * these. What TO has already stays. */
int volume_copy(int from, int to);

/* engine-mount-point.c */
/* What HostConfig, Config and the image ask for, checked: a new array of mount points, without the volumes. */
int mount_points_read(Engine *engine, const json_t *config, const json_t *host_config, json_t **ret_points,
                      Error *error);
/* Makes the volumes, and fills their names and places in. */
int mount_points_make(Engine *engine, json_t *points, Error *error);
/* Removes the anonymous volumes that nothing else uses. */
void mount_points_remove_anonymous(Engine *engine, const json_t *points);
/* For SpecInput: what is not in HostConfig in full, with where it is on the host. */
int container_spec_volumes(const Container *container, json_t **ret_volumes);
/* The directory that the mount point I is mounted on first, if it needs one: parts of volumes, and images. */
#define STAGED_MOUNT_PREFIX "mount-"
char *container_staged_mount(const Container *container, size_t i);
bool mount_point_is_staged(const json_t *point);
