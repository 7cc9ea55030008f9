#include "base/heap.h"
#include "cli/cli.h"

#include "base/error.h"
#include "base/plain_text.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OPTIONS = CLI_MAX_OPTIONS, HELP_COLUMN = 26, MAX_FILE = 1 << 30 };

/* --- errors ------------------------------------------------------------------------------------------------------ */

/* Whether the verb was given --json. One verb runs in a process, on one thread. */
static bool is_json;

/* Lines without what indents them. */
static void add_backtrace(cJSON *json, const char *text) {
  cJSON *lines = cJSON_AddArrayToObject(json, "backtrace");
  for (size_t size; *text; text += size + (text[size] == '\n')) {
    text += strspn(text, " ");
    size = strcspn(text, "\n");
    char *line = strndup(text, size);
    cJSON_AddItemToArray(lines, cJSON_CreateString(line));
    free(line);
  }
}

/* One line, the last on standard error: what else stands there is for people. The members are those of the server's problem
 * documents. */
static void put_json(const struct gw_error *err, const char *message, const char *backtrace) {
  cJSON *json = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(json, "error");
  cJSON_AddStringToObject(error, "title", gw_error_title(err->code));
  cJSON_AddStringToObject(error, "detail", message);
  cJSON_AddNumberToObject(error, "exit_code", gw_error_exit_code(err));
  if (err->code == GW_ERROR_TRAP) cJSON_AddStringToObject(error, "trap", gw_trap_message(err->trap));
  if (*backtrace) add_backtrace(error, backtrace);
  char *text = cJSON_PrintUnformatted(json);
  fprintf(stderr, "%s\n", text ? text : "{}");
  cJSON_free(text);
  cJSON_Delete(json);
}

/* Messages and backtraces quote files and servers, whose control characters would be the terminal's. */
int cli_fail_at(const struct gw_error *err, const char *backtrace) {
  char *message = strdup(err->message[0] ? err->message : gw_error_title(err->code)), *calls = strdup(backtrace);
  plain_text(message, strlen(message), "\n");
  plain_text(calls, strlen(calls), "\n");
  if (is_json)
    put_json(err, message, calls);
  else
    fprintf(stderr, "gasworks: %s\n%s", message, calls);
  free(message);
  free(calls);
  return gw_error_exit_code(err);
}

int cli_fail(const struct gw_error *err) { return cli_fail_at(err, ""); }

int cli_misuse(const char *verb, const char *format, ...) {
  struct gw_error err = {0};
  char problem[256];
  va_list args;
  va_start(args, format);
  vsnprintf(problem, sizeof problem, format, args);
  va_end(args);
  if (is_json)
    error_set(&err, GW_ERROR_USAGE, "%s", problem);
  else if (verb)
    error_set(&err, GW_ERROR_USAGE, "%s; see gasworks %s --help", problem, verb);
  else
    error_set(&err, GW_ERROR_USAGE, "%s; see gasworks help", problem);
  return cli_fail(&err);
}

/* --- help -------------------------------------------------------------------------------------------------------- */

