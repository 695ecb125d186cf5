/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Template text to tree. The text between {{ and }} is read word by word; blocks nest by recursion, to a fixed depth. A
 * failed parse frees what it built. */
#include <ctype.h>
#include <string.h>

#include "berth/string.h"
#include "client-template-node.h"
#include "client.h"

#define DEPTH_MAX 100

typedef struct Parser {
        const char *source;
        size_t position;
        size_t depth;
        const char *context; /* what a missing value would be missing for */
        bool trim_next;      /* the action just left ended with -}} */
        Error *error;
} Parser;

void node_free(Node *node)
{
        if (!node)
                return;
        for (size_t i = 0; i < node->n_children; i++)
                node_free(node->children[i]);
        free(node->children);
        free(node->text);
        strv_free(node->names);
        if (node->literal)
                json_decref(node->literal);
        free(node);
}

DEFINE_CLEANUP(cleanup_node_ptr, Node *, node_free)
#define CLEANUP_NODE CLEANUP(cleanup_node_ptr)

static Node *node_new(NodeKind kind, size_t position)
{
        Node *node = client_must(calloc(1, sizeof(Node)));

        node->kind = kind;
        node->position = position;
        return node;
}

static void node_add(Node *node, Node *child)
{
        node->children = client_must(reallocarray(node->children, node->n_children + 1, sizeof(Node *)));
        node->children[node->n_children++] = child;
}

static int refuse(Parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(Parser *parser, const char *format, ...)
{
        CLEANUP_FREE char *text = NULL;
        va_list arguments;
        size_t line = 1;

        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);
        for (size_t i = 0; i < parser->position && parser->source[i]; i++)
                line += parser->source[i] == '\n';
        return error_set(parser->error, OUTCOME_BAD_REQUEST, "template: :%zu: %s", line, (char *) client_must(text));
}

static const char *here(const Parser *parser)
{
        return parser->source + parser->position;
}

static void skip_blanks(Parser *parser)
{
        parser->position += strspn(here(parser), " \t\r\n");
}

static bool at_end_of_action(Parser *parser)
{
        const char *s;

        skip_blanks(parser);
        s = here(parser);
        return str_after_prefix(s, "}}") || (s[0] == '-' && str_after_prefix(s + 1, "}}"));
}

static int close_action(Parser *parser)
{
        if (!at_end_of_action(parser))
                return *here(parser) ? refuse(parser, "unexpected \"%.1s\" in command", here(parser))
                                     : refuse(parser, "unclosed action");
        parser->trim_next = *here(parser) == '-';
        parser->position += parser->trim_next ? 3 : 2;
        return 0;
}

/* The length of an identifier here, 0 for none. */
static size_t word_length(const char *s)
{
        size_t n = 0;

        if (!isalpha((unsigned char) *s) && *s != '_' && !(*s & 0x80))
                return 0;
        while (isalnum((unsigned char) s[n]) || s[n] == '_' || (s[n] & 0x80))
                n++;
        return n;
}

static bool take_keyword(Parser *parser, const char *word)
{
        skip_blanks(parser);
        if (word_length(here(parser)) != strlen(word) || strncmp(here(parser), word, strlen(word)) != 0)
                return false;
        parser->position += strlen(word);
        return true;
}

static void add_name(Node *node, const char *s, size_t n)
{
        CLEANUP_FREE char *name = client_must(strndup(s, n));

        client_must_zero(strv_append(&node->names, name));
}

/* ".A.B" behind an operand. A chain of more than one link is positioned at the second, as Go does in its messages. */
static void parse_chain(Parser *parser, Node *node)
{
        size_t links = node->kind == NODE_FIELD ? strv_length(node->names) : 1;

        while (*here(parser) == '.') {
                size_t n = word_length(here(parser) + 1);

                if (n == 0)
                        return;
                if (links++ == 1)
                        node->position = parser->position;
                add_name(node, here(parser) + 1, n);
                parser->position += 1 + n;
        }
}

