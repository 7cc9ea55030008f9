/* Runner of the official test suite (../shared/spec/README.md has the schema): what its files share. */
#ifndef TESTS_SPEC_H
#define TESTS_SPEC_H

#include "base/arena.h"
#include "gasworks.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Commands of one script, or of one feature. Lives in memory shared with the child that runs the script. */
struct tally {
  unsigned passed, failed, skipped;
  unsigned rejections;     /* modules rejected as they should be ... */
  unsigned worded_alike;   /* ... with a message that starts with the suite's words */
  unsigned rejected_early; /* ... as malformed, but with the code of an unsupported feature or a limit */
  unsigned line;           /* of the command under way, for reports of crashes */
};

struct spec_settings {
  struct gw_engine_options engine;
  enum gw_tier tier;
  const char *suite; /* directory */
  FILE *report;      /* where failures go */
  bool is_verbose;
};

/* A name as the suite means it: UTF-8 bytes that may hold NUL. */
struct spec_name {
  const char *bytes;
  size_t size;
};

/* --- spec_json.c --- */

/* Reads a file of the suite. cJSON ends strings at a NUL, so \u0000 becomes byte 0xff (never part of UTF-8) here, and
 * spec_name_get turns it back. NULL with a message on stderr when unreadable. */
cJSON *spec_json_read(const char *path);
/* The string `key` of `object`, or size 0 and NULL bytes when absent; lives in the arena. */
struct spec_name spec_name_get(const cJSON *object, const char *key, struct arena *arena);
bool spec_name_equals(struct spec_name a, struct spec_name b);

/* --- spec_value.c --- */

/* An argument. False: not a value this runner can make. */
bool spec_value_read(const cJSON *json, union gw_value *out);
/* Whether `got` is one of the values that the pattern stands for. */
bool spec_value_matches(const cJSON *pattern, const union gw_value *got);
/* For messages. */
void spec_value_print(const cJSON *pattern, const union gw_value *got, char *out, size_t size);

/* --- spec_host.c --- */

/* The host module `spectest`, one per script. */
struct spectest {
  struct gw_memory *memory;
  struct gw_table *table, *table64;
  struct gw_global *globals[4];
};

bool spectest_init(struct spectest *t, struct gw_store *store, struct gw_error *err);
bool spectest_resolve(const struct spectest *t, const struct gw_import *import, struct gw_extern *out);

/* --- spec_run.c --- */

/* Runs one script on an engine of its own. `label` is "group/name". False: the script could not be run at all. */
bool spec_run_script(const struct spec_settings *settings, const char *label, const char *json_path, struct tally *tally);

#endif
