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
  if (ok || err->code == GW_ERROR_INVALID)
    module_clear(&m);
  else
    module_clear(&m);
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

static bool is_script_on(const cJSON *script) {
  const cJSON *feature;
  cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(script, "features")) {
    if (!is_feature_on(feature->valuestring)) return false;
  }
  return !strcmp(string(script, "group"), "core");
}

static void check_script(struct tally *t, const cJSON *script) {
  char path[512], folder[512];
  snprintf(path, sizeof path, SPEC_DIR "/%s", string(script, "json"));
  snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
  cJSON *json = load_json(path);
  assert_non_null(json);
  const cJSON *command;
  cJSON_ArrayForEach(command, cJSON_GetObjectItemCaseSensitive(json, "commands")) check_command(t, command, folder);
  cJSON_Delete(json);
}

static void test_suite(void **state) {
  (void)state;
  cJSON *manifest = load_json(SPEC_DIR "/manifest.json");
  if (!manifest) {
    printf("SKIPPED: the official suite is not at " SPEC_DIR "\n");
    skip();
  }
  struct tally on = {0};
  unsigned n_on = 0;
  const cJSON *script;
  cJSON_ArrayForEach(script, manifest) {
    if (!is_script_on(script)) continue;
    n_on++;
    check_script(&on, script);
  }
  cJSON_Delete(manifest);
  unsigned n_rejected = on.n_malformed + on.n_invalid;
  printf("suite: %u scripts, %u valid, %u malformed, %u invalid modules; %u wrong; %u refused for a feature; "
         "%.1f %% of the rejections in the suite's words\n",
         n_on, on.n_valid, on.n_malformed, on.n_invalid, on.n_failed, on.n_unsupported,
         100.0 * on.n_same_words / (n_rejected ? n_rejected : 1));
  assert_true(n_on > 50);
  assert_int_equal(on.n_failed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_suite)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