static int parse_escape(Parser *parser, Buffer *out)
{
        static const char letters[] = "abfnrtv\\\"'", bytes[] = "\a\b\f\n\r\t\v\\\"'";
        const char *s = here(parser);
        const char *found = *s ? strchr(letters, *s) : NULL;
        int length = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
        unsigned long code;
        char digits[9] = "", utf8[5] = "";

        if (found) {
                parser->position++;
                return buffer_append(out, &bytes[found - letters], 1);
        }
        if (length == 0 || strspn(s + 1, "0123456789abcdefABCDEF") < (size_t) length)
                return refuse(parser, "invalid syntax");
        memcpy(digits, s + 1, length);
        code = strtoul(digits, NULL, 16);
        parser->position += 1 + length;
        if (*s == 'x')
                return buffer_append(out, &(char) { code }, 1);
        if (code < 0x80)
                snprintf(utf8, sizeof(utf8), "%c", (int) code);
        else if (code < 0x800)
                snprintf(utf8, sizeof(utf8), "%c%c", (int) (0xc0 | code >> 6), (int) (0x80 | (code & 63)));
        else if (code < 0x10000)
                snprintf(utf8, sizeof(utf8), "%c%c%c", (int) (0xe0 | code >> 12), (int) (0x80 | (code >> 6 & 63)),
                         (int) (0x80 | (code & 63)));
        else
                snprintf(utf8, sizeof(utf8), "%c%c%c%c", (int) (0xf0 | code >> 18), (int) (0x80 | (code >> 12 & 63)),
                         (int) (0x80 | (code >> 6 & 63)), (int) (0x80 | (code & 63)));
        return buffer_append_string(out, utf8);
}

static int parse_quoted(Parser *parser, char quote, Node **ret)
{
        CLEANUP_NODE Node *node = node_new(NODE_LITERAL, parser->position);
        CLEANUP_BUFFER Buffer text = {};

        client_must_zero(buffer_reserve(&text, 1));
        for (parser->position++; *here(parser) != quote;) {
                char c = *here(parser);

                if (!c || (c == '\n' && quote != '`'))
                        return refuse(parser, "unterminated %squoted string", quote == '`' ? "raw " : "");
                parser->position++;
                if (c == '\\' && quote != '`') {
                        int r = parse_escape(parser, &text);

                        if (r != 0)
                                return r;
                } else {
                        client_must_zero(buffer_append(&text, &c, 1));
                }
        }
        parser->position++;
        if (quote == '\'')
                node->literal = json_integer(text.size == 1 ? (unsigned char) text.data[0] : 0xfffd);
        else
                node->literal = json_stringn(text.size ? text.data : "", text.size);
        if (!node->literal)
                return refuse(parser, "invalid UTF-8 in string");
        *ret = TAKE_PTR(node);
        return 0;
}

static int parse_number(Parser *parser, Node **ret)
{
        CLEANUP_NODE Node *node = node_new(NODE_LITERAL, parser->position);
        const char *s = here(parser);
        char *end, *real_end;
        long long integer = strtoll(s, &end, 0);
        double real = strtod(s, &real_end);

        node->literal = client_must(real_end > end ? json_real(real) : json_integer(integer));
        end = MAX(end, real_end);
        if (isalnum((unsigned char) *end))
                return refuse(parser, "bad number syntax: \"%.*s\"", (int) (end - s + 1), s);
        parser->position = end - parser->source;
        *ret = TAKE_PTR(node);
        return 0;
}

static int parse_pipe(Parser *parser, bool nested, Node **ret);

static int parse_word(Parser *parser, Node **ret)
{
        size_t n = word_length(here(parser));
        CLEANUP_NODE Node *node = node_new(NODE_FUNCTION, parser->position);

        node->text = client_must(strndup(here(parser), n));
        if (str_equal(node->text, "true") || str_equal(node->text, "false")) {
                node->kind = NODE_LITERAL;
                node->literal = json_boolean(node->text[0] == 't');
        } else if (str_equal(node->text, "nil")) {
                node->kind = NODE_NIL;
        } else if (!template_function_exists(node->text)) {
                return refuse(parser, "function \"%s\" not defined", node->text);
        }
        parser->position += n;
        *ret = TAKE_PTR(node);
        return 0;
}

static int parse_parenthesis(Parser *parser, Node **ret)
{
        CLEANUP_NODE Node *node = NULL;
        Node *chain;
        int r;

        parser->position++;
        r = parse_pipe(parser, true, &node);
        if (r != 0)
                return r;
        if (*here(parser) == '.' && word_length(here(parser) + 1) > 0) {
                chain = node_new(NODE_CHAIN, parser->position);
                node_add(chain, TAKE_PTR(node));
                parse_chain(parser, chain);
                node = chain;
        }
        *ret = TAKE_PTR(node);
        return 0;
}

