/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See registry-speaker.h. A message either way is its size and its fields; a field is its size and its bytes, or
 * NO_TEXT. Numbers are the machine's own, as both sides are one program. */
#include "registry-speaker.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/file.h"
#include "berth/string.h"
#include "registry-privilege.h"

#define NO_TEXT UINT32_MAX
#define MESSAGE_SIZE_MAX (64u * 1024 * 1024)
#define HEADERS_MAX 32
#define TICK_MS 100

typedef enum Question {
        QUESTION_SEND,
        QUESTION_INSECURE,
} Question;

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static int put(Buffer *message, const void *data, size_t size)
{
        uint32_t length = (uint32_t) size;
        int r = size < NO_TEXT ? buffer_append(message, &length, sizeof(length)) : -EMSGSIZE;

        return r < 0 || size == 0 ? r : buffer_append(message, data, size);
}

static int put_text(Buffer *message, const char *text)
{
        uint32_t none = NO_TEXT;

        return text ? put(message, text, strlen(text)) : buffer_append(message, &none, sizeof(none));
}

static int put_number(Buffer *message, int64_t number)
{
        return put(message, &number, sizeof(number));
}

/* Takes a field off the front. *ret_data is borrowed, NULL where there is no text. */
static int take(Buffer *message, size_t *at, const char **ret_data, size_t *ret_size)
{
        uint32_t size;

        if (message->size - *at < sizeof(size))
                return -EBADMSG;
        memcpy(&size, message->data + *at, sizeof(size));
        *at += sizeof(size);
        *ret_data = NULL;
        *ret_size = 0;
        if (size == NO_TEXT)
                return 0;
        if (message->size - *at < size)
                return -EBADMSG;
        *ret_data = message->data + *at;
        *ret_size = size;
        *at += size;
        return 0;
}

static int take_text(Buffer *message, size_t *at, char **ret)
{
        const char *data;
        size_t size;
        int r = take(message, at, &data, &size);

        if (r < 0 || !data)
                return r;
        *ret = strndup(data, size);
        return *ret ? 0 : -ENOMEM;
}

static int take_number(Buffer *message, size_t *at, int64_t *ret)
{
        const char *data;
        size_t size;
        int r = take(message, at, &data, &size);

        if (r < 0)
                return r;
        if (!data || size != sizeof(*ret))
                return -EBADMSG;
        memcpy(ret, data, sizeof(*ret));
        return 0;
}

static int send_message(int socket, const Buffer *message)
{
        uint32_t size = (uint32_t) message->size;
        int r = message->size <= MESSAGE_SIZE_MAX ? fd_write_all(socket, &size, sizeof(size)) : -EMSGSIZE;

        return r < 0 ? r : fd_write_all(socket, message->data, message->size);
}

/* Reads until the buffer has SIZE bytes. WAIT, if there is one, is asked now and then. */
static int read_up_to(int socket, Buffer *message, size_t size, const RegistryRequest *wait)
{
        while (message->size < size) {
                struct pollfd poller = { .fd = socket, .events = POLLIN };
                int ready = poll(&poller, 1, wait && wait->tick ? TICK_MS : -1);
                int r = wait && wait->tick ? wait->tick(wait->tick_userdata) : 0;

                if (r != 0)
                        return r;
                if (ready <= 0)
                        continue;
                ssize_t n = buffer_read(message, socket, size - message->size);
                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? (int) n : -EPIPE;
        }
        return 0;
}

static int receive_message(int socket, Buffer *message, const RegistryRequest *wait)
{
        uint32_t size;
        int r = read_up_to(socket, message, sizeof(size), wait);

        if (r != 0)
                return r;
        memcpy(&size, message->data, sizeof(size));
        message->size = 0;
        return size <= MESSAGE_SIZE_MAX ? read_up_to(socket, message, size, wait) : -EMSGSIZE;
}

/* The texts of a response, in the order in which they are sent. */
#define RESPONSE_TEXTS 10

static void list_texts(RegistryResponse *response, char **ret[static RESPONSE_TEXTS])
{
        char **texts[RESPONSE_TEXTS] = { &response->type,      &response->location,    &response->digest,
                                         &response->challenge, &response->retry_after, &response->content_range,
                                         &response->link,      &response->token,       &response->range,
                                         &response->chunk_min };

        memcpy(ret, texts, sizeof(texts));
}

