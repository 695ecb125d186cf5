/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/signal.h"

#include <ctype.h>
#include <signal.h>
#include <strings.h>

#include "berth/string.h"

/* Names beside those of sigabbrev_np(3). */
static const struct {
        const char *name;
        int number;
} aliases[] = { { "CLD", SIGCHLD }, { "IO", SIGIO }, { "IOT", SIGIOT } };

/* "RTMIN", "RTMIN+3", "RTMAX", "RTMAX-3" */
static int parse_realtime(const char *name, int *ret_signal)
{
        const bool from_start = strncasecmp(name, "RTMIN", 5) == 0;
        int64_t distance = 0;

        if (!from_start && strncasecmp(name, "RTMAX", 5) != 0)
                return -EINVAL;
        if (name[5] && (name[5] != (from_start ? '+' : '-') || !isdigit((unsigned char) name[6]) ||
                        str_to_int64(name + 6, 0, from_start ? SIGRTMAX - SIGRTMIN : 14, &distance) < 0))
                return -EINVAL;
        *ret_signal = from_start ? SIGRTMIN + (int) distance : SIGRTMAX - (int) distance;
        return 0;
}

int signal_parse(const char *name, int *ret_signal)
{
        int64_t number;

        if (str_to_int64(name, 1, SIGRTMAX, &number) >= 0) {
                /* Those between are the C library's own. */
                if (number > SIGSYS && number < SIGRTMIN)
                        return -EINVAL;
                *ret_signal = (int) number;
                return 0;
        }
        const char *bare = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
        for (int i = 1; i < NSIG; i++) {
                const char *abbreviation = sigabbrev_np(i);
                if (abbreviation && strcasecmp(abbreviation, bare) == 0) {
                        *ret_signal = i;
                        return 0;
                }
        }
        for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
                if (strcasecmp(aliases[i].name, bare) == 0) {
                        *ret_signal = aliases[i].number;
                        return 0;
                }
        return parse_realtime(bare, ret_signal);
}