static int parse_operand(Parser *parser, Node **ret)
{
        const char *s = here(parser);
        CLEANUP_NODE Node *node = NULL;

        if (*s == '(')
                return parse_parenthesis(parser, ret);
        if (*s == '"' || *s == '`' || *s == '\'')
                return parse_quoted(parser, *s, ret);
        if (isdigit((unsigned char) *s) || ((*s == '-' || *s == '+') && isdigit((unsigned char) s[1])))
                return parse_number(parser, ret);
        if (*s == '.') {
                size_t n = word_length(s + 1);

                node = node_new(n > 0 ? NODE_FIELD : NODE_DOT, parser->position);
                parser->position++;
                if (n > 0) {
                        add_name(node, s + 1, n);
                        parser->position += n;
                        parse_chain(parser, node);
                }
        } else if (*s == '$') {
                size_t n = 1 + word_length(s + 1);

                node = node_new(NODE_VARIABLE, parser->position);
                add_name(node, s, n);
                parser->position += n;
                parse_chain(parser, node);
        } else if (word_length(s) > 0) {
                return parse_word(parser, ret);
        } else {
                return refuse(parser, *s ? "unexpected \"%.1s\" in operand" : "unclosed action", s);
        }
        *ret = TAKE_PTR(node);
        return 0;
}

static int parse_command(Parser *parser, Node **ret)
{
        CLEANUP_NODE Node *command = node_new(NODE_COMMAND, parser->position);

        for (;;) {
                Node *operand = NULL;
                int r;

                skip_blanks(parser);
                if (at_end_of_action(parser) || strchr("|)", *here(parser)))
                        break;
                r = parse_operand(parser, &operand);
                if (r != 0)
                        return r;
                node_add(command, operand);
        }
        if (command->n_children == 0)
                return *here(parser) ? refuse(parser, "missing value for %s", parser->context)
                                     : refuse(parser, "unclosed action");
        command->position = command->children[0]->position;
        *ret = TAKE_PTR(command);
        return 0;
}

/* "$x :=", "$i, $x :=" or "$x =" in front of a pipe; leaves the position alone where there is none. */
static void parse_assignment(Parser *parser, Node *pipe)
{
        size_t start = parser->position;

        for (;;) {
                size_t n;

                skip_blanks(parser);
                if (*here(parser) != '$')
                        break;
                n = 1 + word_length(here(parser) + 1);
                add_name(pipe, here(parser), n);
                parser->position += n;
                skip_blanks(parser);
                if (str_after_prefix(here(parser), ":=")) {
                        parser->position += 2;
                        pipe->declares = true;
                        return;
                }
                if (*here(parser) == '=') {
                        parser->position++;
                        return;
                }
                if (*here(parser) != ',')
                        break;
                parser->position++;
        }
        strv_free(pipe->names);
        pipe->names = NULL;
        parser->position = start;
}

static int parse_pipe(Parser *parser, bool nested, Node **ret)
{
        CLEANUP_NODE Node *pipe = node_new(NODE_PIPE, parser->position);

        if (++parser->depth > DEPTH_MAX)
                return refuse(parser, "nested too deeply");
        parse_assignment(parser, pipe);
        for (;;) {
                Node *command = NULL;
                int r = parse_command(parser, &command);

                if (r != 0)
                        return r;
                node_add(pipe, command);
                if (*here(parser) != '|')
                        break;
                parser->position++;
        }
        if (nested) {
                if (*here(parser) != ')')
                        return refuse(parser, "unclosed left paren");
                parser->position++;
        } else if (*here(parser) == ')') {
                return refuse(parser, "unexpected right paren");
        }
        parser->depth--;
        *ret = TAKE_PTR(pipe);
        return 0;
}

typedef enum ListEnd {
        END_OF_TEXT,
        END_OF_BLOCK,
        END_AT_ELSE,
} ListEnd;

static int parse_list(Parser *parser, Node **ret, ListEnd *ret_end);

/* What follows {{if, {{range or {{with; also what follows {{else if. */
static int parse_block(Parser *parser, NodeKind kind, Node **ret)
{
        CLEANUP_NODE Node *block = node_new(kind, parser->position);
        Node *part = NULL;
        ListEnd end;
        int r;

        if (++parser->depth > DEPTH_MAX)
                return refuse(parser, "nested too deeply");
        parser->context = kind == NODE_IF ? "if" : kind == NODE_RANGE ? "range" : "with";
        r = parse_pipe(parser, false, &part);
        parser->context = "command";
        if (r != 0)
                return r;
        node_add(block, part);
        r = close_action(parser);
        if (r == 0)
                r = parse_list(parser, &part, &end);
        if (r != 0)
                return r;
        node_add(block, part);
        if (end == END_AT_ELSE) {
                bool again = (kind == NODE_IF && take_keyword(parser, "if")) ||
                             (kind == NODE_WITH && take_keyword(parser, "with"));

                if (again) {
                        /* The chained block ends with the {{end}} that ends this one. */
                        r = parse_block(parser, kind, &part);
                        end = END_OF_BLOCK;
                } else {
                        r = close_action(parser);
                        if (r == 0)
                                r = parse_list(parser, &part, &end);
                }
                if (r != 0)
                        return r;
                node_add(block, part);
        }
        if (end == END_AT_ELSE)
                return refuse(parser, "expected end; found {{else}}");
        if (end == END_OF_TEXT)
                return refuse(parser, "unexpected EOF");
        parser->depth--;
        *ret = TAKE_PTR(block);
        return 0;
}

