/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's messages are text in Docker's classic form; the live display reads the steps back from it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-build-show.h"
#include "client-terminal.h"
#include "client.h"

#define MESSAGE_MAX (16u * 1024 * 1024)
#define LOG_MAX (256u * 1024)

void client_build_show_clear(BuildShow *show)
{
        free(show->image);
        free(show->title);
        buffer_clear(&show->line);
        buffer_clear(&show->log);
        for (unsigned i = 0; i < show->n_tail; i++)
                free(show->tail[i]);
        *show = (BuildShow) {};
}

/* --- The live display --------------------------------------------------------------------------------------------- */

static unsigned columns_of(void)
{
        unsigned rows, columns;

        return client_terminal_size(&rows, &columns) && columns > 20 ? columns : 80;
}

static void erase(BuildShow *show)
{
        if (show->drawn > 0)
                printf("\033[%uA\r\033[J", show->drawn);
        show->drawn = 0;
}

static double seconds_of(const BuildShow *show)
{
        return (double) (time_now_ns() - show->began_ns) / 1e9;
}

static void draw(BuildShow *show)
{
        unsigned columns = columns_of();

        erase(show);
        if (!show->title)
                return;
        printf(" => %-*.*s %6.1fs\n", (int) columns - 13, (int) columns - 13, show->title, seconds_of(show));
        show->drawn = 1;
        for (unsigned i = 0; i < show->n_tail; i++, show->drawn++)
                printf("    \033[2m%.*s\033[0m\n", (int) columns - 5, show->tail[i]);
        fflush(stdout);
}

static void drop_tail(BuildShow *show)
{
        for (unsigned i = 0; i < show->n_tail; i++)
                free(show->tail[i]);
        show->n_tail = 0;
        show->log.size = 0;
}

static void end_step(BuildShow *show)
{
        unsigned columns = columns_of();

        if (!show->title)
                return;
        erase(show);
        if (show->cached)
                printf(" => \033[36mCACHED\033[0m %.*s\n", (int) columns - 12, show->title);
        else
                printf(" => \033[32m%-*.*s\033[0m %6.1fs\n", (int) columns - 13, (int) columns - 13, show->title,
                       seconds_of(show));
        free(TAKE_PTR(show->title));
        drop_tail(show);
        fflush(stdout);
}

/* Without what would move the cursor. */
static char *printable(const char *text, size_t size)
{
        char *copy = client_must(malloc(size + 1)), *to = copy;

        for (size_t i = 0; i < size; i++) {
                if (text[i] == '\033' && i + 1 < size && text[i + 1] == '[') {
                        for (i += 2; i < size && (text[i] < '@' || text[i] > '~'); i++)
                                ;
                        continue;
                }
                if ((unsigned char) text[i] >= 0x20 || text[i] == '\t')
                        *to++ = text[i] == '\t' ? ' ' : text[i];
        }
        *to = 0;
        return copy;
}

static void add_tail(BuildShow *show, const char *text, size_t size)
{
        if (show->n_tail == BUILD_TAIL_LINES) {
                free(show->tail[0]);
                memmove(show->tail, show->tail + 1, (BUILD_TAIL_LINES - 1) * sizeof(char *));
                show->n_tail--;
        }
        show->tail[show->n_tail++] = printable(text, size);
        if (show->log.size < LOG_MAX) {
                client_must_zero(buffer_append(&show->log, text, size));
                client_must_zero(buffer_append(&show->log, "\n", 1));
        }
}

