/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One JSON message a line. On a terminal every ID keeps a line of its own, which is found again by counting up from
 * where the cursor rests below them all; elsewhere only what is final is printed. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-progress.h"
#include "client-text.h"
#include "client.h"

#define BAR_COLUMNS 50

void client_progress_clear(ClientProgress *progress)
{
        strv_free(progress->ids);
        *progress = (ClientProgress) {};
}

static unsigned columns_of(FILE *file)
{
        struct winsize size;

        if (ioctl(fileno(file), TIOCGWINSZ, &size) < 0)
                return 0;
        return size.ws_col ?: 80;
}

/* "[====>      ]  1.2MB/3MB", owned by the caller; empty where there is nothing to say. */
static char *make_bar(const json_t *detail, unsigned columns)
{
        int64_t current = json_get_int(detail, "current", 0), total = json_get_int(detail, "total", 0);
        CLEANUP_FREE char *done = client_must(text_size(current, 4)), *all = client_must(text_size(total, 4));
        char bar[BAR_COLUMNS + 1];
        int filled;

        if (current <= 0 && total <= 0)
                return client_must(strdup(""));
        if (total <= 0)
                return client_must(str_printf("%8s", done));
        filled = (int) (MIN(current, total) * 100 / total / 2);
        memset(bar, '=', filled);
        bar[filled] = 0;
        if (columns <= 110)
                return client_must(str_printf("%8s/%s", done, all));
        return client_must(str_printf("[%s>%*s] %8s/%s", bar, BAR_COLUMNS - filled, "", done, all));
}

/* Moves to the line of ID, making one at the bottom for a new one. Returns how far up it is. */
static size_t go_to_line(ClientProgress *progress, const char *id)
{
        size_t i;

        for (i = 0; i < progress->n_ids && strcmp(progress->ids[i], id) != 0;)
                i++;
        if (i == progress->n_ids) {
                client_must_zero(strv_append(&progress->ids, id));
                progress->n_ids++;
                fputc('\n', progress->file);
        }
        fprintf(progress->file, "\033[%zuA\033[2K\r", progress->n_ids - i);
        return progress->n_ids - i;
}

static void show(ClientProgress *progress, const json_t *message)
{
        const char *id = json_get_string_or(message, "id", ""), *text = json_get_string(message, "stream");
        const json_t *detail = json_get_object(message, "progressDetail");
        unsigned columns = columns_of(progress->file);
        CLEANUP_FREE char *bar = make_bar(detail, columns);
        size_t up = 0;

        if (progress->quiet || (!columns && *bar))
                return;
        if (columns && *id && !text && (detail || json_get_string(message, "progress")))
                up = go_to_line(progress, id);
        if (*id)
                fprintf(progress->file, "%s: ", id);
        if (text)
                fputs(text, progress->file);
        else
                fprintf(progress->file, "%s%s%s%s", json_get_string_or(message, "status", ""), *bar ? " " : "", bar,
                        up ? "\r" : "\n");
        if (up)
                fprintf(progress->file, "\033[%zuB", up);
        fflush(progress->file);
}

int client_progress_take(ClientProgress *progress, Buffer *buffer, Error *error)
{
        char *end;

        while (buffer->size > 0 && (end = memchr(buffer->data, '\n', buffer->size))) {
                CLEANUP_JSON json_t *message = json_loadb(buffer->data, end - buffer->data, 0, NULL);
                const char *failure = json_get_string(message, "error")
                                              ?: json_get_string(json_get_object(message, "errorDetail"), "message");

                buffer_consume(buffer, end + 1 - buffer->data);
                if (failure)
                        return error_set(error, OUTCOME_FAILED, "%s", failure);
                if (message)
                        show(progress, message);
        }
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
                if (r < 0)
                        return error_set(error, OUTCOME_FAILED,
                                         "error during connect: the daemon closed the connection");
        }
        /* A last message need not end its line. */
        if (body->size > 0 && buffer_append(body, "\n", 1) == 0)
                return client_progress_take(progress, body, error);
        return 0;
}
