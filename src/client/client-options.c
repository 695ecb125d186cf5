/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line's grammar: `--name=value`, `--name value`, `-n value`, `-nvalue`, bundles of letters,
 * `--flag=false`,
 * `--` to end the options. A table says which options there are; values[i] belongs to options[i]. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "client-text.h"
#include "client.h"

size_t client_options_count(const ClientOption *options)
{
        size_t n = 0;

        while (options && options[n].name)
                n++;
        return n;
}

static const ClientOption *find_long(const ClientOption *options, const char *name, size_t length)
{
        for (; options && options->name; options++)
                if (strlen(options->name) == length && strncmp(options->name, name, length) == 0)
                        return options;
        return NULL;
}

static const ClientOption *find_letter(const ClientOption *options, char letter)
{
        for (; options && options->name; options++)
                if (options->letter == letter)
                        return options;
        return NULL;
}

/* Go's strconv.ParseBool. */
static int parse_bool(const char *value, bool *ret)
{
        static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
        static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };

        for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
                if (strcmp(value, yes[i]) == 0) {
                        *ret = true;
                        return 0;
                }
                if (strcmp(value, no[i]) == 0) {
                        *ret = false;
                        return 0;
                }
        }
        return -EINVAL;
}

static int refuse_number(const char *function, const char *value, int r, Error *error)
{
        return error_set(error, OUTCOME_BAD_REQUEST, "strconv.%s: parsing \"%s\": %s", function, value,
                         str_number_problem(r));
}

static int parse_number(const ClientOption *option, const char *value, int64_t *ret, Error *error)
{
        int r;

        switch (option->kind) {
        case OPTION_INT:
                r = str_to_int64(*value == '+' ? value + 1 : value, INT64_MIN, INT64_MAX, ret);
                return r < 0 ? refuse_number("ParseInt", value, r, error) : 0;
        case OPTION_UINT16:
                r = str_to_int64(value, 0, UINT16_MAX, ret);
                return r < 0 ? refuse_number("ParseUint", value, r, error) : 0;
        case OPTION_BYTES:
                if (text_parse_size(value, ret) < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid size: '%s'", value);
                return 0;
        case OPTION_DECIMAL:
                if (text_parse_nano(value, ret) < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST, "failed to parse %s as a rational number", value);
                return 0;
        case OPTION_DURATION:
                if (duration_parse(value, ret) >= 0)
                        return 0;
                if (*value && isdigit((unsigned char) value[strlen(value) - 1]))
                        return error_set(error, OUTCOME_BAD_REQUEST, "time: missing unit in duration \"%s\"", value);
                return error_set(error, OUTCOME_BAD_REQUEST, "time: invalid duration \"%s\"", value);
        default:
                return 0;
        }
}

static int append_commas(char ***list, const char *value)
{
        while (*value) {
                size_t n = strcspn(value, ",");
                CLEANUP_FREE char *piece = strndup(value, n);
                int r = piece ? strv_append(list, piece) : -ENOMEM;

                if (r < 0)
                        return r;
                value += n + (value[n] == ',');
        }
        return 0;
}

static int assign(const ClientOption *option, ClientValue *slot, const char *value, Error *error)
{
        int r = 0;

        if (option->kind == OPTION_BOOL) {
                if (parse_bool(value, &slot->flag) < 0)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "strconv.ParseBool: parsing \"%s\": invalid syntax", value);
        } else {
                r = parse_number(option, value, &slot->number, error);
                if (r == 0 && option->check)
                        r = option->check(value, error);
                if (r != 0)
                        return r;
        }
        free(slot->string);
        slot->string = client_must(strdup(value));
        if (option->kind == OPTION_LIST || option->kind == OPTION_MAP)
                client_must_zero(strv_append(&slot->list, value));
        else if (option->kind == OPTION_COMMA)
                client_must_zero(append_commas(&slot->list, value));
        return 0;
}

static int set_value(const ClientOption *option, ClientValue *slot, const char *value, Error *error)
{
        CLEANUP_ERROR Error reason = {};
        char letter[6] = "";

        if (assign(option, slot, value, &reason) == 0) {
                slot->set = true;
                return 0;
        }
        if (option->letter)
                snprintf(letter, sizeof(letter), "-%c, ", option->letter);
        return error_set(error, OUTCOME_BAD_REQUEST, "invalid argument \"%s\" for \"%s--%s\" flag: %s", value, letter,
                         option->name, reason.message);
}

