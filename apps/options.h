// SPDX-License-Identifier: Apache-2.0
// Command lines: one table per program gives flags, environment, configuration file and --help.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum zt_option_kind {
    ZT_OPTION_FLAG,     // bool: no value on the command line; 1/0, true/false, yes/no in the environment
    ZT_OPTION_STRING,   // const char *: lives as long as the process
    ZT_OPTION_INT,      // int64_t in [min, max]
    ZT_OPTION_SEED,     // uint64_t, any value
    ZT_OPTION_SIZE,     // zt_range: WxH, both in [min, max]
    ZT_OPTION_RANGE,    // zt_range: N (then a is 0) or MIN-MAX, both in [min, max]
    ZT_OPTION_RATE,     // int64_t bits/s in [min, max]: 800k, 2M, 2500000
    ZT_OPTION_BYTES,    // int64_t in [min, max]: 500M, 10G
    ZT_OPTION_CHOICE,   // int: index into `choices`
};

typedef struct zt_range {
    int a, b;           // width and height, or least and most; 0, 0: not given
} zt_range;

typedef struct zt_option {
    const char         *name;       // long, without dashes; "crf" has the twin ZOETROPE_CRF, its key in a file is "crf"
    char                letter;     // short, or 0
    enum zt_option_kind kind;
    void               *to;         // of the kind's type; holds the default, written when the option is given
    const char         *value;      // its name in --help: "N", "WxH"; NULL for flags
    const char         *help;       // one phrase with the default in parentheses
    int64_t             min, max;   // where the kind says so
    const char *const  *choices;    // ZT_OPTION_CHOICE: names, NULL at the end
} zt_option;

typedef struct zt_program {
    const char      *name;          // "zoetrope-render"
    const char      *summary;       // one sentence
    const char      *usage;         // what follows the name: "[OPTIONS] -o OUT"
    const zt_option *option;        // .name NULL ends the list
    int              arguments;     // how many that are no options it takes at most
    const char      *commands;      // what the first of them may be, blanks between (NULL: it is no command)
} zt_program;

// What every program has: --help --version -q -v --config --log-format --threads.
typedef struct zt_common {
    int64_t threads;                // 0: as many as there are CPUs
    bool    quiet, verbose;
    int     log_format;             // 0: text, 1: json
    void   *config;                 // what strings from --config point into, as long as the process lives
    const char *config_path;        // its file, or NULL
} zt_common;

// Flags before environment before --config before defaults. Sets the log's level and format.
// Returns -1 to go on, else the exit code: 0 after --help or --version, 64, 65 or 66 with one line on stderr.
// "--dump-options" alone prints the table, of which tools/options.awk makes manual pages and completions.
// argument[program->arguments + 1]: those that are no options, NULL after the last.
int zt_options_parse(const zt_program *p, int argc, char **argv, zt_common *common, const char **argument);

// What the file of --config is not known to say is refused (65), and what a newer program's file says ("version").
// Ends what zt_options_parse() has kept: the strings of --config are gone. For reading the options once more.
void zt_options_forget(zt_common *common);

// One line on stderr: "…, see NAME --help". Returns 64.
int zt_options_misuse(const zt_program *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
