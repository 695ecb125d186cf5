/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Redirects are followed here and not by libcurl, as each hop has a trust and a proxy of its own, and nobody but the
 * host that was asked gets the credentials. */
#include "registry-http.h"

#include <string.h>
#include <strings.h>

#include "berth/string.h"
#include "registry-curl.h"
#include "registry-speaker.h"

#define REDIRECTS_MAX 10
#define CONNECT_SECONDS 30L
#define STALL_SECONDS 120u
#define BUFFER_SIZE (512L * 1024)
#define HEADER_SIZE_MAX (64u * 1024)
#define TRUSTS_MAX 64
#define TRUSTS_KNOWN_MAX 32 /* that are read beforehand; the others are for hosts nothing is kept for */

struct RegistryClient {
        const RegistryConfig *config;
        CURL *easy;
        RegistryTrust trusts[TRUSTS_MAX];
        struct {
                bool known, insecure;
        } looked_up[TRUSTS_MAX];
        size_t n_trusts;
        RegistrySpeaker speaker; /* which does all of it where there is one */
};

/* One hop. */
typedef struct Exchange {
        const RegistryRequest *request;
        RegistryResponse *response;
        struct curl_slist *headers; /* owned */
        char message[CURL_ERROR_SIZE];
        int result; /* of a callback that ended it */
        size_t sent;
} Exchange;

void registry_response_clear(RegistryResponse *response)
{
        free(response->type);
        free(response->location);
        free(response->digest);
        free(response->challenge);
        free(response->retry_after);
        free(response->content_range);
        free(response->range);
        free(response->chunk_min);
        free(response->link);
        free(response->token);
        free(response->modified);
        free(response->disposition);
        buffer_clear(&response->body);
        *response = (RegistryResponse) { .length = -1 };
}

static void exchange_clear(Exchange *exchange)
{
        registry_curl.slist_free_all(exchange->headers);
}

/* --- Callbacks ---------------------------------------------------------------------------------------------------- */

static void take_header(RegistryResponse *response, const char *name, size_t name_size, const char *value)
{
        const struct {
                const char *name;
                char **member;
        } known[] = { { "content-type", &response->type },
                      { "location", &response->location },
                      { "docker-content-digest", &response->digest },
                      { "www-authenticate", &response->challenge },
                      { "retry-after", &response->retry_after },
                      { "content-range", &response->content_range },
                      { "range", &response->range },
                      { "oci-chunk-min-length", &response->chunk_min },
                      { "link", &response->link },
                      { "x-docker-token", &response->token },
                      { "last-modified", &response->modified },
                      { "content-disposition", &response->disposition } };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
                if (strlen(known[i].name) != name_size || strncasecmp(known[i].name, name, name_size) != 0)
                        continue;
                char *joined = *known[i].member ? str_printf("%s\n%s", *known[i].member, value) : strdup(value);
                if (joined && strlen(joined) < HEADER_SIZE_MAX) {
                        free(*known[i].member);
                        *known[i].member = joined;
                } else
                        free(joined);
        }
        if (name_size == 14 && strncasecmp(name, "content-length", name_size) == 0)
                str_to_int64(value, 0, INT64_MAX, &response->length);
}

static size_t on_header(char *data, size_t unit, size_t count, void *userdata)
{
        Exchange *exchange = userdata;
        RegistryResponse *response = exchange->response;
        size_t size = unit * count, used = size;

        if (size > 5 && strncmp(data, "HTTP/", 5) == 0) {
                /* Also after "100 Continue" and a proxy's answer to CONNECT: the last one counts. */
                const char *blank = memchr(data, ' ', size);

                registry_response_clear(response);
                response->status = blank ? atoi(blank + 1) : 0;
                if (blank)
                        snprintf(response->reason, sizeof(response->reason), "%.*s", (int) strcspn(blank + 1, "\r\n"),
                                 blank + 1);
                return size;
        }
        while (used > 0 && strchr(" \t\r\n", data[used - 1]))
                used--;
        const char *colon = memchr(data, ':', used);
        if (!colon)
                return size;
        size_t skip = (size_t) (colon + 1 - data);
        while (skip < used && (data[skip] == ' ' || data[skip] == '\t'))
                skip++;
        CLEANUP_FREE char *value = strndup(data + skip, used - skip);
        if (value)
                take_header(response, data, (size_t) (colon - data), value);
        return size;
}

static size_t on_body(char *data, size_t unit, size_t count, void *userdata)
{
        Exchange *exchange = userdata;
        RegistryResponse *response = exchange->response;
        size_t size = unit * count;

        if (exchange->request->write && response->status >= 200 && response->status < 300) {
                exchange->result = exchange->request->write(exchange->request->userdata, response, data, size);
                return exchange->result == 0 ? size : 0;
        }
        if (response->body.size + size > REGISTRY_DOCUMENT_SIZE_MAX) {
                exchange->result = -EFBIG;
                return 0;
        }
        exchange->result = buffer_append(&response->body, data, size);
        return exchange->result == 0 ? size : 0;
}

