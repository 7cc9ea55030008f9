#include "cli/config_file.h"

#include "base/array.h"
#include "base/plain_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- problems ---------------------------------------------------------------------------------------------------- */

void config_file_problem(struct config_file *f, struct config_place place, const char *format, ...) {
  char text[600];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  plain_text(text, strlen(text), "");
  if (f->n_problems == f->capacity) array_grow(f->problems, f->capacity, 8);
  f->problems[f->n_problems++] = (struct config_problem){place, arena_format(&f->arena, "%s", text)};
}

static int compare(const void *one, const void *other) {
  const struct config_place *a = &((const struct config_problem *)one)->place,
                            *b = &((const struct config_problem *)other)->place;
  return a->line != b->line ? (a->line < b->line ? -1 : 1) : a->column < b->column ? -1 : a->column > b->column;
}

static void sort(struct config_file *f) {
  if (f->n_problems) qsort(f->problems, f->n_problems, sizeof *f->problems, compare);
}

void config_file_print(struct config_file *f, const char *path, struct buffer *out) {
  sort(f);
  for (size_t i = 0; i < f->n_problems; i++) {
    const struct config_problem *p = &f->problems[i];
    buffer_format(out, "%s:", path);
    if (p->place.line) buffer_format(out, "%u:%u:", p->place.line, p->place.column);
    buffer_format(out, " %s\n", p->message);
  }
}

cJSON *config_file_json(struct config_file *f, const char *path) {
  cJSON *json = cJSON_CreateObject(), *list;
  sort(f);
  if (path) cJSON_AddStringToObject(json, "file", path);
  cJSON_AddBoolToObject(json, "valid", f->n_problems == 0);
  list = cJSON_AddArrayToObject(json, "problems");
  for (size_t i = 0; i < f->n_problems; i++) {
    cJSON *one = cJSON_CreateObject();
    cJSON_AddNumberToObject(one, "line", f->problems[i].place.line);
    cJSON_AddNumberToObject(one, "column", f->problems[i].place.column);
    cJSON_AddStringToObject(one, "message", f->problems[i].message);
    cJSON_AddItemToArray(list, one);
  }
  return json;
}

void config_file_clear(struct config_file *f) {
  free(f->problems);
  arena_clear(&f->arena);
  *f = (struct config_file){0};
}

/* --- names ------------------------------------------------------------------------------------------------------- */

enum { MAX_NAME = 40 };

/* How many characters must be put in, left out or replaced to get from one to the other. */
static size_t distance(const char *a, const char *b) {
  size_t row[MAX_NAME + 1], n = strlen(b);
  if (n > MAX_NAME || strlen(a) > MAX_NAME) return SIZE_MAX;
  for (size_t k = 0; k <= n; k++) row[k] = k;
  for (size_t i = 1; a[i - 1]; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t k = 1; k <= n; k++) {
      size_t above = row[k], best = diagonal + (a[i - 1] != b[k - 1]);
      if (above + 1 < best) best = above + 1;
      if (row[k - 1] + 1 < best) best = row[k - 1] + 1;
      row[k] = best;
      diagonal = above;
    }
  }
  return row[n];
}

struct reading {
  struct config_file *file;
  const struct cli_command *command;
  const bool *given;
  const char *const *refused;
};

static bool is_refused(const struct reading *r, const char *name) {
  for (const char *const *at = r->refused; *at; at++)
    if (strcmp(*at, name) == 0) return true;
  return false;
}

