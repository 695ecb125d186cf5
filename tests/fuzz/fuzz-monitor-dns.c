/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions to a container's name server: whatever comes, its answer is one that a question can be read from again. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "berth/cleanup.h"
#include "monitor-dns.h"
#include "monitor-names.h"

static const char names[] = "name shop\n172.18.0.2 fd00::2 web 0123456789ab\n172.18.0.3 - db web database\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        DnsAddress addresses[NAMES_ADDRESSES_MAX], reverse;
        DnsQuestion question, again;
        size_t n = 0;

        if (dns_read_question(data, size, &question) != 0)
                return 0;
        bool four = question.type == DNS_A;
        (void) names_find_in(names, question.name, four ? AF_INET : AF_INET6, addresses, &n);
        DnsAnswer answer = { .addresses = addresses, .n_addresses = n, .ttl = 600, .limit = question.udp_size };
        if (dns_parse_reverse(question.name, &reverse))
                answer.pointer = "web.shop";
        CLEANUP_FREE uint8_t *out = malloc(answer.limit);
        size_t length = dns_write_answer(data, &question, &answer, out);
        if (length > answer.limit || length < question.size)
                abort();
        out[2] &= 0x7f;
        if (dns_read_question(out, length, &again) != 0 || strcmp(again.name, question.name) != 0)
                abort();
        return 0;
}
