/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon was told: its configuration file, drop-ins and command line, parsed. Paths, bus and privileges of
 * the engine all come from here. */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/network.h"

#define BERTH_DATA_ROOT "/var/lib/berth"
#define BERTH_EXEC_ROOT "/run/berth"
#define BERTH_SOCKET "/run/berth.sock"
#define BERTH_SLICE "berth.slice"

typedef struct Config {
        char *data_root;               /* survives a reboot */
        char *exec_root;               /* dies with it */
        char *notify_socket;           /* where monitors tell of an end */
        char *monitor_path;            /* the program berth-monitor */
        bool strict_ports;             /* published ports obey the rules for the host's own input */
        bool register_machines;        /* containers are known to systemd-machined */
        char *init_path;               /* the program of containers that have an init */
        bool init;                     /* those that do not say have one */
        char *cgroup_parent;           /* slice of the scopes */
        char **hosts;                  /* listening addresses beside the sockets systemd passes */
        char *group;                   /* owns the sockets the daemon makes itself */
        uint64_t idle_timeout_us;      /* without connection or job before the daemon exits; UINT64_MAX: never */
        char *log_driver;              /* of containers that name none */
        json_t *log_options;           /* of containers with this driver, where they do not say; or NULL */
        uint64_t log_spool_size;       /* bytes of a container's log that may wait on the disk for the journal */
        struct in_addr bridge_gateway; /* 0: chosen */
        uint8_t bridge_prefix;
        NetworkPool *pools; /* where networks take their subnets from; none: the defaults */
        size_t n_pools;
        char *host_gateway; /* the address of "host-gateway"; NULL: that of the default bridge */
        uint32_t mtu;
        char **dns, **dns_search, **dns_options;
        char **labels;
        uint64_t shm_size;                 /* bytes */
        char *ipc_mode, *cgroup_namespace; /* of containers that say none */
        json_t *ulimits;                   /* {"nofile": {"Name","Hard","Soft"}} of containers that say none; or NULL */
        json_t *runtimes;                  /* {"NAME": {"path", "runtimeArgs"}}; or NULL */
        char *runtime;                     /* of containers that name none; "berth": no program of its own */
        char **cdi_directories;            /* where devices are described */
        bool debug;
        bool experimental;                         /* clients are told so, and offer what they take for it */
        char **insecure_registries;                /* HOST[:PORT] or CIDR */
        char **registry_mirrors;                   /* URLs */
        char *http_proxy, *https_proxy, *no_proxy; /* NULL: the environment's */
        char *search_endpoint;                     /* URL of docker.io's index */
        uint32_t downloads, uploads;               /* at the same time, of one pull or push */
        uint32_t download_attempts;
        int log_level; /* of syslog(3); what is less urgent is not logged. DEBUG logs everything. */
} Config;

/* Fills CONFIG with the defaults. */
int config_init(Config *config);
void config_clear(Config *config);

/* Merges a configuration file and its drop-ins (FILE.d/NAME.json, by name) into CONFIG. On a refusal ret_message says
 * which file and key; a known key that has no effect here is added to ret_warnings. A missing FILE is success. */
int config_read(Config *config, const char *file, char ***ret_warnings, char **ret_message);

/* The least urgent level that is logged. */
int config_log_level(const Config *config);

#define CLEANUP_CONFIG CLEANUP(config_clear)
