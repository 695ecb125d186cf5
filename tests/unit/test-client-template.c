/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The template language: each row is a template, the data it runs on, and the text or the error that must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "berth/string.h"
#include "client-template.h"

typedef struct Row {
        const char *template, *data, *out, *error;
} Row;

static const Row rows[] = {
        { "plain", "{}", "plain", NULL },
        { "{{.A}}", "{\"A\":\"x\"}", "x", NULL },
        { "{{.A.B}} {{.A.C}}", "{\"A\":{\"B\":1,\"C\":true}}", "1 true", NULL },
        { "{{ .A }}-{{- .A -}} \n {{.A}}", "{\"A\":2}", "2-22", NULL },
        { "a {{- /* not shown */ -}} b", "{}", "ab", NULL },
        { "{{.A}}", "{\"A\":[1,\"b\",null]}", "[1 b <nil>]", NULL },
        { "{{.A}}", "{\"A\":{\"z\":1,\"a\":{\"q\":[]}}}", "map[a:map[q:[]] z:1]", NULL },
        { "{{.A}}", "{\"A\":[{\"x\":1,\"a\":\"two\"}]}", "[{1 two}]", NULL },
        { "{{.Binds}} {{.Volumes}} {{.PidsLimit}}", "{\"Binds\":null,\"Volumes\":null,\"PidsLimit\":null}",
          "[] map[] <nil>", NULL },
        { "{{1.5}} {{0x10}} {{-3}} {{1e3}} {{'a'}}", "{}", "1.5 16 -3 1000 97", NULL },
        { "{{\"a\\tb\\\"\\u00e9\\x41\"}} {{`raw\\n`}}", "{}",
          "a\tb\"\xc3\xa9"
          "A raw\\n",
          NULL },
        { "{{if .A}}yes{{else}}no{{end}}", "{\"A\":0}", "no", NULL },
        { "{{if .A}}yes{{else}}no{{end}}", "{}", "no", NULL },
        { "{{if .A}}1{{else if .B}}2{{else}}3{{end}}", "{\"A\":\"\",\"B\":[0]}", "2", NULL },
        { "{{if not (eq .A \"x\" \"y\")}}other{{else}}known{{end}}", "{\"A\":\"y\"}", "known", NULL },
        { "{{range .A}}<{{.}}>{{else}}none{{end}}", "{\"A\":[1,2]}", "<1><2>", NULL },
        { "{{range .A}}<{{.}}>{{else}}none{{end}}", "{\"A\":[]}", "none", NULL },
        { "{{range $k, $v := .A}}{{$k}}={{$v}};{{end}}", "{\"A\":{\"b\":1,\"a\":2}}", "a=2;b=1;", NULL },
        { "{{range $i, $v := .A}}{{if eq $i 1}}{{continue}}{{end}}{{if eq $i 3}}{{break}}{{end}}{{$v}}{{end}}",
          "{\"A\":[5,6,7,8]}", "57", NULL },
        { "{{with .A}}{{.B}}{{else}}-{{end}}", "{\"A\":{\"B\":3}}", "3", NULL },
        { "{{with .A}}{{.B}}{{else}}-{{end}}", "{}", "-", NULL },
        { "{{with $x := .A}}{{$x}}{{$.B}}{{end}}", "{\"A\":1,\"B\":2}", "12", NULL },
        { "{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "{}", "2", NULL },
        { "{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "{}", "1", NULL },
        { "{{.A | printf \"%05d|%s\" 7 | upper}}", "{\"A\":\"x\"}", "00007|X", NULL },
        { "{{(index .A 1).B}}", "{\"A\":[{},{\"B\":\"deep\"}]}", "deep", NULL },
        { "{{index .A \"k\" \"l\"}}", "{\"A\":{\"k\":{\"l\":9}}}", "9", NULL },
        { "[{{index .A \"none\"}}]", "{\"A\":{}}", "[]", NULL },
        { "{{json .}}", "{\"b\":\"<&>\",\"a\":[1,null,1.5]}", "{\"b\":\"<&>\",\"a\":[1,null,1.5]}", NULL },
        { "{{join .A \", \"}} {{join (split \"a/b\" \"/\") \"+\"}}", "{\"A\":[\"x\",\"y\"]}", "x, y a+b", NULL },
        { "{{len .A}} {{len \"abc\"}} {{len .N}}", "{\"A\":{\"x\":1},\"N\":null}", "1 3 0", NULL },
        { "{{lower \"AbC\"}} {{title \"ab cd\"}} {{pad \"x\" 1 2}}| {{truncate \"abcdef\" 3}}", "{}",
          "abc Ab Cd  x  | abc", NULL },
        { "{{slice \"abcdef\" 1 3}} {{slice .A 1}}", "{\"A\":[1,2,3]}", "bc [2 3]", NULL },
        { "{{println 1 \"a\" 2}}{{print 1 2 \"a\" 3 4}}", "{}", "1 a 2\n1 2a3 4", NULL },
        { "{{printf \"%q %v %t %x %6.2f %% %d\" \"a\\n\" .A true 255 1.5 \"s\"}}", "{\"A\":[1]}",
          "\"a\\n\" [1] true ff   1.50 % %!d(string=s)", NULL },
        { "{{printf \"%d\"}}", "{}", "%!d(MISSING)", NULL },
        { "{{and 1 0 .X.Y}} {{or \"\" 0 \"z\" .X.Y}}", "{}", "0 z", NULL },
        { "{{lt 1 2}} {{ge \"b\" \"a\"}} {{ne 1 1}} {{le 1.5 1}} {{gt 2 1}}", "{}", "true true false false true",
          NULL },
        { "{{eq .A nil}} {{eq .B nil}}", "{\"A\":null,\"B\":1}", "true false", NULL },
        /* --- errors --- */
        { "{{.Foo}}", "{}", NULL, "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"" },
        { "x\n{{.A.Foo}}", "{\"A\":{}}", NULL,
          "template: :2:4: executing \"\" at <.A.Foo>: map has no entry for key \"Foo\"" },
        { "{{.A.B}}", "{\"A\":\"s\"}", NULL,
          "template: :1:4: executing \"\" at <.A.B>: can't evaluate field B in type string" },
        { "{{index .A 5}}", "{\"A\":[]}", NULL, NULL },
        { "{{eq 1 \"a\"}}", "{}", NULL, NULL },
        { "{{nosuch}}", "{}", NULL, "template: :1: function \"nosuch\" not defined" },
        { "{{$x}}", "{}", NULL, NULL },
        { "{{range 5}}{{end}}", "{}", NULL, NULL },
        { "{{.A", "{}", NULL, "template: :1: unclosed action" },
        { "{{if .A}}", "{}", NULL, "template: :1: unexpected EOF" },
        { "{{end}}", "{}", NULL, "template: :1: unexpected {{end}}" },
        { "{{if}}{{end}}", "{}", NULL, "template: :1: missing value for if" },
        { "{{\"abc}}", "{}", NULL, "template: :1: unterminated quoted string" },
        { "{{(1}}", "{}", NULL, "template: :1: unclosed left paren" },
        { "{{1)}}", "{}", NULL, "template: :1: unexpected right paren" },
        { "{{/* a}}", "{}", NULL, "template: :1: unclosed comment" },
        { "{{join 1}}", "{}", NULL, NULL },
        { "{{.A 1}}", "{\"A\":1}", NULL, NULL },
};

static void test_rows(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_TEMPLATE ClientTemplate *template = NULL;
                CLEANUP_JSON json_t *data = json_loads(rows[i].data, 0, NULL);
                CLEANUP_BUFFER Buffer out = {};
                CLEANUP_ERROR Error error = {};
                int r;

                assert_non_null(data);
                r = client_template_parse(rows[i].template, &template, &error);
                if (r == 0)
                        r = client_template_execute(template, data, NULL, &out, &error);
                if (rows[i].out) {
                        if (r != 0)
                                fail_msg("%s: %s", rows[i].template, error.message);
                        assert_string_equal(out.data ?: "", rows[i].out);
                } else {
                        if (r == 0)
                                fail_msg("%s came out as %s", rows[i].template, out.data ?: "");
                        assert_non_null(error.message);
                        if (rows[i].error)
                                assert_string_equal(error.message, rows[i].error);
                }
        }
}

static void test_methods(void **state)
{
        CLEANUP_TEMPLATE ClientTemplate *template = NULL, *other = NULL;
        CLEANUP_JSON json_t *data = json_pack("{s:s}", "ID", "<1>");
        CLEANUP_JSON json_t *methods = json_pack("{s:{s:s}}", "Label", "a.b", "c");
        CLEANUP_JSON json_t *headings = json_pack("{s:n}", "Label");
        CLEANUP_BUFFER Buffer out = {}, heading = {};
        CLEANUP_ERROR Error error = {};

        (void) state;
        assert_int_equal(client_template_parse("{{.Label \"a.b\"}}|{{.Label \"x\"}}|{{json .}}", &template, NULL), 0);
        assert_int_equal(client_template_execute(template, data, methods, &out, &error), 0);
        assert_string_equal(out.data, "c||{\"ID\":\"\\u003c1\\u003e\"}");
        client_template_free(TAKE_PTR(template));
        assert_int_equal(client_template_parse("{{.Label \"com.x/a-b_c\"}}", &template, NULL), 0);
        assert_int_equal(client_template_execute(template, data, headings, &heading, &error), 0);
        assert_string_equal(heading.data, "x/a b c");
        assert_int_equal(client_template_parse("{{.Label}}", &other, NULL), 0);
        assert_int_not_equal(client_template_execute(other, data, methods, &out, &error), 0);
}

static void test_depth_is_limited(void **state)
{
        CLEANUP_TEMPLATE ClientTemplate *template = NULL;
        CLEANUP_BUFFER Buffer text = {};
        CLEANUP_ERROR Error error = {};

        (void) state;
        assert_int_equal(buffer_append_string(&text, "{{"), 0);
        for (size_t i = 0; i < 100000; i++)
                assert_int_equal(buffer_append_string(&text, "("), 0);
        assert_int_not_equal(client_template_parse(text.data, &template, &error), 0);
        assert_null(template);
}

/* Every prefix of a template that uses everything parses or is refused, and never more. */
static void test_prefixes(void **state)
{
        static const char whole[] =
                "a{{- $x := (index .A 0).B | printf \"%s\" -}}{{if and .C (not .D)}}{{range $i, $e := .E}}"
                "{{$i}}{{continue}}{{else}}{{with .F}}{{.}}{{end}}{{end}}{{else if 'c'}}{{`r`}}{{end}}";
        CLEANUP_JSON json_t *data = json_loads("{\"A\":[{\"B\":\"b\"}],\"C\":1,\"D\":0,\"E\":[1],\"F\":2}", 0, NULL);

        (void) state;
        for (size_t n = 0; n < sizeof(whole); n++) {
                CLEANUP_TEMPLATE ClientTemplate *template = NULL;
                CLEANUP_FREE char *part = strndup(whole, n);
                CLEANUP_BUFFER Buffer out = {};
                CLEANUP_ERROR Error error = {};

                if (client_template_parse(part, &template, &error) == 0)
                        client_template_execute(template, data, NULL, &out, &error);
                else
                        assert_non_null(error.message);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_methods),
                cmocka_unit_test(test_depth_is_limited),
                cmocka_unit_test(test_prefixes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