static void print_row(const char *left, const char *text) {
  int width = printf("  %s", left);
  printf("%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 2, "", text);
}

static void print_option(const struct cli_option *o) {
  char left[80], letter[8] = "    ";
  if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
  const char *before = !o->value ? "" : o->type == CLI_MAYBE ? "[=" : " ";
  snprintf(left, sizeof left, "%s--%s%s%s%s", letter, o->name, before, o->value ? o->value : "", *before == '[' ? "]" : "");
  print_row(left, o->help);
}

/* One way to fail: a row of the error table, or behind those one of the trap table. */
static struct gw_error failure(int row) {
  if (row < GW_ERROR_COUNT) return (struct gw_error){.code = (enum gw_error_code)row};
  return (struct gw_error){.code = GW_ERROR_TRAP, .trap = (enum gw_trap)(row - GW_ERROR_COUNT)};
}

static bool is_shown(int row) {
  return row != GW_ERROR_TRAP && row != GW_ERROR_COUNT + GW_TRAP_NONE && row != GW_ERROR_COUNT + GW_TRAP_EXIT;
}

/* Exit codes come from the tables, so that they cannot drift: one line for each, with everything that gives it. */
static void print_exit_codes(void) {
  puts("\nExit codes:\n  0    success; run: the program's own code");
  for (int code = 1; code < 256; code++) {
    int n = 0;
    for (int row = 1; row < GW_ERROR_COUNT + GW_TRAP_COUNT; row++) {
      struct gw_error err = failure(row);
      if (!is_shown(row) || gw_error_exit_code(&err) != code) continue;
      if (n == 0) printf("  %-3d ", code);
      printf(n++ ? ", %s" : " %s", err.code == GW_ERROR_TRAP ? gw_trap_message(err.trap) : gw_error_title(err.code));
    }
    if (n) puts("");
  }
}

static cJSON *describe_option(const struct cli_option *o) {
  cJSON *json = cJSON_CreateObject();
  char letter[2] = {o->letter, 0};
  cJSON_AddStringToObject(json, "name", o->name);
  if (o->letter) cJSON_AddStringToObject(json, "letter", letter);
  if (o->value) cJSON_AddStringToObject(json, "value", o->value);
  cJSON_AddStringToObject(json, "help", o->help);
  return json;
}

static void print_help_as_json(const struct cli_command *c) {
  cJSON *json = cJSON_CreateObject(), *options;
  cJSON_AddStringToObject(json, "verb", c->name);
  cJSON_AddStringToObject(json, "arguments", c->arguments);
  cJSON_AddStringToObject(json, "description", c->description);
  options = cJSON_AddArrayToObject(json, "options");
  for (size_t i = 0; i < c->n_options; i++) cJSON_AddItemToArray(options, describe_option(&c->options[i]));
  cli_print_json(json, false);
}

static void print_help(const struct cli_command *c) {
  if (is_json) {
    print_help_as_json(c);
    return;
  }
  printf("usage: gasworks %s [OPTION...]%s%s\n\n%s\n\nOptions:\n", c->name, *c->arguments ? " " : "", c->arguments,
         c->description);
  for (size_t i = 0; i < c->n_options; i++) print_option(&c->options[i]);
  print_row("-h, --help", "show this");
  print_exit_codes();
}

/* --- values ------------------------------------------------------------------------------------------------------ */

bool cli_parse_number(const char *text, uint64_t unit, uint64_t *out) {
  static const char suffixes[] = "kmgt";
  uint64_t value = 0;
  if (*text < '0' || *text > '9') return false;
  for (; *text >= '0' && *text <= '9'; text++)
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) return false;
  const char *suffix = *text ? strchr(suffixes, *text | 0x20) : NULL;
  if (*text && (!suffix || text[1])) return false;
  for (ptrdiff_t i = suffix ? suffix - suffixes + 1 : 0; i > 0; i--)
    if (__builtin_mul_overflow(value, unit, &value)) return false;
  *out = value;
  return true;
}

void cli_list_add(struct cli_list *list, const char *item) {
  const char **items = heap_resize(list->items, (list->n + 2), sizeof *items);
  items[list->n++] = item;
  items[list->n] = NULL;
  list->items = items;
}

void cli_list_clear(struct cli_list *list) {
  free(list->items);
  *list = (struct cli_list){0};
}

static uint64_t unit_of(enum cli_type type) { return type == CLI_SIZE ? 1024 : 1000; }

/* The table's, or all that the type holds. */
static struct cli_range range_of(const struct cli_command *c, const struct cli_option *o) {
  uint64_t most = o->type == CLI_LEVEL ? 3 : o->type == CLI_U32 ? UINT32_MAX : UINT64_MAX;
  for (const struct cli_range *r = c->ranges; r && r->option; r++)
    if (strcmp(r->option, o->name) == 0) return *r;
  return (struct cli_range){o->name, 0, most};
}

static bool set_number(const struct cli_command *c, const struct cli_option *o, const char *text) {
  struct cli_range range = range_of(c, o);
  uint64_t value;
  if (!cli_parse_number(text, unit_of(o->type), &value) || value < range.least || value > range.most) return false;
  if (o->type == CLI_LEVEL || o->type == CLI_U32)
    *(uint32_t *)o->target = (uint32_t)value;
  else
    *(uint64_t *)o->target = value;
  return true;
}

static bool set_on_off(const char *text, bool *out) {
  *out = strcmp(text, "on") == 0;
  return *out || strcmp(text, "off") == 0;
}

static const char *const tier_names[] = {
    [TIER_FAST] = "fast", [TIER_PRECISE] = "precise", [TIER_AUTO] = "auto", [TIER_BASELINE] = "baseline"};

static bool set_tier(const char *text, enum tier_choice *out) {
  for (size_t i = 0; i < sizeof tier_names / sizeof *tier_names; i++) {
    *out = (enum tier_choice)i;
    if (strcmp(text, tier_names[i]) == 0) return true;
  }
  return false;
}