/* --- In the speaker ----------------------------------------------------------------------------------------------- */

typedef struct Sent {
        char *method, *url, *authorization, *headers[HEADERS_MAX + 1];
} Sent;

static void sent_clear(Sent *sent)
{
        free(sent->method);
        free(sent->url);
        free(sent->authorization);
        for (size_t i = 0; i < HEADERS_MAX; i++)
                free(sent->headers[i]);
}

static int answer_send(RegistryClient *client, Buffer *message, size_t at, Buffer *answer)
{
        CLEANUP(sent_clear) Sent sent = { 0 };
        CLEANUP_REGISTRY_RESPONSE RegistryResponse response = { 0 };
        CLEANUP_ERROR Error error = { 0 };
        RegistryRequest request = { 0 };
        int64_t timeout = 0, patience = 0, n_headers = 0;
        const char *body = NULL;
        char **texts[RESPONSE_TEXTS];
        int r = take_text(message, &at, &sent.method);

        if (r >= 0)
                r = take_text(message, &at, &sent.url);
        if (r >= 0)
                r = take_text(message, &at, &sent.authorization);
        if (r >= 0)
                r = take(message, &at, &body, &request.body_size);
        if (r >= 0)
                r = take_number(message, &at, &timeout);
        if (r >= 0)
                r = take_number(message, &at, &patience);
        if (r >= 0)
                r = take_number(message, &at, &n_headers);
        for (int64_t i = 0; r >= 0 && i < MIN(n_headers, (int64_t) HEADERS_MAX); i++)
                r = take_text(message, &at, &sent.headers[i]);
        if (r < 0 || !sent.method || !sent.url)
                return r < 0 ? r : -EBADMSG;
        request.method = sent.method;
        request.url = sent.url;
        request.authorization = sent.authorization;
        request.headers = sent.headers;
        request.body = body;
        request.timeout = (unsigned) timeout;
        request.patience = (unsigned) patience;
        r = registry_client_send(client, &request, &response, &error);

        int p = put_number(answer, r);
        if (p >= 0)
                p = put_text(answer, error.message);
        if (p >= 0)
                p = put_number(answer, response.status);
        if (p >= 0)
                p = put_number(answer, response.length);
        if (p >= 0)
                p = put_text(answer, response.reason);
        list_texts(&response, texts);
        for (size_t i = 0; p >= 0 && i < RESPONSE_TEXTS; i++)
                p = put_text(answer, *texts[i]);
        return p < 0 ? p : put(answer, response.body.data, response.body.size);
}

static int answer_insecure(RegistryClient *client, Buffer *message, size_t at, Buffer *answer)
{
        CLEANUP_FREE char *name = NULL;
        int r = take_text(message, &at, &name);

        if (r < 0 || !name)
                return r < 0 ? r : -EBADMSG;
        return put_number(answer, registry_client_host_is_insecure(client, name));
}

static _Noreturn void speaker_main(RegistryClient *client, int socket, pid_t parent)
{
        if (registry_close_others(socket, socket) < 0 || registry_become_nobody() < 0 || getppid() != parent)
                _exit(1);
        for (;;) {
                CLEANUP_BUFFER Buffer message = { 0 }, answer = { 0 };
                int64_t question = -1;
                size_t at = 0;
                int r = receive_message(socket, &message, NULL);

                if (r < 0)
                        _exit(r != -EPIPE);
                r = take_number(&message, &at, &question);
                if (r >= 0)
                        r = question == QUESTION_SEND ? answer_send(client, &message, at, &answer)
                                                      : answer_insecure(client, &message, at, &answer);
                if (r < 0 || send_message(socket, &answer) < 0)
                        _exit(1);
        }
}

/* --- In the process that asks ------------------------------------------------------------------------------------- */

