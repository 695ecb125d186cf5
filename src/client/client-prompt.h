/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions to the user. */
#pragma once

#include <stdbool.h>

/* Asks whether to go on after WARNING; what is no yes is no. */
bool client_prompt_confirm(const char *warning);

/* Shows TEXT and reads a line from standard input, without showing what is typed where SECRET. Owned by the caller;
 * NULL at the end of the input. */
char *client_prompt_line(const char *text, bool secret);
