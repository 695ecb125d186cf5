/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of spec_generate(). Each adds to the Spec and returns 0, an Outcome with its message, or a negative
 * errno. */
#pragma once

#include "berth/spec.h"

typedef struct Spec {
        const SpecInput *input;
        const json_t *config, *host; /* borrowed from the record */
        bool privileged;
        bool writable_cgroups;
        bool systemd;            /* its program is systemd: see engine-spec-systemd.c */
        char **capabilities;     /* owned, in the order Docker lists them */
        json_t *mounts;          /* owned */
        json_t *devices, *rules; /* owned: linux.devices and linux.resources.devices */
        const char *propagation; /* linux.rootfsPropagation, NULL: private */
        Error *error;
} Spec;

/* The mode of "source:destination:mode". */
typedef struct SpecModes {
        bool read_only, no_copy;
        const char *propagation; /* NULL where none was said */
} SpecModes;

/* -EINVAL */
int spec_parse_modes(const char *text, SpecModes *ret);

/* The destination without "." and "..", doubled and trailing slashes, owned by the caller; NULL for one that is not
 * absolute. */
char *spec_clean_path(const char *path);

int spec_add_mounts(Spec *spec);
int spec_systemd_environment(const Spec *spec, json_t *environment);
int spec_add_devices(Spec *spec);

/* linux.resources, including the device rules; a new reference in *RET. */
int spec_resources(const Spec *spec, json_t **ret);