int registry_speaker_start(RegistryClient *client, RegistrySpeaker *ret)
{
        int fds[2];
        pid_t parent = getpid(), pid;
        int r = socket_pair(SOCK_STREAM, fds);

        if (r < 0)
                return r;
        CLEANUP_CLOSE int ours = fds[0], theirs = fds[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                speaker_main(client, theirs, parent);
        *ret = (RegistrySpeaker) { .pid = pid, .socket = TAKE_FD(ours) };
        return 0;
}

void registry_speaker_stop(RegistrySpeaker *speaker)
{
        speaker->socket = fd_close(speaker->socket);
        /* Where it is no child of this process neither call does anything. */
        if (speaker->pid > 0 && waitpid(speaker->pid, NULL, WNOHANG) == 0) {
                kill(speaker->pid, SIGKILL);
                waitpid(speaker->pid, NULL, 0);
        }
        speaker->pid = 0;
}

static int put_request(Buffer *message, const RegistryRequest *request)
{
        int64_t n_headers = 0;
        int r = put_number(message, QUESTION_SEND);

        while (request->headers && request->headers[n_headers])
                n_headers++;
        if (n_headers > HEADERS_MAX)
                return -E2BIG;
        if (r >= 0)
                r = put_text(message, request->method);
        if (r >= 0)
                r = put_text(message, request->url);
        if (r >= 0)
                r = put_text(message, request->authorization);
        if (r >= 0)
                r = request->body ? put(message, request->body, request->body_size) : put_text(message, NULL);
        if (r >= 0)
                r = put_number(message, request->timeout);
        if (r >= 0)
                r = put_number(message, request->patience);
        if (r >= 0)
                r = put_number(message, n_headers);
        for (int64_t i = 0; i < n_headers && r >= 0; i++)
                r = put_text(message, request->headers[i]);
        return r;
}

static int take_response(Buffer *message, RegistryResponse *response, int64_t *ret_result, Error *error)
{
        CLEANUP_FREE char *words = NULL, *reason = NULL;
        char **texts[RESPONSE_TEXTS];
        const char *body = NULL;
        size_t at = 0, size = 0;
        int64_t status = 0;
        int r = take_number(message, &at, ret_result);

        if (r >= 0)
                r = take_text(message, &at, &words);
        if (r >= 0)
                r = take_number(message, &at, &status);
        if (r >= 0)
                r = take_number(message, &at, &response->length);
        if (r >= 0)
                r = take_text(message, &at, &reason);
        list_texts(response, texts);
        for (size_t i = 0; r >= 0 && i < RESPONSE_TEXTS; i++)
                r = take_text(message, &at, texts[i]);
        if (r >= 0)
                r = take(message, &at, &body, &size);
        if (r >= 0 && size > 0)
                r = buffer_append(&response->body, body, size);
        if (r < 0)
                return r;
        response->status = (int) status;
        snprintf(response->reason, sizeof(response->reason), "%s", reason ?: "");
        if (words)
                error_set(error, *ret_result > 0 ? (Outcome) *ret_result : OUTCOME_FAILED, "%s", words);
        return 0;
}

static int ask(RegistrySpeaker *speaker, const Buffer *message, const RegistryRequest *wait, Buffer *ret_answer)
{
        int r = send_message(speaker->socket, message);

        return r < 0 ? r : receive_message(speaker->socket, ret_answer, wait);
}

int registry_speaker_send(RegistrySpeaker *speaker, const RegistryRequest *request, RegistryResponse *ret, Error *error)
{
        CLEANUP_BUFFER Buffer message = { 0 }, answer = { 0 };
        int64_t result = 0;
        int r = put_request(&message, request);

        registry_response_clear(ret);
        if (r >= 0)
                r = ask(speaker, &message, request, &answer);
        if (r == 0)
                r = take_response(&answer, ret, &result, error);
        if (r == -EPIPE || r == -ECONNRESET || r == -EBADMSG)
                return error_set(error, OUTCOME_FAILED, "the process that speaks to the registry ended early");
        return r != 0 ? r : (int) result;
}

bool registry_speaker_host_is_insecure(RegistrySpeaker *speaker, const char *name)
{
        CLEANUP_BUFFER Buffer message = { 0 }, answer = { 0 };
        int64_t result = 0;
        size_t at = 0;

        return put_number(&message, QUESTION_INSECURE) >= 0 && put_text(&message, name) >= 0 &&
               ask(speaker, &message, NULL, &answer) == 0 && take_number(&answer, &at, &result) >= 0 && result;
}
