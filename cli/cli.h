/* The command line: verbs (cli.def), their options as tables, and how errors are shown. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/arena.h"
#include "base/buffer.h"
#include "gasworks.h"
#include "server/tier.h"

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every verb: argv[0] is its name; returns the program's exit code. */
#define VERB(name, summary) int cli_##name(int argc, char **argv);
#include "cli/cli.def"
#undef VERB

/* What an option's value is, and what its target points to. */
enum cli_type {
  CLI_FLAG,   /* no value; bool */
  CLI_ON_OFF, /* "on" or "off"; bool */
  CLI_TIER,   /* "fast", "precise", "baseline" or "auto"; enum tier_choice */
  CLI_LEVEL,  /* 0 to 3; uint32_t */
  CLI_U32,    /* decimal; uint32_t */
  CLI_NUMBER, /* decimal, k M G for powers of 1000; uint64_t */
  CLI_SIZE,   /* bytes, K M G for powers of 1024; uint64_t */
  CLI_TEXT,   /* const char * */
  CLI_MAYBE,  /* the same; --name alone gives "" and --name=VALUE the value */
  CLI_LIST,   /* may be given again; struct cli_list */
};

/* NULL-terminated; zero-initialise, then cli_list_clear. The strings are argv's. */
struct cli_list {
  const char **items;
  size_t n;
};

/* What a number may be, where its type alone says too little. */
struct cli_range {
  const char *option;
  uint64_t least, most;
};

struct cli_option {
  const char *name; /* long form */
  char letter;      /* short form, or 0 */
  enum cli_type type;
  void *target;      /* keeps its default when the option is absent */
  const char *value; /* name of the value in the help, NULL for flags */
  const char *help;  /* one line */
};

enum { CLI_MAX_OPTIONS = 96 }; /* of one verb */

struct cli_command {
  const char *name;
  const char *arguments;   /* what follows the options in the usage line */
  const char *description; /* a paragraph, lines broken */
  const struct cli_option *options;
  size_t n_options;
  const struct cli_range *ranges; /* NULL option behind the last one; or NULL */
  int min_operands, max_operands;
  bool ends_at_operand; /* what follows the first operand are operands too, whatever it looks like */
};

/* Parses argv[1..]: fills the targets, puts the operands to argv[0..*argc). Returns false when the verb is over, with the exit
 * code in *exit_code: --help was given, or the usage was wrong and has been explained on stderr. */
bool cli_parse(const struct cli_command *command, int *argc, char ***argv, int *exit_code);
/* The same, and which rows of the table the arguments gave. */
bool cli_parse_given(const struct cli_command *command, int *argc, char ***argv, int *exit_code, bool given[CLI_MAX_OPTIONS]);

/* Gives the target the value. False: it is none, or out of the command's range for it; cli_expected says what would be. `text`
 * must live as long as the target's user. */
bool cli_set_option(const struct cli_command *command, const struct cli_option *option, const char *text);
enum { CLI_EXPECTED_SIZE = 128 };
/* `or_else` is what is said of other ways to write large numbers. */
const char *cli_expected(const struct cli_command *command, const struct cli_option *option, const char *or_else,
                         char out[CLI_EXPECTED_SIZE]);
/* What the target has, in words that are the same for the same value. */
const char *cli_option_text(const struct cli_option *option, struct arena *arena);
void cli_list_add(struct cli_list *list, const char *item);
void cli_list_clear(struct cli_list *list);

/* "gasworks: MESSAGE" on stderr, or {"error":{...}} in one line where the verb was given --json; returns the exit code. */
int cli_fail(const struct gw_error *err);
/* The same with the lines of a backtrace, which may be none. */
int cli_fail_at(const struct gw_error *err, const char *backtrace);
/* The same for a wrong use of `verb` (NULL: of the program); points at its help. */
int cli_misuse(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Decimal with an optional suffix: k M G T of `unit` 1000 or 1024. */
bool cli_parse_number(const char *text, uint64_t unit, uint64_t *out);

/* Reads a file, "-" is standard input. */
bool cli_read_file(struct buffer *b, const char *path, struct gw_error *err);

/* Bytes that may be no text, in standard base64. */
void cli_json_base64(cJSON *object, const char *name, const void *bytes, size_t size);
/* Prints `json` and a line feed, then deletes it. */
void cli_print_json(cJSON *json, bool to_stderr);
/* The same in one line; false: it could not be written. */
bool cli_print_json_line(cJSON *json);
/* Takes from all its strings what a terminal would obey (base/plain_text.h), before they are shown as they are. */
void cli_make_plain(cJSON *json);
/* The exit code of a verb that ended with this one: another where standard output could not be written, which it says. */
int cli_end(int exit_code);

/* JSON number of a count; exact up to 2^53, the nearest double beyond. */
static inline void cli_json_count(cJSON *object, const char *name, uint64_t count) {
  cJSON_AddNumberToObject(object, name, (double)count);
}

#endif
