/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two classes of failure. A negative errno is fatal to the operation and travels up untouched. A positive Outcome is an
 * expected refusal with a message for the user; src/api alone turns it into an HTTP status. Zero is success. */
#pragma once

#include "berth/cleanup.h"

typedef enum Outcome {
        OUTCOME_OK = 0,
        OUTCOME_NOT_MODIFIED,    /* 304: already so */
        OUTCOME_BAD_REQUEST,     /* 400: what was asked makes no sense */
        OUTCOME_UNAUTHORIZED,    /* 401 */
        OUTCOME_FORBIDDEN,       /* 403 */
        OUTCOME_NOT_FOUND,       /* 404 */
        OUTCOME_NOT_ACCEPTABLE,  /* 406: no swarm here */
        OUTCOME_CONFLICT,        /* 409: the state does not allow it */
        OUTCOME_FAILED,          /* 500 with a message of its own */
        OUTCOME_NOT_IMPLEMENTED, /* 501 */
        OUTCOME_UNAVAILABLE,     /* 503 */
} Outcome;

/* What went wrong, in words. The empty value is {}. */
typedef struct Error {
        Outcome outcome;
        char *message; /* owned */
} Error;

/* Fills ERROR (which may be NULL) and returns OUTCOME, so that a refusal is one return statement. */
int error_set(Error *error, Outcome outcome, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "TEXT: " before the message, and returns the outcome. */
int error_prefix(Error *error, const char *text);

/* Releases the message and makes ERROR empty again. */
void error_clear(Error *error);

#define CLEANUP_ERROR CLEANUP(error_clear)
