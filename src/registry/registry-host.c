/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>

#include "berth/file.h"
#include "berth/string.h"

#define PEM_SIZE_MAX (1024u * 1024)

/* The former is where Docker's users have them. */
static const char *const trust_roots[] = { "/etc/docker/certs.d", "/etc/berth/certs.d" };

/* --- URLs --------------------------------------------------------------------------------------------------------- */

void registry_url_clear(RegistryUrl *url)
{
        free(url->host);
        free(url->port);
        free(url->name);
        *url = (RegistryUrl) { 0 };
}

static int split_name(const char *name, size_t size, char **ret_host, char **ret_port)
{
        const char *colon, *start = name, *end = name + size;

        if (size > 0 && *name == '[') {
                const char *bracket = memchr(name, ']', size);

                if (!bracket)
                        return -EINVAL;
                start = name + 1;
                end = bracket;
                colon = bracket + 1 < name + size && bracket[1] == ':' ? bracket + 1 : NULL;
        } else {
                colon = memchr(name, ':', size);
                end = colon ?: end;
        }
        *ret_host = strndup(start, (size_t) (end - start));
        *ret_port = colon ? strndup(colon + 1, (size_t) (name + size - colon - 1)) : NULL;
        return *ret_host && (!colon || *ret_port) ? 0 : -ENOMEM;
}

int registry_url_parse(const char *text, RegistryUrl *ret)
{
        CLEANUP_REGISTRY_URL RegistryUrl url = { 0 };
        const char *rest = str_after_prefix(text, "https://");
        int r;

        url.tls = rest;
        if (!rest)
                rest = str_after_prefix(text, "http://");
        if (!rest)
                return -EINVAL;
        size_t size = strcspn(rest, "/?#");
        const char *at = memchr(rest, '@', size);
        if (at) {
                size -= (size_t) (at + 1 - rest);
                rest = at + 1;
        }
        if (size == 0)
                return -EINVAL;
        url.name = strndup(rest, size);
        r = url.name ? split_name(rest, size, &url.host, &url.port) : -ENOMEM;
        if (r < 0)
                return r;
        *ret = url;
        url = (RegistryUrl) { 0 };
        return 0;
}

/* --- Addresses ---------------------------------------------------------------------------------------------------- */

static size_t address_parse(const char *text, uint8_t bytes[static 16])
{
        if (inet_pton(AF_INET, text, bytes) == 1)
                return 4;
        return inet_pton(AF_INET6, text, bytes) == 1 ? 16 : 0;
}

bool registry_address_in_range(const char *address, const char *range)
{
        uint8_t a[16], b[16];
        char base[INET6_ADDRSTRLEN];
        const char *slash = strchr(range, '/');
        int64_t bits;

        if (!slash || slash - range >= (ptrdiff_t) sizeof(base))
                return false;
        memcpy(base, range, (size_t) (slash - range));
        base[slash - range] = 0;
        size_t size = address_parse(base, b);
        if (size == 0 || address_parse(address, a) != size || str_to_int64(slash + 1, 0, (int64_t) size * 8, &bits) < 0)
                return false;
        if (memcmp(a, b, (size_t) bits / 8) != 0)
                return false;
        return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

static bool address_is_insecure(char *const *insecure, const char *address)
{
        if (registry_address_in_range(address, "127.0.0.0/8") || registry_address_in_range(address, "::1/128"))
                return true;
        for (; insecure && *insecure; insecure++)
                if (registry_address_in_range(address, *insecure))
                        return true;
        return false;
}

bool registry_host_is_insecure(char *const *insecure, const char *name)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
        CLEANUP_FREE char *host = NULL, *port = NULL;
        bool result = false;

        for (char *const *entry = insecure; entry && *entry; entry++)
                if (str_equal(*entry, name))
                        return true;
        if (split_name(name, strlen(name), &host, &port) < 0 || getaddrinfo(host, NULL, &hints, &found) != 0)
                return false;
        for (const struct addrinfo *entry = found; entry && !result; entry = entry->ai_next) {
                char text[INET6_ADDRSTRLEN];

                result = getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
                                 0 &&
                         address_is_insecure(insecure, text);
        }
        freeaddrinfo(found);
        return result;
}

/* --- Proxies ------------------------------------------------------------------------------------------------------ */

static const char *environment(const char *lower, const char *upper)
{
        const char *value = getenv(upper);

        return str_empty(value) ? getenv(lower) : value;
}

static bool host_matches(const RegistryUrl *url, const char *entry)
{
        CLEANUP_FREE char *host = NULL, *port = NULL;
        size_t size = strlen(url->host), want;

        if (str_equal(entry, "*") || registry_address_in_range(url->host, entry))
                return true;
        if (split_name(entry, strlen(entry), &host, &port) < 0)
                return false;
        if (port && !str_equal(port, url->port ?: url->tls ? "443" : "80"))
                return false;
        const char *suffix = *host == '*' && host[1] == '.' ? host + 1 : host;
        want = strlen(suffix);
        if (*suffix != '.' && strcasecmp(url->host, suffix) == 0)
                return true;
        if (want == 0 || size <= want || strcasecmp(url->host + size - want, suffix) != 0)
                return false;
        return *suffix == '.' || url->host[size - want - 1] == '.';
}

