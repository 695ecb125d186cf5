/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "berth/signal.h"

#include <signal.h>
#include <strings.h>

#include "berth/string.h"

int signal_parse(const char *name, int *ret_signal)
{
        int64_t number;

        if (str_to_int64(name, 1, SIGRTMAX, &number) >= 0) {
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
        if (strncasecmp(bare, "RTMIN", 5) == 0) {
                if (!bare[5]) {
                        *ret_signal = SIGRTMIN;
                        return 0;
                }
                if (bare[5] == '+' && str_to_int64(bare + 6, 0, SIGRTMAX - SIGRTMIN, &number) >= 0) {
                        *ret_signal = SIGRTMIN + (int) number;
                        return 0;
                }
        }
        return -EINVAL;
}
