/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's record to an OCI runtime-spec configuration: where every default of the engine is decided. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "berth/outcome.h"

/* Whether a container of this Config, whose program is PROGRAM, runs systemd. */
bool spec_runs_systemd(const json_t *config, const char *program);

typedef struct SpecInput {
        const char *id;
        const json_t *record; /* "Path", "Args", "Config", "HostConfig" as the API shows them, image and user merged */
        const char *rootfs;   /* mount point of the root file system, absolute */
        const char *hostname_path; /* files bound over /etc/hostname, /etc/hosts, /etc/resolv.conf; NULL: not bound */
        const char *hosts_path;
        const char *resolv_conf_path;
        const char *network_namespace_path; /* to join (container:ID), "" for the host's, NULL for a new one */
        const char *ipc_namespace_path, *pid_namespace_path; /* to join; "" host's; NULL new */
        const char *init_path; /* program bound as /sbin/docker-init when HostConfig.Init; NULL without */
        const char *shm_path;  /* host directory bound as /dev/shm (shared IPC); NULL: a tmpfs of its own */
        const json_t *volumes; /* volumes, made and mounted on the host: [{"Source": directory, "Destination",
                                * "RW": bool, "Propagation"}]; NULL: none. They stand for the entries of Binds and
                                * Mounts that name a volume, by destination. */
        const json_t
                *edits; /* of devices that were asked for by name: an array of CDI's "containerEdits"; NULL: none */
        const json_t *link_environment; /* variables of links, which the container's own replace; NULL: none */
        bool check_only; /* at creation: nothing of the host is looked at or made (devices, sources of binds) */
} SpecInput;

/* Builds the configuration. User and group names are not resolved here (that needs the root file system):
 * process.user carries annotations the runtime resolves inside: config.process.user.username = Config.User verbatim,
 * and the annotation berth.group-add HostConfig.GroupAdd. Sources of HostConfig.Binds that are missing are made. */
int spec_generate(const SpecInput *input, json_t **ret_config, Error *ret_error);

/* linux.resources of HOST_CONFIG alone, without rules about devices. */
int spec_limits(const json_t *host_config, json_t **ret_resources, Error *ret_error);

/* Appends the names of all capabilities. */
void spec_all_capabilities(json_t *list);

/* The paths masked and made read-only in a container that is not privileged and names none. */
int spec_default_paths(json_t **ret_masked, json_t **ret_read_only);

/* The default seccomp profile as an OCI linux.seccomp object for a process with these capabilities (NULL-terminated,
 * "CAP_..." names). The object is shared with later callers, and not to be changed. */
int spec_default_seccomp(char *const *capabilities, json_t **ret_seccomp);

/* The same from a profile in Docker's form ("archMap", "includes", "excludes") as text. */
int spec_custom_seccomp(const char *text, char *const *capabilities, json_t **ret_seccomp, Error *ret_error);
