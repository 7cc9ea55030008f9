/* Decoder and validator against the official suite's data, and the facts that validation fills in. */
#include "frontend/module.h"
#include "frontend/feature.h"
#include "base/buffer.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifndef SPEC_DIR
#define SPEC_DIR SOURCE_DIR "/../shared/spec"
#endif

/* --- the official suite ------------------------------------------------------------------------------------------- */

struct tally {
  unsigned n_scripts;
  unsigned n_valid, n_malformed, n_invalid, n_failed; /* checked, and wrong among them */
  unsigned n_same_words;                              /* rejections whose message starts as the suite's does */
  unsigned n_unsupported;                             /* rejections because of a feature that is off */
};

static cJSON *load_json(const char *path) {
  struct buffer b = {0};
  struct gw_error err = {0};
  if (!buffer_read_file(&b, path, 64 << 20, &err)) return NULL;
  cJSON *json = cJSON_ParseWithLength((const char *)b.bytes, b.size);
  buffer_clear(&b);
  return json;
}

static const char *string(const cJSON *object, const char *key) {
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
  return s ? s : "";
}

static bool load_module(const char *path, struct gw_error *err) {
  struct buffer b = {0};
  struct gw_error io = {0};
  if (!buffer_read_file(&b, path, 64 << 20, &io)) fail_msg("%s: %s", path, io.message);
  struct module m;
  bool ok = module_decode(&m, b.bytes, b.size, err) && module_validate(&m, err);
  module_clear(&m); /* after a failed decode there is nothing left, which is fine to clear */
  buffer_clear(&b);
  return ok;
}

static bool is_feature_on(const char *name) {
  for (int f = 0; f < FEATURE_COUNT; f++)
    if (!strcmp(feature_name(f), name)) return feature_is_on(f);
  return false;
}

static void check_rejection(struct tally *t, const cJSON *command, const char *path, bool is_malformed) {
  struct gw_error err = {0};
  const char *words = string(command, "text");
  *(is_malformed ? &t->n_malformed : &t->n_invalid) += 1;
  if (load_module(path, &err)) {
    printf("%s:%s accepted, but: %s\n", path, is_malformed ? "malformed" : "invalid", words);
    t->n_failed++;
    return;
  }
  bool is_same = !strncmp(err.message, words, strlen(words));
  bool is_right = err.code == GW_ERROR_UNSUPPORTED || err.code == GW_ERROR_LIMIT ||
                  err.code == (is_malformed ? GW_ERROR_MALFORMED : GW_ERROR_INVALID);
  t->n_same_words += is_same;
  t->n_unsupported += err.code == GW_ERROR_UNSUPPORTED;
  if (!is_right || (getenv("GASWORKS_TEST_WORDS") && !is_same))
    printf("%s: expected \"%s\", got %s: \"%s\"\n", path, words, gw_error_title(err.code), err.message);
}

static void check_command(struct tally *t, const cJSON *command, const char *folder) {
  const char *type = string(command, "type"), *file = string(command, "filename");
  if (!*file) return;
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  if (!strcmp(type, "assert_malformed") || !strcmp(type, "assert_invalid")) {
    check_rejection(t, command, path, !strcmp(type, "assert_malformed"));
    return;
  }
  struct gw_error err = {0};
  t->n_valid++;
  if (load_module(path, &err)) return;
  t->n_failed++;
  printf("%s: %s: %s\n", path, gw_error_title(err.code), err.message);
}

/* Whether the script needs only features that are on. */
static bool is_script_on(const cJSON *script) {
  const cJSON *feature;
  cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(script, "features")) {
    if (!is_feature_on(feature->valuestring)) return false;
  }
  return true;
}

/* Runs `check` on the commands of the scripts that are on (or off) and counts them; false without the suite. */
static bool walk_suite(bool are_on, bool core_only, void (*check)(struct tally *, const cJSON *, const char *), struct tally *t) {
  cJSON *manifest = load_json(SPEC_DIR "/manifest.json");
  if (!manifest) {
    printf("SKIPPED: the official suite is not at " SPEC_DIR "\n");
    return false;
  }
  const cJSON *script, *command;
  cJSON_ArrayForEach(script, manifest) {
    if (is_script_on(script) != are_on || (core_only && strcmp(string(script, "group"), "core"))) continue;
    char path[512], folder[512];
    snprintf(path, sizeof path, SPEC_DIR "/%s", string(script, "json"));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    cJSON *json = load_json(path);
    assert_non_null(json);
    t->n_scripts++;
    cJSON_ArrayForEach(command, cJSON_GetObjectItemCaseSensitive(json, "commands")) check(t, command, folder);
    cJSON_Delete(json);
  }
  cJSON_Delete(manifest);
  return true;
}

static void test_suite(void **state) {
  (void)state;
  struct tally t = {0};
  if (!walk_suite(true, true, check_command, &t)) skip();
  printf("suite: %u scripts, %u valid, %u malformed, %u invalid modules; %u wrong; %u refused for a feature; "
         "%.1f %% of the rejections in the suite's words\n",
         t.n_scripts, t.n_valid, t.n_malformed, t.n_invalid, t.n_failed, t.n_unsupported,
         100.0 * t.n_same_words / (t.n_malformed + t.n_invalid));
  assert_true(t.n_scripts > 50);
  assert_int_equal(t.n_failed, 0);
  assert_true(t.n_same_words * 100 >= (t.n_malformed + t.n_invalid) * 98);
}

/* Modules that need a feature that is off: refused by its name, and never called malformed or invalid. */
static void check_off(struct tally *t, const cJSON *command, const char *folder) {
  const char *type = string(command, "type"), *file = string(command, "filename");
  if (!*file) return;
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  struct gw_error err = {0};
  bool ok = load_module(path, &err);
  t->n_unsupported += err.code == GW_ERROR_UNSUPPORTED;
  if (!strcmp(type, "assert_malformed") || !strcmp(type, "assert_invalid")) {
    /* Rules of group threads that WebAssembly 3.0 dropped are refused as multi-memory, or accepted for tables. */
    if (ok && !strstr(path, "/threads/")) printf("%s: accepted, but: %s\n", path, string(command, "text"));
    t->n_failed += ok && !strstr(path, "/threads/");
    t->n_invalid++;
    return;
  }
  t->n_valid++;
  if (ok || (err.code == GW_ERROR_UNSUPPORTED && !strncmp(err.message, "unsupported feature: ", 21))) return;
  t->n_failed++;
  printf("%s: %s: %s\n", path, gw_error_title(err.code), err.message);
}

static void test_features_off(void **state) {
  (void)state;
  struct tally t = {0};
  if (!walk_suite(false, false, check_off, &t)) skip();
  printf("suite: %u scripts with features that are off: %u valid and %u other modules, %u refused for the feature, %u wrong\n",
         t.n_scripts, t.n_valid, t.n_invalid, t.n_unsupported, t.n_failed);
  assert_int_equal(t.n_failed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_suite), cmocka_unit_test(test_features_off)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