static size_t on_upload(char *data, size_t unit, size_t count, void *userdata)
{
        Exchange *exchange = userdata;
        const RegistryRequest *request = exchange->request;

        if (request->read) {
                ssize_t n = request->read(request->userdata, data, unit * count);

                if (n < 0) {
                        exchange->result = (int) n;
                        return CURL_READFUNC_ABORT;
                }
                return (size_t) n;
        }
        size_t n = MIN(unit * count, request->body_size - exchange->sent);
        memcpy(data, (const char *) request->body + exchange->sent, n);
        exchange->sent += n;
        return n;
}

/* A body in memory can be sent again, where the connection that was kept turned out to be closed. */
static int on_seek(void *userdata, curl_off_t offset, int origin)
{
        Exchange *exchange = userdata;

        if (exchange->request->read || origin != SEEK_SET || offset < 0 ||
            (size_t) offset > exchange->request->body_size)
                return CURL_SEEKFUNC_CANTSEEK;
        exchange->sent = (size_t) offset;
        return CURL_SEEKFUNC_OK;
}

static int on_tick(void *userdata, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
        Exchange *exchange = userdata;
        (void) down_total;
        (void) down;
        (void) up_total;
        (void) up;

        if (exchange->request->tick && exchange->result == 0)
                exchange->result = exchange->request->tick(exchange->request->tick_userdata);
        return exchange->result != 0;
}

/* --- The client --------------------------------------------------------------------------------------------------- */

int registry_client_new(const RegistryConfig *config, RegistryClient **ret, Error *error)
{
        int r = registry_curl_load();
        if (r == -ELIBACC)
                return error_set(error, OUTCOME_FAILED, "libcurl.so.4, which registries need, is not installed");
        if (r < 0)
                return r;
        CLEANUP_REGISTRY_CLIENT RegistryClient *client = calloc(1, sizeof(*client));
        if (!client)
                return -ENOMEM;
        client->config = config;
        client->speaker = REGISTRY_SPEAKER_NONE;
        client->easy = registry_curl.easy_init();
        if (!client->easy)
                return -ENOMEM;
        *ret = TAKE_PTR(client);
        return 0;
}

void registry_client_free(RegistryClient *client)
{
        if (!client)
                return;
        registry_speaker_stop(&client->speaker);
        if (client->easy)
                registry_curl.easy_cleanup(client->easy);
        for (size_t i = 0; i < client->n_trusts; i++)
                registry_trust_clear(&client->trusts[i]);
        free(client);
}

int registry_client_delegate(RegistryClient *client)
{
        return registry_speaker_start(client, &client->speaker);
}

void registry_client_stand_alone(RegistryClient *client)
{
        registry_speaker_stop(&client->speaker);
}

static int find_trust(RegistryClient *client, const char *name, size_t *ret, Error *error)
{
        for (size_t i = 0; i < client->n_trusts; i++)
                if (str_equal(client->trusts[i].name, name)) {
                        *ret = i;
                        return 0;
                }
        if (client->n_trusts == TRUSTS_MAX)
                return -E2BIG;
        int r = registry_trust_read(name, &client->trusts[client->n_trusts], error);
        if (r != 0)
                return r;
        *ret = client->n_trusts++;
        return 0;
}

int registry_client_prepare(RegistryClient *client, const char *name, Error *error)
{
        size_t index;

        return find_trust(client, name, &index, error);
}

static void prepare_named(const char *name, void *userdata)
{
        CLEANUP_ERROR Error ignored = { 0 };
        RegistryClient *client = userdata;

        if (client->n_trusts < TRUSTS_KNOWN_MAX)
                registry_client_prepare(client, name, &ignored);
}

void registry_client_prepare_others(RegistryClient *client)
{
        registry_trust_for_each(prepare_named, client);
}

static bool is_insecure(RegistryClient *client, size_t index)
{
        if (!client->looked_up[index].known)
                client->looked_up[index].insecure =
                        registry_host_is_insecure(client->config->insecure, client->trusts[index].name);
        client->looked_up[index].known = true;
        return client->looked_up[index].insecure;
}

bool registry_client_host_is_insecure(RegistryClient *client, const char *name)
{
        CLEANUP_ERROR Error ignored = { 0 };
        size_t index;

        if (client->speaker.socket >= 0)
                return registry_speaker_host_is_insecure(&client->speaker, name);
        return find_trust(client, name, &index, &ignored) == 0
                       ? is_insecure(client, index)
                       : registry_host_is_insecure(client->config->insecure, name);
}

