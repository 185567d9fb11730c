// SPDX-License-Identifier: Apache-2.0
// Command lines from a table: parse, environment, configuration file, help.
#include "apps/options.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

#define CONFIG_BYTES (1 << 20)
#define MAX_OPTIONS  80
#define CONFIG_VERSION 1        // of files for --config, the key "version"

static const char *const log_formats[] = { "text", "json", NULL };

// What is being parsed: the program's options and the common ones, and which were given.
typedef struct parser {
    const zt_program *program;
    zt_option         option[MAX_OPTIONS];
    bool              given[MAX_OPTIONS], configured[MAX_OPTIONS];
    int               n;
    const char       *config;
    bool              help, version;
} parser;

int zt_options_misuse(const zt_program *p, const char *fmt, ...)
{
    char line[800];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    zt_error("%s, see %s --help", line, p->name);
    return ZT_EXIT_USAGE;
}

// ---- values

static bool parse_int(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end || isspace((unsigned char)*text) || v < min || v > max)
        return false;
    *out = v;
    return true;
}

// "800k", "2.5M": a positive decimal and a power of 1000.
static bool parse_scaled(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    double v = strtod(text, &end);
    if (*end == 'k' || *end == 'K')
        v *= 1e3, end++;
    else if (*end == 'M')
        v *= 1e6, end++;
    else if (*end == 'G')
        v *= 1e9, end++;
    if (*end || !(v >= (double)min && v <= (double)max))
        return false;
    *out = (int64_t)v;
    return true;
}

static bool parse_seed(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*text))
        return false;
    const unsigned long long v = strtoull(text, &end, 0);
    if (errno || *end)
        return false;
    *out = v;
    return true;
}

// Two numbers around a sign; `single`: one is enough, the second.
static bool parse_pair(const char *text, char sign, bool single, const zt_option *o, zt_range *out)
{
    char first[24];
    const char *mark = strchr(text, sign);
    int64_t a, b;
    if (!mark) {
        if (!single || !parse_int(text, o->min, o->max, &a))
            return false;
        *out = (zt_range){ 0, (int)a };
        return true;
    }
    snprintf(first, sizeof(first), "%.*s", (int)(mark - text), text);
    if (!parse_int(first, o->min, o->max, &a) || !parse_int(mark + 1, o->min, o->max, &b) || (single && a > b))
        return false;
    *out = (zt_range){ (int)a, (int)b };
    return true;
}

static bool parse_flag(const char *text, bool *out)
{
    static const char *const yes[] = { "1", "true", "yes", "on" }, *const no[] = { "0", "false", "no", "off", "" };
    for (size_t i = 0; i < ZT_LEN(yes); i++)
        if (!strcmp(text, yes[i])) {
            *out = true;
            return true;
        }
    for (size_t i = 0; i < ZT_LEN(no); i++)
        if (!strcmp(text, no[i])) {
            *out = false;
            return true;
        }
    return false;
}

static bool parse_choice(const char *text, const zt_option *o, int *out)
{
    int i = 0;
    while (o->choices[i] && strcmp(text, o->choices[i]))
        i++;
    if (!o->choices[i])
        return false;
    *out = i;
    if (o->choices == log_formats)
        zt_log_json(i);                 // what is wrong with other options is said so
    return true;
}

static bool set(const zt_option *o, const char *text)
{
    switch (o->kind) {
    case ZT_OPTION_FLAG:   return parse_flag(text, o->to);
    case ZT_OPTION_STRING: *(const char **)o->to = text; return true;
    case ZT_OPTION_INT:    return parse_int(text, o->min, o->max, o->to);
    case ZT_OPTION_SEED:   return parse_seed(text, o->to);
    case ZT_OPTION_SIZE:   return parse_pair(text, 'x', false, o, o->to);
    case ZT_OPTION_RANGE:  return parse_pair(text, '-', true, o, o->to);
    case ZT_OPTION_BYTES:
    case ZT_OPTION_RATE:   return parse_scaled(text, o->min, o->max, o->to);
    case ZT_OPTION_CHOICE: return parse_choice(text, o, o->to);
    }
    return false;
}

