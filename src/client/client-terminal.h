/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user's terminal. There is one, so its saved state is this module's own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Puts the terminal FD into raw mode until client_terminal_restore(), which also runs when the process exits. 0 or a
 * negative errno. */
int client_terminal_raw(int fd);
void client_terminal_restore(void);

/* Stops the terminal FD from showing what is typed, until client_terminal_restore(); a signal that ends the process
 * restores it too. 0 or a negative errno. */
int client_terminal_silence(int fd);

/* The size of the terminal on standard output. False where it is none. */
bool client_terminal_size(unsigned *ret_rows, unsigned *ret_columns);

/* Docker's detach sequence ("ctrl-p,ctrl-q", "a,ctrl-x") as bytes; the default where KEYS is empty. Returns the length,
 * 0 where KEYS is nonsense. */
#define DETACH_KEYS_MAX 16
int client_terminal_detach_keys(const char *keys, uint8_t ret[static DETACH_KEYS_MAX]);
