/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DNS messages (RFC 1035, RFC 6891): reading a question, and writing its answer. No input or output, no memory of its
 * own; whatever bytes come, nothing outside of them is read. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_MESSAGE_MAX 65535u
#define DNS_UDP_SIZE 512u
#define DNS_NAME_MAX 255
#define DNS_HEADER_SIZE 12u

typedef enum DnsType {
        DNS_A = 1,
        DNS_PTR = 12,
        DNS_AAAA = 28,
        DNS_OPT = 41,
        DNS_ANY = 255,
} DnsType;

typedef enum DnsCode {
        DNS_OK = 0,
        DNS_FORMAT_ERROR = 1,
        DNS_SERVER_FAILURE = 2,
        DNS_NO_SUCH_NAME = 3,
        DNS_NOT_IMPLEMENTED = 4,
} DnsCode;

typedef struct DnsQuestion {
        uint16_t id, type, class;
        bool recursion;
        char name[DNS_NAME_MAX + 1]; /* lower case, without the dot at its end; bytes that no host name has are '?' */
        size_t size;                 /* of the header and the question, as they came */
        bool extended;               /* it came with an OPT record */
        size_t udp_size;             /* what the client takes, 512 at least */
} DnsQuestion;

/* 0; a code that is to be answered; or -EBADMSG for what is no query at all. */
int dns_read_question(const uint8_t *message, size_t size, DnsQuestion *ret);

typedef struct DnsAddress {
        int family;
        union {
                struct in_addr four;
                struct in6_addr six;
        };
} DnsAddress;

typedef struct DnsAnswer {
        DnsCode code;
        const DnsAddress *addresses; /* of the question's type */
        size_t n_addresses;
        const char *pointer; /* for DNS_PTR; NULL: none */
        uint32_t ttl;
        size_t limit; /* what does not fit is left out, and that is said */
} DnsAnswer;

/* QUERY is the message that QUESTION was read from. RET holds at least answer->limit bytes. Returns the size. */
size_t dns_write_answer(const uint8_t *query, const DnsQuestion *question, const DnsAnswer *answer, uint8_t *ret);

/* "4.3.2.1.in-addr.arpa" and "....ip6.arpa". */
bool dns_parse_reverse(const char *name, DnsAddress *ret);
