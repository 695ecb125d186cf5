/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-dns.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "berth/cleanup.h"
#include "berth/string.h"
#include "monitor-dns.h"

#define FLAG_RESPONSE 0x8000u
#define FLAG_AUTHORITATIVE 0x0400u
#define FLAG_TRUNCATED 0x0200u
#define FLAG_RECURSION_DESIRED 0x0100u
#define FLAG_RECURSION_AVAILABLE 0x0080u
#define OPCODE(flags) ((flags) >> 11 & 15)
#define CLASS_IN 1
#define NAME_OF_QUESTION 0xc000u | DNS_HEADER_SIZE
#define OPT_SIZE 11u
#define OUR_UDP_SIZE 4096u

static uint16_t get16(const uint8_t *bytes)
{
        return (uint16_t) (bytes[0] << 8 | bytes[1]);
}

static void put16(uint8_t *bytes, unsigned value)
{
        bytes[0] = (uint8_t) (value >> 8);
        bytes[1] = (uint8_t) value;
}

static void put32(uint8_t *bytes, uint32_t value)
{
        put16(bytes, value >> 16);
        put16(bytes + 2, value & 0xffff);
}

static char name_byte(uint8_t byte)
{
        if (byte >= 'A' && byte <= 'Z')
                return (char) (byte + ('a' - 'A'));
        return byte > ' ' && byte < 127 && byte != '.' ? (char) byte : '?';
}

/* The question's name, which comes without compression. Returns the place behind it, or 0. */
static size_t read_name(const uint8_t *message, size_t size, size_t at, char *ret_name)
{
        size_t n = 0;

        while (at < size && message[at] != 0) {
                size_t length = message[at++];
                if (length > 63 || at + length > size || n + length + 1 > DNS_NAME_MAX)
                        return 0;
                if (n > 0)
                        ret_name[n++] = '.';
                while (length-- > 0)
                        ret_name[n++] = name_byte(message[at++]);
        }
        if (at >= size)
                return 0;
        ret_name[n] = 0;
        return at + 1;
}

int dns_read_question(const uint8_t *message, size_t size, DnsQuestion *ret)
{
        *ret = (DnsQuestion) { .udp_size = DNS_UDP_SIZE };
        if (size < DNS_HEADER_SIZE || get16(message + 2) & FLAG_RESPONSE)
                return -EBADMSG;
        unsigned flags = get16(message + 2);
        ret->id = get16(message);
        ret->recursion = flags & FLAG_RECURSION_DESIRED;
        ret->size = DNS_HEADER_SIZE;
        if (OPCODE(flags) != 0)
                return DNS_NOT_IMPLEMENTED;
        if (get16(message + 4) != 1)
                return DNS_FORMAT_ERROR;
        size_t at = read_name(message, size, DNS_HEADER_SIZE, ret->name);
        if (at == 0 || at + 4 > size)
                return DNS_FORMAT_ERROR;
        ret->type = get16(message + at);
        ret->class = get16(message + at + 2);
        ret->size = at + 4;
        /* One additional record may be the client's extensions: root, OPT, its size for the class. */
        if (get16(message + 6) == 0 && get16(message + 8) == 0 && get16(message + 10) > 0 &&
            ret->size + OPT_SIZE <= size && message[ret->size] == 0 && get16(message + ret->size + 1) == DNS_OPT) {
                ret->extended = true;
                ret->udp_size = MAX(get16(message + ret->size + 3), DNS_UDP_SIZE);
        }
        return 0;
}

static size_t write_name(uint8_t *bytes, const char *name)
{
        size_t n = 0;

        while (*name) {
                size_t length = strcspn(name, ".");
                if (length == 0 || length > 63 || n + length + 2 > DNS_NAME_MAX)
                        return 0;
                bytes[n++] = (uint8_t) length;
                memcpy(bytes + n, name, length);
                n += length;
                name += length + (name[length] == '.');
        }
        bytes[n++] = 0;
        return n;
}

static size_t write_record(uint8_t *bytes, uint16_t type, uint32_t ttl, const void *data, size_t size)
{
        put16(bytes, NAME_OF_QUESTION);
        put16(bytes + 2, type);
        put16(bytes + 4, CLASS_IN);
        put32(bytes + 6, ttl);
        put16(bytes + 10, (unsigned) size);
        memcpy(bytes + 12, data, size);
        return 12 + size;
}

static size_t write_extension(uint8_t *bytes)
{
        memset(bytes, 0, OPT_SIZE);
        put16(bytes + 1, DNS_OPT);
        put16(bytes + 3, OUR_UDP_SIZE);
        return OPT_SIZE;
}

size_t dns_write_answer(const uint8_t *query, const DnsQuestion *question, const DnsAnswer *answer, uint8_t *ret)
{
        size_t size = question->size, reserved = question->extended ? OPT_SIZE : 0, n = 0;
        unsigned flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | (unsigned) answer->code |
                         (question->recursion ? FLAG_RECURSION_DESIRED : 0);
        uint8_t name[DNS_NAME_MAX + 1];
        size_t n_name = answer->pointer ? write_name(name, answer->pointer) : 0;

        memcpy(ret, query, size);
        for (size_t i = 0; i < answer->n_addresses; i++) {
                const DnsAddress *address = &answer->addresses[i];
                size_t length = address->family == AF_INET ? 4 : 16;
                if (size + 12 + length + reserved > answer->limit) {
                        flags |= FLAG_TRUNCATED;
                        break;
                }
                size += write_record(ret + size, address->family == AF_INET ? DNS_A : DNS_AAAA, answer->ttl,
                                     &address->six, length);
                n++;
        }
        if (n_name > 0 && size + 12 + n_name + reserved <= answer->limit) {
                size += write_record(ret + size, DNS_PTR, answer->ttl, name, n_name);
                n++;
        }
        put16(ret + 2, flags);
        put16(ret + 4, question->size > DNS_HEADER_SIZE ? 1 : 0);
        put16(ret + 6, (unsigned) n);
        put16(ret + 8, 0);
        put16(ret + 10, question->extended ? 1 : 0);
        if (question->extended)
                size += write_extension(ret + size);
        return size;
}

static bool parse_reverse6(const char *name, size_t length, DnsAddress *ret)
{
        if (length != 63)
                return false;
        *ret = (DnsAddress) { .family = AF_INET6 };
        for (size_t i = 0; i < 32; i++) {
                char digit = name[2 * i];
                int value = digit >= '0' && digit <= '9'   ? digit - '0'
                            : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                           : -1;
                if (value < 0 || (i < 31 && name[2 * i + 1] != '.'))
                        return false;
                ret->six.s6_addr[15 - i / 2] |= (uint8_t) (i % 2 == 0 ? value : value << 4);
        }
        return true;
}

bool dns_parse_reverse(const char *name, DnsAddress *ret)
{
        size_t length = strlen(name);
        unsigned b[4];
        int end = 0;

        if (str_has_suffix(name, ".ip6.arpa"))
                return parse_reverse6(name, length - strlen(".ip6.arpa"), ret);
        if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &b[0], &b[1], &b[2], &b[3], &end) != 4 ||
            end != (int) length || b[0] > 255 || b[1] > 255 || b[2] > 255 || b[3] > 255)
                return false;
        *ret = (DnsAddress) { .family = AF_INET };
        ret->four.s_addr = htonl(b[3] << 24 | b[2] << 16 | b[1] << 8 | b[0]);
        return true;
}