static bool is_excepted(const RegistryUrl *url, const char *list)
{
        if (str_equal(url->host, "localhost") || registry_address_in_range(url->host, "127.0.0.0/8") ||
            str_equal(url->host, "::1"))
                return true;
        while (list && *list) {
                size_t skip = strspn(list, ", "), size = strcspn(list + skip, ", ");
                CLEANUP_FREE char *entry = strndup(list + skip, size);

                if (entry && *entry && host_matches(url, entry))
                        return true;
                list += skip + size;
        }
        return false;
}

const char *registry_proxy_for(const RegistryConfig *config, const RegistryUrl *url)
{
        const char *proxy = url->tls ? config->https_proxy : config->http_proxy, *except = config->no_proxy;

        if (!proxy)
                proxy = url->tls ? environment("https_proxy", "HTTPS_PROXY") : environment("http_proxy", "HTTP_PROXY");
        if (!except)
                except = environment("no_proxy", "NO_PROXY");
        return str_empty(proxy) || is_excepted(url, except) ? NULL : proxy;
}

/* --- Certificates ------------------------------------------------------------------------------------------------- */

void registry_trust_clear(RegistryTrust *trust)
{
        free(trust->name);
        buffer_clear(&trust->authorities);
        buffer_clear(&trust->certificate);
        buffer_clear(&trust->key);
        *trust = (RegistryTrust) { 0 };
}

static int append_file(int dirfd, const char *name, Buffer *to)
{
        CLEANUP_FREE char *data = NULL;
        size_t size;
        int r = file_read_at(dirfd, name, PEM_SIZE_MAX, &data, &size);

        if (r >= 0)
                r = buffer_append(to, data, size);
        return r < 0 ? r : buffer_append(to, "\n", 1);
}

/* NAME.cert has its NAME.key beside it, and the other way round. */
static int check_pair(int dirfd, const char *name, const char *suffix, const char *other, char **ret_other)
{
        size_t stem = strlen(name) - strlen(suffix);
        char *path = str_printf("%.*s%s", (int) stem, name, other);

        if (!path)
                return -ENOMEM;
        *ret_other = path;
        return faccessat(dirfd, path, F_OK, 0) < 0 ? -errno : 0;
}

static int read_client(int dirfd, const char *name, RegistryTrust *trust, Error *error)
{
        CLEANUP_FREE char *key = NULL;
        int r = check_pair(dirfd, name, ".cert", ".key", &key);

        if (r == -ENOENT)
                return error_set(
                        error, OUTCOME_FAILED,
                        "missing key %s for client certificate %s. CA certificates must use the extension .crt", key,
                        name);
        if (r < 0 || trust->certificate.size > 0)
                return r;
        r = append_file(dirfd, name, &trust->certificate);
        return r < 0 ? r : append_file(dirfd, key, &trust->key);
}

static int read_entry(int dirfd, const char *name, RegistryTrust *trust, Error *error)
{
        CLEANUP_FREE char *other = NULL;
        int r;

        if (str_has_suffix(name, ".crt"))
                return append_file(dirfd, name, &trust->authorities);
        if (str_has_suffix(name, ".cert"))
                return read_client(dirfd, name, trust, error);
        if (!str_has_suffix(name, ".key"))
                return 0;
        r = check_pair(dirfd, name, ".key", ".cert", &other);
        return r == -ENOENT ? error_set(error, OUTCOME_FAILED, "missing client certificate %s for key %s", other, name)
                            : r;
}

static int read_directory(const char *path, RegistryTrust *trust, Error *error)
{
        CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct dirent **entries = NULL;
        int r = 0, n;

        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        n = scandir(path, &entries, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                if (r == 0)
                        r = read_entry(fd, entries[i]->d_name, trust, error);
                free(entries[i]);
        }
        free(entries);
        return n < 0 ? -errno : r;
}

void registry_trust_for_each(void (*call)(const char *name, void *userdata), void *userdata)
{
        for (size_t i = 0; i < ARRAY_SIZE(trust_roots); i++) {
                CLEANUP_CLOSEDIR DIR *dir = opendir(trust_roots[i]);
                struct dirent *entry;

                while (dir && (entry = readdir(dir)))
                        if (*entry->d_name != '.')
                                call(entry->d_name, userdata);
        }
}

int registry_trust_read(const char *name, RegistryTrust *ret, Error *error)
{
        CLEANUP(registry_trust_clear) RegistryTrust trust = { .name = strdup(name) };
        int r = trust.name ? 0 : -ENOMEM;

        if (strchr(name, '/') || *name == '.')
                return -EINVAL;
        for (size_t i = 0; i < ARRAY_SIZE(trust_roots) && r == 0; i++) {
                CLEANUP_FREE char *path = path_join(trust_roots[i], name);

                r = path ? read_directory(path, &trust, error) : -ENOMEM;
        }
        if (r != 0)
                return r;
        *ret = trust;
        trust = (RegistryTrust) { 0 };
        return 0;
}
