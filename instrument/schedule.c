/* Schedules and their text form. */
#include "instrument/schedule.h"

#include "base/error.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE "gasworks-schedule"

static const struct {
  const char *name;
  uint32_t least;
} classes[COST_COUNT] = {
#define COST(id, name, gas, latency, least) [COST_##id] = {name, least},
#include "frontend/cost.def"
#undef COST
};

static struct schedule built_in = {
    .version = 4,
    .gas =
        {
#define COST(id, name, gas, latency, least) [COST_##id] = gas,
#include "frontend/cost.def"
#undef COST
        },
    .latency =
        {
#define COST(id, name, gas, latency, least) [COST_##id] = latency,
#include "frontend/cost.def"
#undef COST
        },
};

const char *cost_name(enum cost c) { return classes[c].name; }

uint32_t cost_least(enum cost c) { return classes[c].least; }

bool cost_is_instruction(enum cost c) { return c < COST_MEMORY_BYTES_16; }

struct price_rates schedule_rates(const struct schedule *s) {
  return (struct price_rates){s->gas, s->latency};
}

size_t schedule_print(const struct schedule *s, char *out, size_t size) {
  size_t at = (size_t)snprintf(out, size, TITLE " %u\n", s->version);
  for (int c = 0; c < COST_COUNT; c++) {
    size_t left = at < size ? size - at : 0;
    char *line = left ? out + at : NULL;
    if (cost_is_instruction(c))
      at += (size_t)snprintf(line, left, "%s %u %u\n", classes[c].name, s->gas[c], s->latency[c]);
    else
      at += (size_t)snprintf(line, left, "%s %u\n", classes[c].name, s->gas[c]);
  }
  return at;
}

void schedule_seal(struct schedule *s) {
  char text[8192];
  size_t size = schedule_print(s, text, sizeof text);
  assert(size < sizeof text);
  s->digest = digest_of(text, size);
}

bool schedule_is_sound(const struct schedule *s) {
  struct schedule sealed = *s;
  for (int c = 0; c < COST_COUNT; c++)
    if (s->gas[c] < classes[c].least || s->gas[c] > SCHEDULE_MAX_PRICE || s->latency[c] > SCHEDULE_MAX_PRICE ||
        (s->latency[c] && !cost_is_instruction(c)))
      return false;
  schedule_seal(&sealed);
  return s->version && digest_is(&sealed.digest, &s->digest);
}

static void seal_built_in(void) { schedule_seal(&built_in); }

const struct schedule *schedule_default(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, seal_built_in);
  return &built_in;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* A word of a line. */
struct word {
  const char *text;
  size_t size;
};

struct text {
  const char *at, *end;
  unsigned line;
  struct word name, number, second; /* of the current line */
  struct gw_error *err;
};

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static struct word next_word(const char **at, const char *end) {
  while (*at < end && is_blank(**at)) ++*at;
  struct word word = {*at, 0};
  while (*at < end && !is_blank(**at)) ++*at;
  word.size = (size_t)(*at - word.text);
  return word;
}

static int shown_size(struct word w) { return w.size < 40 ? (int)w.size : 40; }

/* The next line with something on it: a name and one number or two. False at the end, and for any other line, with the error set.
 */
static bool next_line(struct text *t) {
  while (t->at < t->end) {
    const char *at = t->at, *line_feed = memchr(at, '\n', (size_t)(t->end - at)), *end = line_feed ? line_feed : t->end;
    t->at = line_feed ? end + 1 : end;
    t->line++;
    const char *comment = memchr(at, '#', (size_t)(end - at));
    if (comment) end = comment;
    t->name = next_word(&at, end);
    t->number = next_word(&at, end);
    t->second = next_word(&at, end);
    if (next_word(&at, end).size || (t->name.size && !t->number.size))
      return error_set(t->err, GW_ERROR_USAGE, "schedule, line %u: not a name and one number or two", t->line);
    if (t->name.size) return true;
  }
  return false;
}

static bool word_is(struct word w, const char *s) { return w.size == strlen(s) && memcmp(w.text, s, w.size) == 0; }

/* Decimal digits, nothing else, from `least` to `most`. */
static bool read_number(struct text *t, struct word number, uint32_t least, uint32_t most, uint32_t *out) {
  uint64_t value = 0;
  for (size_t i = 0; i < number.size; i++) {
    char c = number.text[i];
    if (c < '0' || c > '9')
      return error_set(t->err, GW_ERROR_USAGE, "schedule, line %u: %.*s is no number", t->line, shown_size(number), number.text);
    if (value <= most) value = value * 10 + (uint64_t)(c - '0');
  }
  if (value < least || value > most)
    return error_set(t->err, GW_ERROR_USAGE, "schedule, line %u: %.*s must be from %u to %u", t->line, shown_size(t->name),
                     t->name.text, least, most);
  *out = (uint32_t)value;
  return true;
}

static bool read_price(struct text *t, struct schedule *out, bool *is_known) {
  int c = 0;
  while (c < COST_COUNT && !word_is(t->name, classes[c].name)) c++;
  if (c == COST_COUNT)
    return error_set(t->err, GW_ERROR_USAGE, "schedule, line %u: unknown class %.*s", t->line, shown_size(t->name), t->name.text);
  if (is_known[c])
    return error_set(t->err, GW_ERROR_USAGE, "schedule, line %u: %s stands here a second time", t->line, classes[c].name);
  is_known[c] = true;
  if (cost_is_instruction(c) != (t->second.size > 0))
    return error_set(t->err, GW_ERROR_USAGE, "schedule, line %u: %s takes %s", t->line, classes[c].name,
                     cost_is_instruction(c) ? "a price and a latency" : "a price and nothing else");
  out->latency[c] = 0;
  return read_number(t, t->number, classes[c].least, SCHEDULE_MAX_PRICE, &out->gas[c]) &&
         (!t->second.size || read_number(t, t->second, 0, SCHEDULE_MAX_PRICE, &out->latency[c]));
}

bool schedule_read(const void *bytes, size_t size, struct schedule *out, struct gw_error *err) {
  bool is_known[COST_COUNT] = {false};
  struct gw_error first = {0}; /* the caller's may hold an older one */
  struct text t = {.at = bytes, .end = (const char *)bytes + size, .err = &first};
  bool has_title = next_line(&t) && word_is(t.name, TITLE) && !t.second.size;
  if (!has_title)
    error_set(&first, GW_ERROR_USAGE, "schedule, line %u: the first line must be \"" TITLE " VERSION\"", t.line ? t.line : 1);
  if (has_title && read_number(&t, t.number, 1, UINT32_MAX, &out->version))
    while (next_line(&t) && read_price(&t, out, is_known)) {
    }
  for (int c = 0; c < COST_COUNT && first.code == GW_ERROR_NONE; c++)
    if (!is_known[c]) error_set(&first, GW_ERROR_USAGE, "schedule: no price for %s", classes[c].name);
  if (first.code != GW_ERROR_NONE) return error_set(err, first.code, "%s", first.message);
  schedule_seal(out);
  return true;
}