bool cli_set_option(const struct cli_command *c, const struct cli_option *o, const char *text) {
  switch (o->type) {
  case CLI_FLAG: *(bool *)o->target = true; return true;
  case CLI_ON_OFF: return set_on_off(text, o->target);
  case CLI_TIER: return set_tier(text, o->target);
  case CLI_LEVEL:
  case CLI_U32:
  case CLI_NUMBER:
  case CLI_SIZE: return set_number(c, o, text);
  case CLI_TEXT:
  case CLI_MAYBE: *(const char **)o->target = text ? text : ""; return true;
  case CLI_LIST: cli_list_add(o->target, text); return true;
  }
  return false;
}

/* As short as it can be said exactly: 67108864 bytes are 64M. */
static void print_number(char *out, size_t size, uint64_t value, uint64_t unit) {
  static const char suffixes[] = {0, 'K', 'M', 'G', 'T'};
  size_t n = 0;
  while (unit == 1024 && value && value % unit == 0 && n + 1 < sizeof suffixes) value /= unit, n++;
  snprintf(out, size, "%" PRIu64 "%.1s", value, n ? &suffixes[n] : "");
}

/* Whether a number has room for more than anybody wants: then its most is not worth a word. */
static bool is_open(uint64_t most) { return most > UINT32_MAX; }

static void append_range(const struct cli_range *range, uint64_t unit, char out[CLI_EXPECTED_SIZE]) {
  char least[24], most[24], *end = out + strlen(out);
  size_t room = CLI_EXPECTED_SIZE - strlen(out);
  print_number(least, sizeof least, range->least, unit);
  print_number(most, sizeof most, range->most, unit);
  if (!is_open(range->most))
    snprintf(end, room, " from %s to %s", least, most);
  else if (range->least)
    snprintf(end, room, " from %s on", least);
}

const char *cli_expected(const struct cli_command *c, const struct cli_option *o, const char *or_else,
                         char out[CLI_EXPECTED_SIZE]) {
  struct cli_range range = range_of(c, o);
  switch (o->type) {
  case CLI_ON_OFF: return "on or off";
  case CLI_TIER: return "fast, precise, baseline or auto";
  case CLI_LEVEL: return "0, 1, 2 or 3";
  default: break;
  }
  snprintf(out, CLI_EXPECTED_SIZE, "a number%s", o->type == CLI_SIZE ? " of bytes" : "");
  append_range(&range, unit_of(o->type), out);
  if (o->type == CLI_SIZE || o->type == CLI_NUMBER) strncat(out, or_else, CLI_EXPECTED_SIZE - strlen(out) - 1);
  return out;
}

/* The value, always in the same words. */
const char *cli_option_text(const struct cli_option *o, struct arena *arena) {
  switch (o->type) {
  case CLI_FLAG:
  case CLI_ON_OFF: return *(const bool *)o->target ? "on" : "off";
  case CLI_TIER: return tier_names[*(const enum tier_choice *)o->target];
  case CLI_LEVEL:
  case CLI_U32: return arena_format(arena, "%" PRIu32, *(const uint32_t *)o->target);
  case CLI_NUMBER:
  case CLI_SIZE: return arena_format(arena, "%" PRIu64, *(const uint64_t *)o->target);
  case CLI_TEXT:
  case CLI_MAYBE: {
    const char *text = *(const char *const *)o->target;
    return text ? arena_format(arena, "%s", text) : "";
  }
  case CLI_LIST: {
    const struct cli_list *list = o->target;
    const char *text = "";
    for (size_t i = 0; i < list->n; i++) text = arena_format(arena, "%s%s%s", text, i ? "\n" : "", list->items[i]);
    return text;
  }
  }
  return "";
}

/* --- parsing ----------------------------------------------------------------------------------------------------- */

struct getopt_tables {
  struct option longs[MAX_OPTIONS + 2];
  char shorts[2 * MAX_OPTIONS + 8];
};

/* Long options answer 256 + their row, so that they share no value with letters. */
static void fill_tables(const struct cli_command *c, struct getopt_tables *t) {
  char *letter = t->shorts;
  if (c->ends_at_operand) *letter++ = '+';
  *letter++ = ':';
  *letter++ = 'h';
  for (size_t i = 0; i < c->n_options; i++) {
    const struct cli_option *o = &c->options[i];
    int has_value = o->type == CLI_FLAG ? no_argument : o->type == CLI_MAYBE ? optional_argument : required_argument;
    t->longs[i] = (struct option){o->name, has_value, NULL, 256 + (int)i};
    if (!o->letter) continue;
    *letter++ = o->letter;
    if (has_value) *letter++ = ':';
  }
  *letter = 0;
  t->longs[c->n_options] = (struct option){"help", no_argument, NULL, 'h'};
  t->longs[c->n_options + 1] = (struct option){0};
}