/* argv[*i] is a --name or --name=value. */
static int parse_long(const ClientOption *options, ClientValue *values, char **argv, size_t n, size_t *i, Error *error)
{
        const char *name = argv[*i] + 2;
        size_t length = strcspn(name, "=");
        const ClientOption *option = find_long(options, name, length);

        if (*name == '=' || *name == '-')
                return error_set(error, OUTCOME_BAD_REQUEST, "bad flag syntax: %s", argv[*i]);
        if (!option)
                return error_set(error, OUTCOME_BAD_REQUEST, "unknown flag: --%.*s", (int) length, name);
        if (name[length] == '=')
                return set_value(option, &values[option - options], name + length + 1, error);
        if (option->kind == OPTION_BOOL)
                return set_value(option, &values[option - options], "true", error);
        if (*i + 1 >= n)
                return error_set(error, OUTCOME_BAD_REQUEST, "flag needs an argument: --%s", option->name);
        (*i)++;
        return set_value(option, &values[option - options], argv[*i], error);
}

/* argv[*i] is a bundle of letters, the last of which may take a value. */
static int parse_letters(const ClientOption *options, ClientValue *values, char **argv, size_t n, size_t *i,
                         Error *error)
{
        const char *bundle = argv[*i] + 1;

        for (const char *c = bundle; *c; c++) {
                const ClientOption *option = find_letter(options, *c);
                int r;

                if (!option)
                        return error_set(error, OUTCOME_BAD_REQUEST, "unknown shorthand flag: '%c' in -%s", *c, c);
                if (c[1] == '=' && c[2])
                        return set_value(option, &values[option - options], c + 2, error);
                if (option->kind != OPTION_BOOL) {
                        if (c[1])
                                return set_value(option, &values[option - options], c + 1, error);
                        if (*i + 1 >= n)
                                return error_set(error, OUTCOME_BAD_REQUEST, "flag needs an argument: '%c' in -%s", *c,
                                                 c);
                        (*i)++;
                        return set_value(option, &values[option - options], argv[*i], error);
                }
                r = set_value(option, &values[option - options], "true", error);
                if (r != 0)
                        return r;
        }
        return 0;
}

int client_options_parse(const ClientOption *options, ClientValue *values, char **argv, size_t n, bool stops_at_word,
                         char **words, size_t *ret_n_words, size_t *ret_used, Error *error)
{
        size_t n_words = 0, i;

        for (i = 0; i < n; i++) {
                char *word = argv[i];
                int r;

                if (strcmp(word, "--") == 0) {
                        i++;
                        break;
                }
                if (word[0] != '-' || !word[1]) {
                        if (stops_at_word)
                                break;
                        words[n_words++] = word;
                        continue;
                }
                r = word[1] == '-' ? parse_long(options, values, argv, n, &i, error)
                                   : parse_letters(options, values, argv, n, &i, error);
                if (r != 0)
                        return r;
        }
        if (ret_used)
                *ret_used = MIN(i, n);
        for (; words && i < n; i++)
                words[n_words++] = argv[i];
        if (ret_n_words)
                *ret_n_words = n_words;
        return 0;
}

/* The letter and name that ask for help, everywhere; they are no part of the tables. */
static bool asks_for_help(const ClientCommand *command, char **argv, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(argv[i], "--") == 0)
                        return false;
                if (strcmp(argv[i], "--help") == 0)
                        return true;
                if (strcmp(argv[i], "-h") == 0 && !find_letter(command->options, 'h'))
                        return true;
                if (command->stops_at_word) {
                        /* A word that follows an option may be its value: --help counts only while options go on. */
                        const char *name = argv[i];
                        const ClientOption *option = NULL;

                        if (name[0] != '-' || !name[1])
                                return false;
                        if (name[1] == '-' && !strchr(name, '='))
                                option = find_long(command->options, name + 2, strlen(name + 2));
                        else if (name[1] != '-')
                                for (const char *c = name + 1; *c; c++) {
                                        option = find_letter(command->options, *c);
                                        if (!option || option->kind != OPTION_BOOL) {
                                                option = c[1] ? NULL : option;
                                                break;
                                        }
                                }
                        if (option && option->kind != OPTION_BOOL)
                                i++;
                }
        }
        return false;
}

static int complain_about_words(const ClientArguments *arguments)
{
        const ClientCommand *command = arguments->command;
        char many[48];

        if (command->max_words == 0)
                snprintf(many, sizeof(many), "accepts no arguments");
        else if (command->min_words == command->max_words)
                snprintf(many, sizeof(many), "requires %d argument%s", command->min_words,
                         command->min_words == 1 ? "" : "s");
        else if ((int) arguments->n_words < command->min_words)
                snprintf(many, sizeof(many), "requires at least %d argument%s", command->min_words,
                         command->min_words == 1 ? "" : "s");
        else
                snprintf(many, sizeof(many), "requires at most %d argument%s", command->max_words,
                         command->max_words == 1 ? "" : "s");
        client_complain("berth: '%s' %s\n\nUsage:  %s%s%s\n\nRun '%s --help' for more information", arguments->path,
                        many, arguments->path, *command->usage ? " " : "", command->usage, arguments->path);
        return 1;
}

