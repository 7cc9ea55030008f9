/* Runs one script: a table of command types, each with a function that passes or says why not. */
#include "tests/spec.h"

#include "base/buffer.h"
#include "tests/mixed.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MODULE = 64 << 20, MAX_VALUES = 2048 };

/* Something the script gave a name to; the newest one is first in its list. */
struct binding {
  struct binding *next;
  struct spec_name name;
  struct gw_module *module;
  struct gw_instance *instance;
};

struct run {
  const struct spec_settings *settings;
  const char *label, *directory;
  struct tally *tally;
  struct arena arena;
  struct gw_engine *engine;
  struct gw_store *store;
  struct spectest spectest;
  struct binding *definitions, *instances, *registry;
  struct gw_instance *current;
  union gw_value values[MAX_VALUES];
  uint64_t random;   /* of the mixed tier */
  char reason[1024]; /* why the command under way failed */
};

enum verdict { PASSED, FAILED, SKIPPED };
typedef enum verdict (*command_fn)(struct run *run, const cJSON *command);

static enum verdict fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum verdict fail(struct run *run, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(run->reason, sizeof run->reason, format, args);
  va_end(args);
  return FAILED;
}

static const char *string_of(const cJSON *json, const char *key) {
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
  return s ? s : "";
}

static bool starts_with(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

static struct binding *find(struct binding *list, struct spec_name name) {
  while (list && !spec_name_equals(list->name, name)) list = list->next;
  return list;
}

static struct binding *bind(struct run *run, struct binding **list, struct spec_name name) {
  struct binding *b = arena_alloc(&run->arena, sizeof *b);
  *b = (struct binding){.next = *list, .name = name};
  *list = b;
  return b;
}

/* --- modules ----------------------------------------------------------------------------------------------------- */

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct run *run = env;
  struct spec_name module = {import->module, import->module_size};
  const struct binding *b = find(run->registry, module);
  if (b) return b->instance && gw_instance_export(b->instance, import->field, import->field_size, out);
  if (!spec_name_equals(module, (struct spec_name){"spectest", 8})) return false;
  return spectest_resolve(&run->spectest, import, out);
}