static void set_blob(CURL *easy, CURLoption option, const Buffer *data)
{
        struct curl_blob blob = { .data = data->data, .len = data->size, .flags = CURL_BLOB_COPY };

        if (data->size > 0)
                registry_curl.easy_setopt(easy, option, &blob);
}

static int set_host(RegistryClient *client, const RegistryUrl *url, Error *error)
{
        const char *proxy = registry_proxy_for(client->config, url);
        size_t index;
        int r = find_trust(client, url->name, &index, error);

        if (r != 0)
                return r;
        if (is_insecure(client, index)) {
                registry_curl.easy_setopt(client->easy, CURLOPT_SSL_VERIFYPEER, 0L);
                registry_curl.easy_setopt(client->easy, CURLOPT_SSL_VERIFYHOST, 0L);
        }
        /* The system's authorities stay: they are a directory, and this replaces the file only. */
        set_blob(client->easy, CURLOPT_CAINFO_BLOB, &client->trusts[index].authorities);
        set_blob(client->easy, CURLOPT_SSLCERT_BLOB, &client->trusts[index].certificate);
        set_blob(client->easy, CURLOPT_SSLKEY_BLOB, &client->trusts[index].key);
        registry_curl.easy_setopt(client->easy, CURLOPT_PROXY, proxy ?: "");
        registry_curl.easy_setopt(client->easy, CURLOPT_NOPROXY, "");
        return 0;
}

static void set_callbacks(CURL *easy, Exchange *exchange)
{
        const struct {
                CURLoption option;
                void *value;
        } pointers[] = {
                { CURLOPT_HEADERFUNCTION, (void *) on_header }, { CURLOPT_HEADERDATA, exchange },
                { CURLOPT_WRITEFUNCTION, (void *) on_body },    { CURLOPT_WRITEDATA, exchange },
                { CURLOPT_READFUNCTION, (void *) on_upload },   { CURLOPT_READDATA, exchange },
                { CURLOPT_SEEKFUNCTION, (void *) on_seek },     { CURLOPT_SEEKDATA, exchange },
                { CURLOPT_XFERINFOFUNCTION, (void *) on_tick }, { CURLOPT_XFERINFODATA, exchange },
                { CURLOPT_ERRORBUFFER, exchange->message },
        };

        for (size_t i = 0; i < ARRAY_SIZE(pointers); i++)
                registry_curl.easy_setopt(easy, pointers[i].option, pointers[i].value);
}

/* -1: chunked. */
static curl_off_t upload_size(const RegistryRequest *request)
{
        if (request->read)
                return request->read_size > 0 ? request->read_size : -1;
        return (curl_off_t) request->body_size;
}

static void set_method(CURL *easy, const RegistryRequest *request)
{
        registry_curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
        if (str_equal(request->method, "HEAD"))
                registry_curl.easy_setopt(easy, CURLOPT_NOBODY, 1L);
        else if (request->read || request->body) {
                registry_curl.easy_setopt(easy, CURLOPT_UPLOAD, 1L);
                registry_curl.easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, upload_size(request));
        }
}

static int add_header(Exchange *exchange, const char *line)
{
        struct curl_slist *longer = registry_curl.slist_append(exchange->headers, line);

        if (!longer)
                return -ENOMEM;
        exchange->headers = longer;
        return 0;
}

static int set_headers(CURL *easy, Exchange *exchange, bool with_authorization)
{
        const RegistryRequest *request = exchange->request;
        /* An empty Expect: without it libcurl waits a second for "100 Continue". */
        int r = add_header(exchange, "Expect:");

        for (char *const *line = request->headers; line && *line && r >= 0; line++)
                r = add_header(exchange, *line);
        if (r >= 0 && request->authorization && with_authorization) {
                CLEANUP_FREE char *line = str_printf("Authorization: %s", request->authorization);

                r = line ? add_header(exchange, line) : -ENOMEM;
        }
        registry_curl.easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
        return r;
}

