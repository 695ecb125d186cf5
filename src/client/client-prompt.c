/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client-prompt.h"
#include "client-terminal.h"
#include "client.h"

char *client_prompt_line(const char *text, bool secret)
{
        CLEANUP_FREE char *line = NULL;
        bool silent = secret && client_terminal_silence(STDIN_FILENO) == 0;
        size_t size = 0;
        ssize_t n;

        fputs(text, stdout);
        fflush(stdout);
        n = getline(&line, &size, stdin);
        if (silent) {
                client_terminal_restore();
                /* The line end that was not shown. */
                puts("");
                fflush(stdout);
        }
        if (n < 0)
                return NULL;
        line[strcspn(line, "\r\n")] = 0;
        return TAKE_PTR(line);
}

bool client_prompt_confirm(const char *warning)
{
        CLEANUP_FREE char *text = client_must(str_printf("%s\nAre you sure you want to continue? [y/N] ", warning));
        CLEANUP_FREE char *answer = client_prompt_line(text, false);

        return answer && (strcmp(answer, "y") == 0 || strcmp(answer, "Y") == 0);
}