// What would have been right, after "is not".
static const char *expected(const zt_option *o, char *text, size_t bytes)
{
    switch (o->kind) {
    case ZT_OPTION_FLAG: return "1 or 0";
    case ZT_OPTION_SEED: return "a number from 0 to 2^64 - 1";
    case ZT_OPTION_SIZE:
        snprintf(text, bytes, "WIDTHxHEIGHT with both in %d..%d", (int)o->min, (int)o->max);
        return text;
    case ZT_OPTION_RANGE:
        snprintf(text, bytes, "N or MIN-MAX in %d..%d", (int)o->min, (int)o->max);
        return text;
    case ZT_OPTION_RATE:
        snprintf(text, bytes, "bits per second such as 800k or 2M, in %lld..%lld", (long long)o->min,
                 (long long)o->max);
        return text;
    case ZT_OPTION_BYTES:
        snprintf(text, bytes, "bytes such as 500M or 10G, in %lld..%lld", (long long)o->min, (long long)o->max);
        return text;
    case ZT_OPTION_CHOICE: {
        int at = snprintf(text, bytes, "one of");
        for (int i = 0; o->choices[i] && at < (int)bytes; i++)
            at += snprintf(text + at, bytes - (size_t)at, " %s", o->choices[i]);
        return text;
    }
    default:
        snprintf(text, bytes, "a whole number in %lld..%lld", (long long)o->min, (long long)o->max);
        return text;
    }
}

// ---- sources

static int given_value(parser *p, int i, const char *text)
{
    char right[200];
    p->given[i] = true;
    if (set(&p->option[i], text))
        return -1;
    return zt_options_misuse(p->program, "--%s: \"%.60s\" is not %s", p->option[i].name, text,
                             expected(&p->option[i], right, sizeof(right)));
}

static int find_name(const parser *p, const char *name, size_t length)
{
    for (int i = 0; i < p->n; i++)
        if (strlen(p->option[i].name) == length && !strncmp(p->option[i].name, name, length))
            return i;
    return -1;
}

static int find_letter(const parser *p, char letter)
{
    for (int i = 0; i < p->n; i++)
        if (p->option[i].letter == letter)
            return i;
    return -1;
}

// --name, --name=value, --name value. Moves *at past a value of its own.
static int parse_long(parser *p, char **argv, int *at)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    const size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const int i = find_name(p, name, length);
    if (i < 0)
        return zt_options_misuse(p->program, "unknown option --%.*s", (int)ZT_MIN(length, 60), name);
    if (p->option[i].kind == ZT_OPTION_FLAG)
        return equals ? zt_options_misuse(p->program, "--%s takes no value", p->option[i].name)
                      : given_value(p, i, "1");
    if (equals)
        return given_value(p, i, equals + 1);
    if (!argv[*at + 1])
        return zt_options_misuse(p->program, "--%s needs %s", p->option[i].name, p->option[i].value);
    return given_value(p, i, argv[++*at]);
}

// -n 5, -n5, -qy.
static int parse_letters(parser *p, char **argv, int *at)
{
    for (const char *c = argv[*at] + 1; *c; c++) {
        const int i = find_letter(p, *c);
        if (i < 0)
            return zt_options_misuse(p->program, "unknown option -%c", isprint((unsigned char)*c) ? *c : '?');
        if (p->option[i].kind == ZT_OPTION_FLAG) {
            given_value(p, i, "1");
            continue;
        }
        if (c[1])
            return given_value(p, i, c + 1);
        if (!argv[*at + 1])
            return zt_options_misuse(p->program, "-%c needs %s", *c, p->option[i].value);
        return given_value(p, i, argv[++*at]);
    }
    return -1;
}

static int parse_line(parser *p, int argc, char **argv, const char **argument)
{
    int n = 0;
    bool only_arguments = false;
    for (int i = 1; i < argc; i++) {
        int code = -1;
        if (!only_arguments && !strcmp(argv[i], "--"))
            only_arguments = true;
        else if (!only_arguments && !strncmp(argv[i], "--", 2))
            code = parse_long(p, argv, &i);
        else if (!only_arguments && argv[i][0] == '-' && argv[i][1])
            code = parse_letters(p, argv, &i);
        else if (n == p->program->arguments)
            code = zt_options_misuse(p->program, "\"%.60s\" is one argument too many", argv[i]);
        else
            argument[n++] = argv[i];
        if (code >= 0)
            return code;
    }
    argument[n] = NULL;
    return -1;
}

