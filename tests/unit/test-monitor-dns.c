/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions and answers of the name service, and names in a network's file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "berth/cleanup.h"
#include "monitor-dns.h"
#include "monitor-names.h"

#define HEADER "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00"
static const uint8_t plain[] = HEADER "\x00\x03WEB\x04shop\x00\x00\x01\x00\x01";
static const uint8_t extended[] = HEADER "\x01\x03web\x00\x00\x1c\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

static void test_question(void **state)
{
        DnsQuestion question;
        (void) state;

        assert_int_equal(dns_read_question(plain, sizeof(plain) - 1, &question), 0);
        assert_string_equal(question.name, "web.shop");
        assert_int_equal(question.type, DNS_A);
        assert_int_equal(question.udp_size, 512);
        assert_false(question.extended);
        assert_int_equal(dns_read_question(extended, sizeof(extended) - 1, &question), 0);
        assert_int_equal(question.type, DNS_AAAA);
        assert_true(question.extended);
        assert_int_equal(question.udp_size, 1232);
        for (size_t i = 12; i < sizeof(plain) - 1; i++)
                assert_int_equal(dns_read_question(plain, i, &question), DNS_FORMAT_ERROR);
        assert_int_equal(dns_read_question(plain, 11, &question), -EBADMSG);
}

static void test_answer(void **state)
{
        DnsAddress addresses[100] = { 0 };
        DnsAnswer answer = { .addresses = addresses, .n_addresses = 100, .ttl = 600, .limit = 512 };
        DnsQuestion question;
        uint8_t out[4096];
        (void) state;

        for (size_t i = 0; i < 100; i++)
                addresses[i].family = AF_INET;
        assert_int_equal(dns_read_question(plain, sizeof(plain) - 1, &question), 0);
        size_t size = dns_write_answer(plain, &question, &answer, out);
        assert_in_range(size, 490, 512);
        assert_int_equal(out[2] & 2, 2); /* truncated */
        assert_int_equal(out[7], (size - question.size) / 16);
        answer.limit = sizeof(out);
        size = dns_write_answer(plain, &question, &answer, out);
        assert_int_equal(size, question.size + 1600);
        assert_int_equal(out[2] & 2, 0);
        assert_memory_equal(out + question.size, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x02\x58\x00\x04", 12);
}

static void test_reverse(void **state)
{
        DnsAddress address;
        char text[INET6_ADDRSTRLEN];
        (void) state;

        assert_true(dns_parse_reverse("2.0.18.172.in-addr.arpa", &address));
        assert_string_equal(inet_ntop(AF_INET, &address.four, text, sizeof(text)), "172.18.0.2");
        assert_true(dns_parse_reverse("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
                                      &address));
        assert_string_equal(inet_ntop(AF_INET6, &address.six, text, sizeof(text)), "fd00::2");
        assert_false(dns_parse_reverse("2.0.18.in-addr.arpa", &address));
        assert_false(dns_parse_reverse("999.0.18.172.in-addr.arpa", &address));
        assert_false(dns_parse_reverse("web", &address));
}

static void test_names(void **state)
{
        static const char text[] = "name shop\n172.18.0.2 fd00::2 web 0123456789ab\n172.18.0.3 - db web\n";
        DnsAddress addresses[NAMES_ADDRESSES_MAX];
        size_t n = 0;
        (void) state;

        assert_true(names_find_in(text, "web", AF_INET, addresses, &n));
        assert_int_equal(n, 2);
        n = 0;
        assert_true(names_find_in(text, "DB", AF_INET6, addresses, &n));
        assert_int_equal(n, 0);
        assert_false(names_find_in(text, "shop", AF_INET, addresses, &n));
        assert_false(names_find_in(text, "172.18.0.2", AF_INET, addresses, &n));
        assert_false(names_find_in("", "web", AF_INET, addresses, &n));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_question),
                cmocka_unit_test(test_answer),
                cmocka_unit_test(test_reverse),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests_name("monitor-dns", tests, NULL, NULL);
}