static void unknown(const struct reading *r, const struct config_entry *entry) {
  const char *nearest = NULL;
  size_t least = strlen(entry->key) / 3 + 1;
  for (size_t i = 0; i < r->command->n_options; i++) {
    const char *name = r->command->options[i].name;
    size_t d = is_refused(r, name) ? SIZE_MAX : distance(entry->key, name);
    if (d <= least) nearest = name, least = d - (d > 0);
  }
  if (nearest)
    config_file_problem(r->file, entry->place, "there is no option %.60s; is it %s?", entry->key, nearest);
  else
    config_file_problem(r->file, entry->place, "there is no option %.60s; see gasworks %s --help", entry->key, r->command->name);
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static bool is_switch(enum cli_type type) { return type == CLI_FLAG || type == CLI_ON_OFF; }
static bool is_text(enum cli_type type) { return type == CLI_TEXT || type == CLI_MAYBE || type == CLI_LIST || type == CLI_TIER; }

static const char *wanted(const struct cli_command *c, const struct cli_option *o, char out[CLI_EXPECTED_SIZE]) {
  if (is_switch(o->type)) return "true or false";
  if (o->type == CLI_TIER) return "\"fast\", \"precise\", \"baseline\" or \"auto\"";
  const char *or_else = o->type == CLI_SIZE ? ", or a string such as \"64M\"" : ", or a string such as \"10G\"";
  return is_text(o->type) ? "a string" : cli_expected(c, o, or_else, out);
}

/* What the command line would say; NULL: nothing does. */
static const char *as_argument(enum cli_type type, const struct config_value *value) {
  if (is_switch(type)) {
    if (value->kind == CONFIG_BOOLEAN) return *value->text == 't' ? "on" : "off";
    return value->kind == CONFIG_TEXT ? value->text : NULL;
  }
  if (value->kind == CONFIG_TEXT) return value->text;
  return value->kind == CONFIG_INTEGER && !is_text(type) ? value->text : NULL;
}

/* An option's value before it is the target's. */
union scratch {
  bool is_on;
  enum tier_choice tier;
  uint32_t small;
  uint64_t large;
  const char *text;
};

static void set(const struct reading *r, const struct cli_option *o, const char *name, const struct config_value *value,
                bool is_given) {
  union scratch scratch = {0};
  struct cli_list none = {0};
  struct cli_option try = *o;
  try.type = o->type == CLI_FLAG ? CLI_ON_OFF : o->type;
  try.target = o->type == CLI_LIST ? (void *)&none : &scratch;
  const char *text = as_argument(o->type, value);
  bool ok = text && cli_set_option(r->command, &try, text);
  cli_list_clear(&none);
  if (!ok) {
    char expected[CLI_EXPECTED_SIZE];
    const char *quote = value->kind == CONFIG_TEXT ? "\"" : "";
    config_file_problem(r->file, value->place, "%s wants %s, not %s%.100s%s", name, wanted(r->command, o, expected), quote,
                        value->text, quote);
    return;
  }
  if (is_given) return; /* the command line says it otherwise */
  try.target = o->target;
  cli_set_option(r->command, &try, arena_format(&r->file->arena, "%s", text));
}

static void each(void *arg, const struct config_entry *entry) {
  const struct reading *r = arg;
  const struct cli_command *c = r->command;
  char expected[CLI_EXPECTED_SIZE];
  for (size_t i = 0; i < c->n_options; i++) {
    const struct cli_option *o = &c->options[i];
    if (strcmp(o->name, entry->key) != 0) continue;
    r->file->places[i] = entry->place;
    if (is_refused(r, o->name))
      config_file_problem(r->file, entry->place, "%s is for the command line alone", o->name);
    else if (entry->is_list && o->type != CLI_LIST)
      config_file_problem(r->file, entry->place, "%s wants %s, not a list", o->name, wanted(c, o, expected));
    else
      for (size_t k = 0; k < entry->n; k++) set(r, o, o->name, &entry->values[k], r->given[i]);
    return;
  }
  unknown(r, entry);
}

void config_file_read(struct config_file *f, const struct buffer *text, const struct cli_command *command, const bool *given,
                      const char *const *refused) {
  struct reading r = {f, command, given, refused};
  struct config_error error;
  if (!config_text_read((const char *)text->bytes, text->size, each, &r, &error))
    config_file_problem(f, error.place, "%s", error.message);
}
