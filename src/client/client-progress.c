/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One JSON message a line. A message with an ID and a progress belongs to a line that changes; every other one ends the
 * lines before it. */
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-progress.h"
#include "client.h"

/* A message longer than this is none. */
#define MESSAGE_MAX (16u * 1024 * 1024)

void client_progress_clear(ClientProgress *progress)
{
        if (progress->file)
                client_bars_end(&progress->bars, progress->file);
        client_bars_clear(&progress->bars);
        *progress = (ClientProgress) {};
}

static void show(ClientProgress *progress, const json_t *message)
{
        const char *id = json_get_string_or(message, "id", ""), *text = json_get_string(message, "stream");
        const char *status = json_get_string_or(message, "status", "");
        const json_t *detail = json_get_object(message, "progressDetail");
        int64_t current = json_get_int(detail, "current", 0), total = json_get_int(detail, "total", 0);
        bool terminal = isatty(fileno(progress->file)) || progress->bars.rows > 0;

        if (progress->quiet || json_object_get(message, "aux"))
                return;
        if (!terminal && (current > 0 || total > 0))
                return;
        if (terminal && *id && !text && (detail || json_get_string(message, "progress"))) {
                client_bars_set(&progress->bars, id, status, current, total);
                return;
        }
        client_bars_end(&progress->bars, progress->file);
        if (*id)
                fprintf(progress->file, "%s: ", id);
        fprintf(progress->file, "%s%s", text ?: status, text ? "" : "\n");
        fflush(progress->file);
}

int client_progress_take(ClientProgress *progress, Buffer *buffer, Error *error)
{
        size_t size;

        while (buffer_line(buffer, &size)) {
                CLEANUP_JSON json_t *message = json_loadb(buffer->data, size, 0, NULL);
                const json_t *detail = json_get_object(message, "errorDetail");
                const char *failure = json_get_string(detail, "message") ?: json_get_string(message, "error");

                buffer_consume(buffer, size + 1);
                if (failure)
                        client_bars_end(&progress->bars, progress->file);
                if (failure && json_get_int(detail, "code", 0) == 401)
                        return error_set(error, OUTCOME_UNAUTHORIZED, "authentication is required");
                if (failure)
                        return error_set(error, OUTCOME_FAILED, "%s", failure);
                if (message)
                        show(progress, message);
        }
        if (buffer->size > MESSAGE_MAX)
                return error_set(error, OUTCOME_FAILED, "the daemon's answer is not readable");
        client_bars_draw(&progress->bars, progress->file);
        return 0;
}

int client_progress_run(ClientProgress *progress, HttpClient *http, Error *error)
{
        Buffer *body = http_client_body(http);
        int r;

        for (;;) {
                r = client_progress_take(progress, body, error);
                if (r != 0)
                        return r;
                if (http_client_complete(http))
                        break;
                r = http_client_step(http);
                if (r < 0) {
                        client_bars_end(&progress->bars, progress->file);
                        return error_set(error, OUTCOME_FAILED,
                                         "error during connect: the daemon closed the connection");
                }
        }
        /* A last message need not end its line. */
        r = body->size > 0 && buffer_append(body, "\n", 1) == 0 ? client_progress_take(progress, body, error) : 0;
        client_bars_end(&progress->bars, progress->file);
        return r;
}
