/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-curl.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

#include "berth/cleanup.h"

#define LIBRARY "libcurl.so.4"

RegistryCurl registry_curl;

static const struct {
        const char *name;
        size_t offset;
} symbols[] = {
        { "curl_global_init", offsetof(RegistryCurl, global_init) },
        { "curl_easy_init", offsetof(RegistryCurl, easy_init) },
        { "curl_easy_cleanup", offsetof(RegistryCurl, easy_cleanup) },
        { "curl_easy_reset", offsetof(RegistryCurl, easy_reset) },
        { "curl_easy_setopt", offsetof(RegistryCurl, easy_setopt) },
        { "curl_easy_getinfo", offsetof(RegistryCurl, easy_getinfo) },
        { "curl_easy_perform", offsetof(RegistryCurl, easy_perform) },
        { "curl_easy_strerror", offsetof(RegistryCurl, easy_strerror) },
        { "curl_slist_append", offsetof(RegistryCurl, slist_append) },
        { "curl_slist_free_all", offsetof(RegistryCurl, slist_free_all) },
};

int registry_curl_load(void)
{
        static bool loaded;
        void *library;

        if (loaded)
                return 0;
        library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!library)
                return -ELIBACC;
        for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
                void *address = dlsym(library, symbols[i].name);

                if (!address)
                        return -ELIBACC;
                *(void **) ((char *) &registry_curl + symbols[i].offset) = address;
        }
        if (registry_curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return -EIO;
        loaded = true;
        return 0;
}