/* Docker's words, which are Go's, for what goes wrong most. */
static int describe(RegistryClient *client, const RegistryRequest *request, const char *url, CURLcode code,
                    const Exchange *exchange, Error *error)
{
        CLEANUP_REGISTRY_URL RegistryUrl parts = { 0 };
        CLEANUP_FREE char *what = NULL;
        char method[16];
        long number = 0;

        snprintf(method, sizeof(method), "%c%s", request->method[0], request->method + 1);
        for (char *p = method + 1; *p; p++)
                *p |= 0x20;
        if (registry_url_parse(url, &parts) < 0)
                return error_set(error, OUTCOME_UNAVAILABLE, "%s \"%s\": unsupported protocol scheme", method, url);
        const char *port = parts.port ?: parts.tls ? "443" : "80";
        switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
                what = str_printf("dial tcp: lookup %s: no such host", parts.host);
                break;
        case CURLE_COULDNT_CONNECT:
                registry_curl.easy_getinfo(client->easy, CURLINFO_OS_ERRNO, &number);
                what = str_printf("dial tcp %s:%s: connect: %s", parts.host, port,
                                  number == ECONNREFUSED || number == 0 ? "connection refused"
                                                                        : strerror((int) number));
                break;
        case CURLE_OPERATION_TIMEDOUT:
                what = strdup("net/http: request canceled (Client.Timeout exceeded while awaiting headers)");
                break;
        case CURLE_PEER_FAILED_VERIFICATION:
                what = strstr(exchange->message, "unable to get local issuer") ||
                                       strstr(exchange->message, "self-signed") ||
                                       strstr(exchange->message, "self signed")
                               ? strdup("tls: failed to verify certificate: x509: certificate signed by unknown "
                                        "authority")
                               : str_printf("tls: failed to verify certificate: %s", exchange->message);
                break;
        case CURLE_GOT_NOTHING:
                what = strdup("EOF");
                break;
        case CURLE_PARTIAL_FILE:
                what = strdup("unexpected EOF");
                break;
        case CURLE_SSL_CONNECT_ERROR:
                if (strstr(exchange->message, "wrong version number"))
                        what = strdup("http: server gave HTTP response to HTTPS client");
                break;
        default:
                break;
        }
        return error_set(error, OUTCOME_UNAVAILABLE, "%s \"%s\": %s", method, url,
                         what
                                 ?: *exchange->message ? exchange->message
                                                       : registry_curl.easy_strerror(code));
}

static int perform(RegistryClient *client, const RegistryRequest *request, const char *url, bool with_authorization,
                   RegistryResponse *response, Error *error)
{
        CLEANUP(exchange_clear) Exchange exchange = { .request = request, .response = response };
        CLEANUP_REGISTRY_URL RegistryUrl parts = { 0 };
        CURL *easy = client->easy;
        int r = registry_url_parse(url, &parts);

        if (r == -EINVAL)
                return describe(client, request, url, CURLE_UNSUPPORTED_PROTOCOL, &exchange, error);
        registry_curl.easy_reset(easy);
        registry_response_clear(response);
        registry_curl.easy_setopt(easy, CURLOPT_URL, url);
        registry_curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        registry_curl.easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
        registry_curl.easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
        registry_curl.easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_SIZE);
        registry_curl.easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
        registry_curl.easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        registry_curl.easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long) (request->patience ?: STALL_SECONDS));
        registry_curl.easy_setopt(easy, CURLOPT_TIMEOUT, (long) request->timeout);
        registry_curl.easy_setopt(easy, CURLOPT_USERAGENT, "berth/" BERTH_VERSION);
        set_callbacks(easy, &exchange);
        set_method(easy, request);
        if (r >= 0)
                r = set_headers(easy, &exchange, with_authorization);
        if (r == 0)
                r = set_host(client, &parts, error);
        if (r != 0)
                return r;
        CURLcode code = registry_curl.easy_perform(easy);
        registry_curl.easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
        if (exchange.result != 0)
                return exchange.result;
        return code == CURLE_OK ? 0 : describe(client, request, url, code, &exchange, error);
}

static bool is_redirect(const RegistryRequest *request, const RegistryResponse *response)
{
        return (str_equal(request->method, "GET") || str_equal(request->method, "HEAD")) &&
               (response->status == 301 || response->status == 302 || response->status == 303 ||
                response->status == 307 || response->status == 308);
}

int registry_client_send(RegistryClient *client, const RegistryRequest *request, RegistryResponse *ret, Error *error)
{
        CLEANUP_REGISTRY_URL RegistryUrl origin = { 0 };
        CLEANUP_FREE char *url = strdup(request->url);

        if (!url)
                return -ENOMEM;
        if (client->speaker.socket >= 0)
                return registry_speaker_send(&client->speaker, request, ret, error);
        registry_url_parse(url, &origin);
        for (unsigned hops = 0;; hops++) {
                CLEANUP_REGISTRY_URL RegistryUrl parts = { 0 };
                const char *next = NULL;
                registry_url_parse(url, &parts);
                int r = perform(client, request, url, str_equal(parts.name, origin.name) && (parts.tls || !origin.tls),
                                ret, error);

                if (r != 0 || !is_redirect(request, ret))
                        return r;
                registry_curl.easy_getinfo(client->easy, CURLINFO_REDIRECT_URL, &next);
                char *copy = next ? strdup(next) : NULL;
                if (!copy || hops >= REDIRECTS_MAX) {
                        free(copy);
                        return error_set(error, OUTCOME_FAILED, "%s: stopped after %u redirects", request->url, hops);
                }
                free(url);
                url = copy;
        }
}