/* The module of a command. NULL: rejected, or unreadable (GW_ERROR_IO). */
static struct gw_module *load(struct run *run, const cJSON *command, struct gw_error *err) {
  struct buffer bytes = {0};
  const char *path = arena_format(&run->arena, "%s/%s", run->directory, string_of(command, "filename"));
  if (!buffer_read_file(&bytes, path, MAX_MODULE, err)) return NULL;
  struct gw_module *module = gw_module_create(run->engine, bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  return module;
}

static struct gw_instance *instantiate(struct run *run, struct gw_module *module, struct gw_error *err) {
  if (run->settings->tier == GW_TIER_MIXED) mixed_compile(module, &run->random);
  return gw_instance_create(run->store, module, resolve, run, err);
}

/* Takes over the reference. */
static void define(struct run *run, const cJSON *command, struct gw_module *module) {
  bind(run, &run->definitions, spec_name_get(command, "name", &run->arena))->module = module;
}

static enum verdict make_current(struct run *run, struct spec_name name, struct gw_module *module) {
  struct gw_error err = {0};
  run->current = instantiate(run, module, &err);
  bind(run, &run->instances, name)->instance = run->current;
  return run->current ? PASSED : fail(run, "instantiation failed: %s", err.message);
}

static enum verdict do_module(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  struct gw_module *module = load(run, command, &err);
  run->current = NULL;
  if (!module) return fail(run, "module was rejected: %s", err.message);
  define(run, command, module);
  return make_current(run, spec_name_get(command, "name", &run->arena), module);
}

static enum verdict do_module_definition(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  struct gw_module *module = load(run, command, &err);
  if (!module) return fail(run, "module was rejected: %s", err.message);
  define(run, command, module);
  return PASSED;
}

static enum verdict do_module_instance(struct run *run, const cJSON *command) {
  struct spec_name name = spec_name_get(command, "module", &run->arena);
  const struct binding *b = name.bytes ? find(run->definitions, name) : run->definitions;
  run->current = NULL;
  if (!b) return fail(run, "no such definition");
  return make_current(run, spec_name_get(command, "instance", &run->arena), b->module);
}

static struct gw_instance *find_instance(struct run *run, const cJSON *json, const char *key) {
  struct spec_name name = spec_name_get(json, key, &run->arena);
  if (!name.bytes) return run->current;
  const struct binding *b = find(run->instances, name);
  return b ? b->instance : NULL;
}

static enum verdict do_register(struct run *run, const cJSON *command) {
  struct gw_instance *instance = find_instance(run, command, "name");
  if (!instance) return fail(run, "no such instance");
  bind(run, &run->registry, spec_name_get(command, "as", &run->arena))->instance = instance;
  return PASSED;
}

/* --- modules that must be rejected -------------------------------------------------------------------------------- */

static enum verdict expect_rejection(struct run *run, const cJSON *command, const enum gw_error_code *codes) {
  struct gw_error err = {0};
  struct gw_module *module = load(run, command, &err);
  const char *text = string_of(command, "text");
  if (module) {
    gw_module_release(module);
    return fail(run, "module was accepted; expected \"%s\"", text);
  }
  for (int i = 0; codes[i] != GW_ERROR_NONE; i++) {
    if (err.code != codes[i]) continue;
    run->tally->rejections++;
    run->tally->rejected_early += err.code == GW_ERROR_UNSUPPORTED || err.code == GW_ERROR_LIMIT;
    run->tally->worded_alike += starts_with(err.message, text);
    if (run->settings->is_verbose && !starts_with(err.message, text)) {
      fprintf(run->settings->report, "%s:%u: note: \"%s\", the suite says \"%s\"\n", run->label, run->tally->line, err.message,
              text);
    }
    return PASSED;
  }
  return fail(run, "rejected as \"%s\" (%s); expected \"%s\"", gw_error_title(err.code), err.message, text);
}

static enum verdict do_assert_malformed(struct run *run, const cJSON *command) {
  static const enum gw_error_code codes[] = {GW_ERROR_MALFORMED, GW_ERROR_UNSUPPORTED, GW_ERROR_LIMIT, GW_ERROR_NONE};
  if (strcmp(string_of(command, "module_type"), "text") == 0) return SKIPPED;
  return expect_rejection(run, command, codes);
}

static enum verdict do_assert_invalid(struct run *run, const cJSON *command) {
  static const enum gw_error_code codes[] = {GW_ERROR_INVALID, GW_ERROR_MALFORMED, GW_ERROR_UNSUPPORTED, GW_ERROR_LIMIT,
                                             GW_ERROR_NONE};
  return expect_rejection(run, command, codes);
}

/* A valid module whose instantiation must fail. */
static enum verdict expect_no_instance(struct run *run, const cJSON *command, enum gw_error_code code) {
  struct gw_error err = {0};
  struct gw_module *module = load(run, command, &err);
  if (!module) return fail(run, "module was rejected: %s", err.message);
  /* Kept until the end: what a failed instantiation put into shared tables stays callable. */
  define(run, command, module);
  const char *text = string_of(command, "text");
  if (instantiate(run, module, &err)) return fail(run, "instantiation succeeded; expected \"%s\"", text);
  if (err.code != code) {
    return fail(run, "instantiation failed as \"%s\" (%s); expected \"%s\"", gw_error_title(err.code), err.message, text);
  }
  return PASSED;
}

static enum verdict do_assert_unlinkable(struct run *run, const cJSON *command) {
  return expect_no_instance(run, command, GW_ERROR_LINK);
}

static enum verdict do_assert_uninstantiable(struct run *run, const cJSON *command) {
  return expect_no_instance(run, command, GW_ERROR_TRAP);
}

/* --- actions ------------------------------------------------------------------------------------------------------ */

/* What became of an action. */
enum outcome { OUTCOME_VALUES, OUTCOME_ERROR, OUTCOME_IMPOSSIBLE };

static bool read_arguments(struct run *run, const cJSON *action) {
  const cJSON *arg;
  size_t n = 0;
  cJSON_ArrayForEach(arg, cJSON_GetObjectItemCaseSensitive(action, "args")) {
    if (n == MAX_VALUES || !spec_value_read(arg, &run->values[n++])) return false;
  }
  return true;
}

/* Results go to run->values. OUTCOME_IMPOSSIBLE: the reason is set. */
static enum outcome perform(struct run *run, const cJSON *command, struct gw_error *err) {
  const cJSON *action = cJSON_GetObjectItemCaseSensitive(command, "action");
  struct gw_instance *instance = find_instance(run, action, "module");
  struct spec_name field = spec_name_get(action, "field", &run->arena);
  struct gw_extern export;
  if (!instance || !gw_instance_export(instance, field.bytes, field.size, &export)) {
    fail(run, "no %s \"%s\"", instance ? "export" : "instance for", field.bytes ? field.bytes : "");
    return OUTCOME_IMPOSSIBLE;
  }
  bool is_get = strcmp(string_of(action, "type"), "get") == 0;
  if (export.kind != (is_get ? GW_EXTERN_GLOBAL : GW_EXTERN_FUNC) || !read_arguments(run, action)) {
    fail(run, "\"%s\" has the wrong kind, or an argument cannot be made", field.bytes);
    return OUTCOME_IMPOSSIBLE;
  }
  if (is_get) {
    run->values[0] = gw_global_get(export.of.global);
    return OUTCOME_VALUES;
  }
  return gw_call(run->store, export.of.func, run->values, err) ? OUTCOME_VALUES : OUTCOME_ERROR;
}

static enum verdict do_action(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  enum outcome outcome = perform(run, command, &err);
  return outcome == OUTCOME_ERROR ? fail(run, "failed: %s", err.message) : outcome == OUTCOME_VALUES ? PASSED : FAILED;
}

static enum verdict do_assert_return(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  enum outcome outcome = perform(run, command, &err);
  if (outcome == OUTCOME_ERROR) return fail(run, "failed: %s", err.message);
  if (outcome == OUTCOME_IMPOSSIBLE) return FAILED;
  const cJSON *pattern;
  unsigned n = 0;
  cJSON_ArrayForEach(pattern, cJSON_GetObjectItemCaseSensitive(command, "expected")) {
    if (n == MAX_VALUES) return fail(run, "too many results");
    if (!spec_value_matches(pattern, &run->values[n])) {
      char text[512];
      spec_value_print(pattern, &run->values[n], text, sizeof text);
      return fail(run, "result %u: %s", n, text);
    }
    n++;
  }
  return PASSED;
}

/* The suite's text may say more than the trap's message ("uninitialized element 2"), or less. */
static bool trap_is(const struct gw_error *err, const char *text) {
  const char *message = gw_trap_message(err->trap);
  return starts_with(message, text) || starts_with(text, message);
}

static enum verdict do_assert_trap(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  enum outcome outcome = perform(run, command, &err);
  const char *text = string_of(command, "text");
  if (outcome == OUTCOME_IMPOSSIBLE) return FAILED;
  if (outcome == OUTCOME_VALUES) return fail(run, "returned; expected trap \"%s\"", text);
  if (err.code != GW_ERROR_TRAP || !trap_is(&err, text)) {
    return fail(run, "failed as \"%s\"; expected trap \"%s\"", err.message, text);
  }
  return PASSED;
}

static enum verdict do_assert_exhaustion(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  enum outcome outcome = perform(run, command, &err);
  if (outcome == OUTCOME_IMPOSSIBLE) return FAILED;
  if (outcome == OUTCOME_VALUES) return fail(run, "returned; expected stack exhaustion");
  if (err.code == GW_ERROR_TRAP && err.trap == GW_TRAP_STACK_OVERFLOW) return PASSED;
  return fail(run, "failed as \"%s\"; expected stack exhaustion", err.message);
}

static enum verdict do_assert_exception(struct run *run, const cJSON *command) {
  struct gw_error err = {0};
  enum outcome outcome = perform(run, command, &err);
  if (outcome == OUTCOME_IMPOSSIBLE) return FAILED;
  if (outcome == OUTCOME_VALUES) return fail(run, "returned; expected an uncaught exception");
  if (err.code == GW_ERROR_TRAP && strstr(err.message, "exception")) return PASSED;
  return fail(run, "failed as \"%s\"; expected an uncaught exception", err.message);
}

/* --- the script --------------------------------------------------------------------------------------------------- */

static const struct {
  const char *type;
  command_fn fn;
} commands[] = {
    {"module", do_module},
    {"module_definition", do_module_definition},
    {"module_instance", do_module_instance},
    {"register", do_register},
    {"action", do_action},
    {"assert_return", do_assert_return},
    {"assert_trap", do_assert_trap},
    {"assert_exhaustion", do_assert_exhaustion},
    {"assert_exception", do_assert_exception},
    {"assert_malformed", do_assert_malformed},
    {"assert_invalid", do_assert_invalid},
    {"assert_unlinkable", do_assert_unlinkable},
    {"assert_uninstantiable", do_assert_uninstantiable},
};

static enum verdict run_command(struct run *run, const cJSON *command) {
  const char *type = string_of(command, "type");
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    if (strcmp(type, commands[i].type) == 0) return commands[i].fn(run, command);
  }
  return fail(run, "unknown command");
}