int client_arguments_parse(ClientArguments *arguments, const ClientCommand *command, char **argv, size_t n)
{
        CLEANUP_ERROR Error error = {};
        size_t n_options = client_options_count(command->options);

        arguments->command = command;
        arguments->values = client_must(calloc(n_options + 1, sizeof(ClientValue)));
        arguments->words = client_must(calloc(n + 1, sizeof(char *)));
        if (asks_for_help(command, argv, n))
                return 1;
        for (size_t i = 0; i < n_options; i++)
                if (command->options[i].fallback)
                        client_must_zero(assign(&command->options[i], &arguments->values[i],
                                                command->options[i].fallback, NULL));
        if (client_options_parse(command->options, arguments->values, argv, n, command->stops_at_word, arguments->words,
                                 &arguments->n_words, NULL, &error) != 0) {
                client_complain("%s\n\nUsage:  %s%s%s\n\nRun '%s --help' for more information", error.message,
                                arguments->path, *command->usage ? " " : "", command->usage, arguments->path);
                return 1 + CLIENT_EXIT_FAILURE;
        }
        if ((int) arguments->n_words < command->min_words ||
            (command->max_words >= 0 && (int) arguments->n_words > command->max_words))
                return 1 + complain_about_words(arguments);
        return 0;
}

void client_arguments_clear(ClientArguments *arguments)
{
        size_t n = arguments->command ? client_options_count(arguments->command->options) : 0;

        for (size_t i = 0; arguments->values && i < n; i++) {
                free(arguments->values[i].string);
                strv_free(arguments->values[i].list);
        }
        free(arguments->values);
        free(arguments->words);
        free(arguments->path);
        *arguments = (ClientArguments) {};
}

const ClientValue *client_value(const ClientArguments *arguments, const char *name)
{
        const ClientOption *option = find_long(arguments->command->options, name, strlen(name));
        static const ClientValue none;

        return option ? &arguments->values[option - arguments->command->options] : &none;
}

bool client_flag(const ClientArguments *arguments, const char *name)
{
        return client_value(arguments, name)->flag;
}

const char *client_string(const ClientArguments *arguments, const char *name)
{
        return client_value(arguments, name)->string ?: "";
}

int client_check_filter(const char *value, Error *error)
{
        if (!strchr(value, '='))
                return error_set(error, OUTCOME_BAD_REQUEST, "bad format of filter (expected name=value)");
        return 0;
}

/* --- --help --- */

static int option_head(const ClientOption *option, char *buffer, size_t size)
{
        char letter[6] = "    ";

        if (option->letter)
                snprintf(letter, sizeof(letter), "-%c, ", option->letter);
        return snprintf(buffer, size, "  %s--%s%s%s", letter, option->name, option->label ? " " : "",
                        option->label ?: "");
}

static bool shows_fallback(const ClientOption *option)
{
        return option->fallback && *option->fallback && strcmp(option->fallback, "false") != 0;
}

/* Prints TEXT wrapped into WIDTH columns, continuation lines indented. */
static void print_wrapped(FILE *file, const char *text, size_t indent, size_t width)
{
        size_t column = 0;

        while (*text) {
                size_t n = strcspn(text, " \n");

                if (column > 0 && column + 1 + n > width) {
                        fprintf(file, "\n%*s", (int) indent, "");
                        column = 0;
                } else if (column > 0) {
                        fputc(' ', file);
                        column++;
                }
                fwrite(text, 1, n, file);
                column += n;
                text += n;
                while (*text == ' ') {
                        text++;
                        if (*text == ' ') {
                                /* Runs of blanks are columns within the text. */
                                fputc(' ', file);
                                column++;
                        }
                }
                if (*text == '\n') {
                        fprintf(file, "\n%*s", (int) indent, "");
                        column = 0;
                        text++;
                }
        }
        fputc('\n', file);
}

void client_options_print(FILE *file, const char *title, const ClientOption *options)
{
        size_t widest = 0, width = 80;
        struct winsize size;
        char head[128];

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 40)
                width = size.ws_col;
        for (const ClientOption *option = options; option && option->name; option++)
                if (!option->hidden)
                        widest = MAX(widest, (size_t) option_head(option, head, sizeof(head)));
        if (widest == 0)
                return;
        widest += 3;
        fprintf(file, "\n%s:\n", title);
        for (const ClientOption *option = options; option->name; option++) {
                CLEANUP_FREE char *text = NULL;
                bool quoted = option->kind == OPTION_STRING || option->kind == OPTION_COMMA;

                if (option->hidden)
                        continue;
                option_head(option, head, sizeof(head));
                fprintf(file, "%-*s", (int) widest, head);
                if (shows_fallback(option))
                        text = str_printf("%s (default %s%s%s)", option->help, quoted ? "\"" : "", option->fallback,
                                          quoted ? "\"" : "");
                else
                        text = strdup(option->help);
                print_wrapped(file, client_must(text), widest, width > widest + 24 ? width - widest : 24);
        }
}