static const struct cli_option *find_option(const struct cli_command *c, int answer) {
  if (answer >= 256) return &c->options[answer - 256];
  for (size_t i = 0; i < c->n_options; i++)
    if (c->options[i].letter == answer) return &c->options[i];
  return NULL;
}

/* getopt puts a short option into optopt, a long one it has just stepped over. */
static void unknown_option(int answer, const char *argument, char *problem, size_t size) {
  char letter[3] = {'-', (char)optopt, 0};
  bool is_short = optopt > 0 && optopt < 256;
  const char *what = answer == ':' ? "needs a value" : "is not understood";
  snprintf(problem, size, "option %s %s", is_short ? letter : argument, what);
}

bool cli_parse(const struct cli_command *c, int *argc, char ***argv, int *exit_code) {
  bool given[CLI_MAX_OPTIONS];
  return cli_parse_given(c, argc, argv, exit_code, given);
}

/* The first problem is told when all options are read: whether as JSON is one of them. True: help is wanted. */
static bool parse_options(const struct cli_command *c, int argc, char **argv, bool *given, char *problem, size_t size) {
  struct getopt_tables tables;
  fill_tables(c, &tables);
  opterr = 0;
  optind = 0; /* glibc: start afresh */
  char expected[CLI_EXPECTED_SIZE];
  int answer;
  while ((answer = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
    const struct cli_option *o = find_option(c, answer);
    if (answer == 'h') return true;
    if (!o && !*problem) unknown_option(answer, argv[optind - 1], problem, size);
    if (!o) continue;
    if (!cli_set_option(c, o, optarg) && !*problem)
      snprintf(problem, size, "--%s wants %s, not %s", o->name, cli_expected(c, o, ", k M G allowed", expected), optarg);
    given[o - c->options] = true;
    if (strcmp(o->name, "json") == 0) is_json = true;
  }
  return false;
}

bool cli_parse_given(const struct cli_command *c, int *argc, char ***argv, int *exit_code, bool given[CLI_MAX_OPTIONS]) {
  char problem[200] = "";
  assert(c->n_options <= MAX_OPTIONS);
  memset(given, 0, CLI_MAX_OPTIONS * sizeof *given);
  is_json = false;
  if (parse_options(c, *argc, *argv, given, problem, sizeof problem)) {
    print_help(c);
    *exit_code = 0;
    return false;
  }
  *argc -= optind;
  *argv += optind;
  if (!*problem && *argc >= c->min_operands && *argc <= c->max_operands) return true;
  if (*problem)
    *exit_code = cli_misuse(c->name, "%s", problem);
  else if (*argc < c->min_operands)
    *exit_code = cli_misuse(c->name, "%s wants %s", c->name, c->arguments);
  else
    *exit_code = cli_misuse(c->name, "unexpected argument %s", (*argv)[c->max_operands]);
  return false;
}

/* --- small things ------------------------------------------------------------------------------------------------ */

bool cli_read_file(struct buffer *b, const char *path, struct gw_error *err) {
  if (strcmp(path, "-") == 0) return buffer_read_fd(b, STDIN_FILENO, "standard input", MAX_FILE, err);
  return buffer_read_file(b, path, MAX_FILE, err);
}

void cli_json_base64(cJSON *object, const char *name, const void *bytes, size_t size) {
  size_t n = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
  char *text = heap_new(1, n);
  sodium_bin2base64(text, n, bytes, size, sodium_base64_VARIANT_ORIGINAL);
  cJSON_AddStringToObject(object, name, text);
  free(text);
}

void cli_make_plain(cJSON *json) {
  if (json->valuestring) plain_text(json->valuestring, strlen(json->valuestring), "");
  if (json->string) plain_text(json->string, strlen(json->string), "");
  cJSON *item;
  cJSON_ArrayForEach(item, json) cli_make_plain(item);
}

void cli_print_json(cJSON *json, bool to_stderr) {
  char *text = cJSON_Print(json);
  fprintf(to_stderr ? stderr : stdout, "%s\n", text ? text : "{}");
  cJSON_free(text);
  cJSON_Delete(json);
}

bool cli_print_json_line(cJSON *json) {
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  bool ok = text && puts(text) >= 0;
  cJSON_free(text);
  return ok;
}

int cli_end(int exit_code) {
  struct gw_error err = {0};
  errno = 0;
  bool ok = fflush(stdout) == 0 && !ferror(stdout);
  if (ok || exit_code) return exit_code;
  error_set(&err, GW_ERROR_IO, "cannot write to standard output: %s", errno ? strerror(errno) : "a part is missing");
  return cli_fail(&err);
}