static void take_line(BuildShow *show, const char *text, size_t size)
{
        CLEANUP_FREE char *line = printable(text, size);
        const char *step = str_after_prefix(line, "Step "), *arrow = str_after_prefix(line, " ---> ");
        const char *title = step ? strstr(step, " : ") : NULL;

        if (title) {
                end_step(show);
                show->title = client_must(str_printf("[%.*s] %s", (int) (title - step), step, title + 3));
                show->cached = false;
                show->began_ns = time_now_ns();
        } else if (arrow) {
                if (str_equal(arrow, "Using cache"))
                        show->cached = true;
                else if (!str_after_prefix(arrow, "Running in ") && !str_after_prefix(arrow, "Removed "))
                        end_step(show);
        } else if (show->title)
                add_tail(show, text, size);
        else if (!str_after_prefix(line, "Successfully built ")) {
                erase(show);
                printf("%s\n", line);
        }
        draw(show);
}

static void take_text(BuildShow *show, const char *text)
{
        size_t size;

        client_must_zero(buffer_append_string(&show->line, text));
        while (buffer_line(&show->line, &size)) {
                take_line(show, show->line.data, size);
                buffer_consume(&show->line, size + 1);
        }
}

/* What a step that failed had said is all that helps. */
static void fail_step(BuildShow *show)
{
        if (show->mode != BUILD_SHOW_LIVE || !show->title)
                return;
        erase(show);
        printf(" => \033[31mERROR %s\033[0m\n", show->title);
        if (show->log.size > 0)
                fwrite(show->log.data, 1, show->log.size, stdout);
        fflush(stdout);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static void show_status(BuildShow *show, const json_t *message)
{
        const char *status = json_get_string(message, "status"), *id = json_get_string_or(message, "id", "");

        if (!status || json_object_get(json_get_object(message, "progressDetail"), "current"))
                return;
        if (show->mode == BUILD_SHOW_PLAIN)
                printf("%s%s%s\n", id, *id ? ": " : "", status);
        else
                add_tail(show, status, strlen(status));
        fflush(stdout);
}

static void show_message(BuildShow *show, const json_t *message)
{
        const char *text = json_get_string(message, "stream");
        const char *id = json_get_string(json_get_object(message, "aux"), "ID");

        if (id) {
                free(show->image);
                show->image = client_must(strdup(id));
        }
        if (show->mode == BUILD_SHOW_NOTHING) {
                if (text && str_after_prefix(text, "sha256:")) {
                        free(show->image);
                        show->image = client_must(strndup(text, strcspn(text, "\n")));
                }
                return;
        }
        if (text && show->mode == BUILD_SHOW_LIVE)
                take_text(show, text);
        else if (text) {
                fputs(text, stdout);
                fflush(stdout);
        } else
                show_status(show, message);
}

int client_build_show_take(BuildShow *show, Buffer *buffer, Error *error)
{
        size_t size;

        while (buffer_line(buffer, &size)) {
                CLEANUP_JSON json_t *message = json_loadb(buffer->data, size, 0, NULL);
                const json_t *detail = json_get_object(message, "errorDetail");
                const char *failure = json_get_string(detail, "message") ?: json_get_string(message, "error");

                if (show->mode == BUILD_SHOW_RAW)
                        printf("%.*s\n", (int) size, buffer->data);
                buffer_consume(buffer, size + 1);
                if (failure) {
                        show->exit_code = (int) json_get_int(detail, "code", 0);
                        fail_step(show);
                        return error_set(error, OUTCOME_FAILED, "%s", failure);
                }
                if (message)
                        show_message(show, message);
        }
        if (buffer->size > MESSAGE_MAX)
                return error_set(error, OUTCOME_FAILED, "the daemon's answer is not readable");
        return 0;
}

int client_build_show_run(BuildShow *show, HttpClient *http, Error *error)
{
        Buffer *body = http_client_body(http);
        int r;

        for (;;) {
                r = client_build_show_take(show, body, error);
                if (r != 0)
                        return r;
                if (http_client_complete(http))
                        break;
                r = http_client_step(http);
                if (r < 0 && r != -EAGAIN && r != -EINTR)
                        return error_set(error, OUTCOME_FAILED, "the daemon ended the build's connection: %s",
                                         strerror(-r));
        }
        if (show->mode == BUILD_SHOW_LIVE)
                erase(show);
        return 0;
}