static int parse_environment(parser *p)
{
    for (int i = 0; i < p->n; i++) {
        char name[64] = "ZOETROPE_", right[200];
        size_t at = strlen(name);
        for (const char *c = p->option[i].name; *c && at < sizeof(name) - 1; c++)
            name[at++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        name[at] = 0;
        const char *text = p->given[i] ? NULL : getenv(name);
        if (!text)
            continue;
        p->given[i] = true;
        if (!set(&p->option[i], text))
            return zt_options_misuse(p->program, "%s: \"%.60s\" is not %s", name, text,
                                     expected(&p->option[i], right, sizeof(right)));
    }
    return -1;
}

static int bad_config(const parser *p, int code, const char *what, const char *detail)
{
    zt_error("%s: %s%.60s", p->config, what, detail);
    return code;
}

static int config_version(const parser *p, const cJSON *item)
{
    const double v = cJSON_IsNumber(item) ? item->valuedouble : 0;
    if (v > CONFIG_VERSION) {
        zt_error("%s: version %g is newer than this program, which reads up to %d", p->config, v, CONFIG_VERSION);
        return ZT_EXIT_DATA;
    }
    return v == CONFIG_VERSION ? -1 : bad_config(p, ZT_EXIT_DATA, "version: not a whole number from 1", "");
}

// What a value has as text: NULL when its type is not the option's.
static const char *config_text(const cJSON *item, const zt_option *o, char number[32])
{
    if (cJSON_IsString(item))
        return item->valuestring;
    if (cJSON_IsBool(item) && o->kind == ZT_OPTION_FLAG)
        return cJSON_IsTrue(item) ? "1" : "0";
    if (!cJSON_IsNumber(item) || o->kind == ZT_OPTION_STRING)
        return NULL;
    snprintf(number, 32, "%.17g", item->valuedouble);
    return number;
}

// One key of the file. Strings are kept: options point into them.
static int config_value(parser *p, const cJSON *item)
{
    char number[32], right[200];
    static const char *const not_here[] = { "config", "check-config", "help" };
    if (!strcmp(item->string, "version"))
        return config_version(p, item);
    const int i = find_name(p, item->string, strlen(item->string));
    bool unknown = i < 0;
    for (size_t k = 0; k < ZT_LEN(not_here); k++)
        unknown = unknown || !strcmp(item->string, not_here[k]);
    if (unknown)
        return bad_config(p, ZT_EXIT_DATA, "unknown key ", item->string);
    if (p->configured[i])
        return bad_config(p, ZT_EXIT_DATA, "given twice: ", item->string);
    p->configured[i] = true;
    const char *text = config_text(item, &p->option[i], number);
    if (!text)
        return bad_config(p, ZT_EXIT_DATA, "wrong type: ", item->string);
    zt_option o = p->option[i];
    zt_range unused[2];                 // room for any kind: what the command line has said is judged too
    if (p->given[i])
        o.to = unused;
    if (!set(&o, text)) {
        zt_error("%s: %s: \"%.60s\" is not %s", p->config, item->string, text, expected(&o, right, sizeof(right)));
        return ZT_EXIT_DATA;
    }
    return -1;
}

static int parse_config(parser *p, zt_common *common)
{
    if (!p->config)
        return -1;
    FILE *f = fopen(p->config, "rb");
    if (!f)
        return bad_config(p, ZT_EXIT_NO_INPUT, strerror(errno), "");
    int code = ZT_EXIT_DATA;
    cJSON *root = NULL;
    char *text = malloc(CONFIG_BYTES + 2);
    const size_t bytes = text ? fread(text, 1, CONFIG_BYTES + 1, f) : 0;
    if (!text || ferror(f)) {
        code = bad_config(p, ZT_EXIT_NO_INPUT, "cannot be read", "");
        goto out;
    }
    if (bytes > CONFIG_BYTES) {
        bad_config(p, code, "longer than 1 MiB", "");
        goto out;
    }
    text[bytes] = 0;
    const char *end = text;
    root = cJSON_ParseWithOpts(text, &end, 1);
    if (!root || strlen(text) != bytes) {
        int line = 1;
        for (const char *c = text; c < end; c++)
            line += *c == '\n';
        zt_error("%s: line %d: not JSON", p->config, line);
        goto out;
    }
    if (!cJSON_IsObject(root)) {
        bad_config(p, code, "not a JSON object", "");
        goto out;
    }
    code = -1;
    for (const cJSON *item = root->child; item && code < 0; item = item->next)
        code = config_value(p, item);
    common->config = root;
    common->config_path = p->config;
out:
    if (!common->config)
        cJSON_Delete(root);
    free(text);
    fclose(f);
    return code;
}

// ---- help

static void print_help(const parser *p)
{
    printf("Usage: %s %s\n%s\n\n", p->program->name, p->program->usage, p->program->summary);
    for (int i = 0; i < p->n; i++) {
        const zt_option *o = &p->option[i];
        char left[64];
        snprintf(left, sizeof(left), "%s%c%s--%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
                 o->letter ? ", " : "  ", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-30s %s\n", left, o->help);
    }
    printf("\nEvery option --SOME-NAME has a twin ZOETROPE_SOME_NAME in the environment and a key \"some-name\" in\n"
           "the file of --config; the command line comes first, then the environment, then the file.\n");
}

// Fields with tabs between; the first says what the line is.
static void dump(const parser *p)
{
    printf("program\t%s\t%s\t%s\t%s\n", p->program->name, p->program->summary, p->program->usage,
           p->program->commands ? p->program->commands : "");
    for (int i = 0; i < p->n; i++) {
        const zt_option *o = &p->option[i];
        printf("option\t%s\t%.1s\t%s\t%s\t", o->name, &o->letter, o->value ? o->value : "", o->help);
        if (o->min < o->max && o->max < INT32_MAX && o->kind != ZT_OPTION_RATE && o->kind != ZT_OPTION_BYTES)
            printf("%d to %d", (int)o->min, (int)o->max);
        putchar('\t');
        for (int k = 0; o->choices && o->choices[k]; k++)
            printf("%s%s", k ? " " : "", o->choices[k]);
        putchar('\n');
    }
}

static void add(parser *p, zt_option o)
{
    if (p->n < MAX_OPTIONS)
        p->option[p->n++] = o;
}

static void add_all(parser *p, zt_common *common)
{
    for (const zt_option *o = p->program->option; o && o->name; o++)
        add(p, *o);
    add(p, (zt_option){ "threads", 0, ZT_OPTION_INT, &common->threads, "N", "that compute (as many as there are CPUs)",
                        0, 256 });
    add(p, (zt_option){ "config", 0, ZT_OPTION_STRING, &p->config, "FILE", "options as a JSON object" });
    add(p, (zt_option){ "log-format", 0, ZT_OPTION_CHOICE, &common->log_format, "FORMAT", "text or json (text)", 0, 0,
                        log_formats });
    add(p, (zt_option){ "quiet", 'q', ZT_OPTION_FLAG, &common->quiet, NULL, "errors only" });
    add(p, (zt_option){ "verbose", 'v', ZT_OPTION_FLAG, &common->verbose, NULL, "more to read" });
    add(p, (zt_option){ "help", 'h', ZT_OPTION_FLAG, &p->help, NULL, "this text" });
    add(p, (zt_option){ "version", 0, ZT_OPTION_FLAG, &p->version, NULL, "the version" });
}

int zt_options_parse(const zt_program *program, int argc, char **argv, zt_common *common, const char **argument)
{
    parser p = { .program = program };
    add_all(&p, common);
    if (argc == 2 && !strcmp(argv[1], "--dump-options")) {
        dump(&p);
        return ZT_EXIT_OK;
    }
    int code = parse_line(&p, argc, argv, argument);
    if (code >= 0)
        return code;
    if (p.help) {
        print_help(&p);
        return ZT_EXIT_OK;
    }
    if (p.version) {
        printf("%s %s\n", program->name, ZT_VERSION);
        return ZT_EXIT_OK;
    }
    p.given[find_name(&p, "help", 4)] = p.given[find_name(&p, "version", 7)] = true;
    code = parse_environment(&p);
    if (code < 0)
        code = parse_config(&p, common);
    if (code >= 0)
        return code;
    zt_log_json(common->log_format);
    if (common->quiet)
        zt_log_level(ZT_LOG_ERROR);
    else if (common->verbose)
        zt_log_level(ZT_LOG_DEBUG);
    return -1;
}

void zt_options_forget(zt_common *common)
{
    cJSON_Delete(common->config);
    common->config = NULL;
}