static void count(struct run *run, const cJSON *command, enum verdict verdict) {
  struct tally *t = run->tally;
  *(verdict == PASSED ? &t->passed : verdict == FAILED ? &t->failed : &t->skipped) += 1;
  if (verdict != FAILED) return;
  const cJSON *action = cJSON_GetObjectItemCaseSensitive(command, "action");
  fprintf(run->settings->report, "%s:%u: %s %s: %s\n", run->label, t->line, string_of(command, "type"),
          action ? string_of(action, "field") : string_of(command, "filename"), run->reason);
  fflush(run->settings->report);
}

static void run_commands(struct run *run, const cJSON *script) {
  const cJSON *command;
  cJSON_ArrayForEach(command, cJSON_GetObjectItemCaseSensitive(script, "commands")) {
    run->tally->line = (unsigned)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(command, "line"));
    count(run, command, run_command(run, command));
  }
}

static void run_clear(struct run *run) {
  gw_store_destroy(run->store);
  for (struct binding *b = run->definitions; b; b = b->next) gw_module_release(b->module);
  gw_engine_destroy(run->engine);
  arena_clear(&run->arena);
}

bool spec_run_script(const struct spec_settings *settings, const char *label, const char *json_path, struct tally *tally) {
  bool ok = false;
  struct gw_error err = {0};
  struct run *run = calloc(1, sizeof *run);
  cJSON *script = spec_json_read(json_path);
  if (!run || !script) goto out;
  *run = (struct run){.settings = settings, .label = label, .tally = tally};
  arena_init(&run->arena);
  run->directory = arena_format(&run->arena, "%.*s", (int)(strrchr(json_path, '/') - json_path), json_path);
  run->engine = gw_engine_create(&settings->engine, &err);
  if (run->engine) run->store = gw_store_create(run->engine, &(struct gw_store_options){.tier = settings->tier}, &err);
  ok = run->store && spectest_init(&run->spectest, run->store, &err);
  if (ok)
    run_commands(run, script);
  else
    fprintf(settings->report, "%s: %s\n", label, err.message);
  run_clear(run);
out:
  cJSON_Delete(script);
  free(run);
  return ok;
}