static int parse_text(Parser *parser, Node *list)
{
        const char *s = here(parser), *next = strstr(s, "{{");
        size_t skip = 0, n = next ? (size_t) (next - s) : strlen(s);

        parser->position += n;
        if (parser->trim_next) {
                skip = MIN(strspn(s, " \t\r\n"), n);
                parser->trim_next = false;
        }
        if (next && next[2] == '-' && strchr(" \t\r\n", next[3]))
                while (n > skip && strchr(" \t\r\n", s[n - 1]))
                        n--;
        if (n > skip) {
                Node *text = node_new(NODE_TEXT, s - parser->source);

                text->text = client_must(strndup(s + skip, n - skip));
                node_add(list, text);
        }
        return next != NULL;
}

/* {{/<*> ... <*>/}} */
static int parse_comment(Parser *parser)
{
        const char *end = strstr(here(parser), "*/");

        if (!end)
                return refuse(parser, "unclosed comment");
        parser->position = end + 2 - parser->source;
        return close_action(parser);
}

static int parse_action(Parser *parser, Node *list)
{
        static const struct {
                const char *word;
                NodeKind kind;
        } blocks[] = { { "if", NODE_IF }, { "range", NODE_RANGE }, { "with", NODE_WITH } };
        CLEANUP_NODE Node *node = NULL;
        Node *pipe = NULL;
        int r;

        if (str_after_prefix(here(parser), "/*"))
                return parse_comment(parser);
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
                if (take_keyword(parser, blocks[i].word)) {
                        r = parse_block(parser, blocks[i].kind, &node);
                        if (r == 0)
                                node_add(list, TAKE_PTR(node));
                        return r;
                }
        if (take_keyword(parser, "break"))
                node = node_new(NODE_BREAK, parser->position);
        else if (take_keyword(parser, "continue"))
                node = node_new(NODE_CONTINUE, parser->position);
        else {
                r = parse_pipe(parser, false, &pipe);
                if (r != 0)
                        return r;
                node = node_new(NODE_ACTION, pipe->position);
                node_add(node, pipe);
        }
        r = close_action(parser);
        if (r == 0)
                node_add(list, TAKE_PTR(node));
        return r;
}

static int parse_list(Parser *parser, Node **ret, ListEnd *ret_end)
{
        CLEANUP_NODE Node *list = node_new(NODE_LIST, parser->position);

        while (parse_text(parser, list)) {
                int r;

                parser->position += 2;
                if (*here(parser) == '-' && strchr(" \t\r\n", here(parser)[1]) && here(parser)[1])
                        parser->position++;
                skip_blanks(parser);
                if (take_keyword(parser, "end")) {
                        r = close_action(parser);
                        *ret_end = END_OF_BLOCK;
                } else if (take_keyword(parser, "else")) {
                        r = 0;
                        *ret_end = END_AT_ELSE;
                } else {
                        r = parse_action(parser, list);
                        if (r != 0)
                                return r;
                        continue;
                }
                if (r != 0)
                        return r;
                *ret = TAKE_PTR(list);
                return 0;
        }
        *ret_end = END_OF_TEXT;
        *ret = TAKE_PTR(list);
        return 0;
}

int client_template_parse(const char *text, ClientTemplate **ret, Error *error)
{
        CLEANUP_TEMPLATE ClientTemplate *template = client_must(calloc(1, sizeof(ClientTemplate)));
        Parser parser = { .error = error, .context = "command" };
        ListEnd end;
        int r;

        template->source = client_must(strdup(text));
        parser.source = template->source;
        r = parse_list(&parser, &template->root, &end);
        if (r != 0)
                return r;
        if (end != END_OF_TEXT)
                return refuse(&parser, "unexpected {{%s}}", end == END_AT_ELSE ? "else" : "end");
        *ret = TAKE_PTR(template);
        return 0;
}

void client_template_free(ClientTemplate *template)
{
        if (!template)
                return;
        free(template->source);
        node_free(template->root);
        free(template);
}
