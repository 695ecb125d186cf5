/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's record to an OCI runtime-spec configuration: where every default of the engine is decided. */
#pragma once

#include <jansson.h>

#include "berth/outcome.h"

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
} SpecInput;

/* Builds the configuration. User and group names are not resolved here (that needs the root file system):
 * process.user carries annotations the runtime resolves inside: config.process.user.username = Config.User verbatim. */
int spec_generate(const SpecInput *input, json_t **ret_config, Error *ret_error);

/* The default seccomp profile as an OCI linux.seccomp object for a process with these capabilities (NULL-terminated,
 * "CAP_..." names). */
int spec_default_seccomp(char *const *capabilities, json_t **ret_seccomp);
