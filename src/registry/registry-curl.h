/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libcurl, loaded by the process that talks to a registry: it brings some thirty libraries, which would cost each start
 * of the daemon 10 ms. Of its builds Debian's libcurl4 is the one whose TLS library is the one of the digests. */
#pragma once

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

typedef struct RegistryCurl {
        __typeof__(curl_global_init) *global_init;
        __typeof__(curl_easy_init) *easy_init;
        __typeof__(curl_easy_cleanup) *easy_cleanup;
        __typeof__(curl_easy_reset) *easy_reset;
        CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
        CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
        __typeof__(curl_easy_perform) *easy_perform;
        const char *(*easy_strerror)(CURLcode code);
        struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
        void (*slist_free_all)(struct curl_slist *list);
} RegistryCurl;

/* Valid after registry_curl_load(). */
extern RegistryCurl registry_curl;

/* 0, or -ELIBACC where the library is missing. */
int registry_curl_load(void);
