/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a request to a host needs besides the request: trust, client certificates, a proxy. */
#pragma once

#include "registry-private.h"

/* The parts of an URL that matter here. The empty value is {}. */
typedef struct RegistryUrl {
        bool tls;
        char *host; /* owned; without port and brackets */
        char *port; /* owned; NULL: the scheme's */
        char *name; /* owned; HOST[:PORT] as written */
} RegistryUrl;

int registry_url_parse(const char *url, RegistryUrl *ret);
void registry_url_clear(RegistryUrl *url);
#define CLEANUP_REGISTRY_URL CLEANUP(registry_url_clear)

/* Whether NAME (HOST[:PORT]) may be spoken to without trust: it is listed, or one of the addresses that it resolves
 * to is in a listed range or of the loopback. */
bool registry_host_is_insecure(char *const *insecure, const char *name);

/* Whether ADDRESS ("192.0.2.1") lies in RANGE ("192.0.2.0/24"). */
bool registry_address_in_range(const char *address, const char *range);

/* The proxy for an URL, borrowed from the configuration or the environment; NULL: none. As Go does it: the loopback is
 * never proxied; entries of no_proxy are names (with subdomains, and with a leading dot subdomains only), addresses,
 * ranges, each perhaps with a port, or "*". */
const char *registry_proxy_for(const RegistryConfig *config, const RegistryUrl *url);

/* PEM, read from the certs.d directories of a host. The empty value is {}. */
typedef struct RegistryTrust {
        char *name;                           /* owned: whose */
        Buffer authorities, certificate, key; /* size 0: none */
} RegistryTrust;

/* Names the hosts that have such a directory. */
void registry_trust_for_each(void (*call)(const char *name, void *userdata), void *userdata);

int registry_trust_read(const char *name, RegistryTrust *ret, Error *error);
void registry_trust_clear(RegistryTrust *trust);
