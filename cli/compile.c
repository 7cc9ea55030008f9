/* gasworks compile: a module becomes an artifact, which runs without the compiler. What servers have compiled is another
 * process's work (cli/compile_child.c). */
#include "cli/cli.h"

#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "cli/gas.h"
#include "cli/key.h"
#include "cli/limits.h"
#include "cli/module.h"
#include "cli/profile.h"
#include "cli/progress.h"
#include "instrument/schedule.h"
#include "jit/artifact/artifact.h"
#include "jit/artifact/cache.h"
#include "jit/artifact/file_kind.h"
#include "runtime/compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct compile {
  const char *input, *output, *schedule_path, *cpu, *sign_path, *keep_path, *profile_path;
  uint32_t opt_level, threads, max_seconds;
  uint64_t max_memory;
  bool gas, exact, is_nice, wants_stats, wants_json;
  struct schedule schedule;
  struct gw_cache *cache; /* with keep_path */
  struct gw_engine *engine;
  struct gw_module *module;
  struct buffer artifact;
};

static bool set_limits(const struct compile *c, struct gw_error *err) {
  if (c->is_nice) cli_be_nice();
  return (!c->max_seconds || cli_limit_time(c->max_seconds, err)) && (!c->max_memory || cli_limit_memory(c->max_memory, err));
}

static bool make_engine(struct compile *c, struct gw_error *err) {
  struct gw_engine_options options = {.opt_level = c->opt_level,
                                      .gas = c->gas,
                                      .loose_traps = !c->exact,
                                      .threads = c->threads,
                                      .schedule = &c->schedule,
                                      .cache = c->cache};
  if (!cli_read_schedule(c->schedule_path, &c->schedule, err)) return false;
  cli_show_progress(&options);
  c->engine = gw_engine_create(&options, err);
  return c->engine != NULL;
}

static bool load(struct compile *c, struct gw_error *err) {
  struct buffer bytes = {0};
  if (cli_read_file(&bytes, c->input, err) && file_is_module(bytes.bytes, bytes.size, err))
    c->module = gw_module_create(c->engine, bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  if (!c->module && strcmp(c->input, "-") != 0) cli_name_file(err, c->input);
  return c->module != NULL;
}

static bool use_profile(struct compile *c, struct gw_error *err) {
  if (!c->profile_path) return true;
  uint64_t *heat = cli_read_profile(gw_module_decoded(c->module), c->profile_path, err);
  if (heat) module_set_heat(c->module, heat);
  return heat;
}

static bool make(struct compile *c, struct gw_error *err) {
  if (load(c, err) && use_profile(c, err)) c->artifact.bytes = gw_module_make_artifact(c->module, c->cpu, &c->artifact.size, err);
  c->artifact.capacity = c->artifact.size;
  return c->artifact.bytes != NULL;
}

static bool sign(struct compile *c, struct gw_error *err) {
  uint8_t secret[64];
  if (!c->sign_path) return true;
  if (!cli_read_secret_key(c->sign_path, secret, err)) return false;
  artifact_sign(&c->artifact, secret);
  memset(secret, 0, sizeof secret);
  return true;
}

static bool write_output(const struct compile *c, struct gw_error *err) {
  if (strcmp(c->output, "-") != 0) return file_write_named(c->output, c->artifact.bytes, c->artifact.size, 0666, err);
  bool ok = fwrite(c->artifact.bytes, 1, c->artifact.size, stdout) == c->artifact.size && fflush(stdout) == 0;
  return ok || error_set(err, GW_ERROR_IO, "cannot write the artifact to standard output");
}

static void show_stats(const struct compile *c) {
  struct gw_module_stats s;
  struct rusage used;
  gw_module_stats(c->module, &s);
  getrusage(RUSAGE_SELF, &used);
  const struct {
    const char *name;
    double seconds;
  } times[] = {{"decode", s.seconds_decode}, {"validate", s.seconds_validate}, {"lower", s.seconds_lower},
               {"charge", s.seconds_charge}, {"optimize", s.seconds_optimize}, {"emit", s.seconds_emit},
               {"link", s.seconds_link}};
  const struct module *m = gw_module_decoded(c->module);
  cJSON *json = cJSON_CreateObject(), *seconds = cJSON_CreateObject();
  cli_json_count(json, "module_bytes", m->size);
  cli_json_count(json, "code_section_bytes", m->code_size);
  cli_json_count(json, "artifact_bytes", c->artifact.size);
  cli_json_count(json, "peak_memory_bytes", (uint64_t)used.ru_maxrss * 1024);
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    if (!c->wants_json) fprintf(stderr, "%-12s %12.3f ms\n", times[i].name, times[i].seconds * 1e3);
    cJSON_AddNumberToObject(seconds, times[i].name, times[i].seconds);
  }
  cJSON_AddItemToObject(json, "cpu_seconds", seconds);
  if (c->wants_json) {
    cli_print_json(json, true);
    return;
  }
  cJSON_Delete(json);
  fprintf(stderr, "%-12s %12zu bytes\n%-12s %12zu bytes\n%-12s %12ld KiB\n", "module", m->size, "artifact", c->artifact.size,
          "peak memory", used.ru_maxrss);
}

/* FILE.gwa beside FILE.wasm. */
static char *default_output(const char *input) {
  size_t size = strlen(input), stem = size > 5 && strcmp(input + size - 5, ".wasm") == 0 ? size - 5 : size;
  char *path = heap_new(1, stem + sizeof ".gwa");
  snprintf(path, stem + sizeof ".gwa", "%.*s.gwa", (int)stem, input);
  return path;
}

/* What `run` leaves behind (cli/later.c): into the cache, unless another process is at it. */
static bool fill_cache(struct compile *c, struct gw_error *err) {
  c->cache = gw_cache_open(c->keep_path, 0, err);
  if (!c->cache) return false;
  return !cache_claim(c->cache) || (make_engine(c, err) && load(c, err) && gw_module_compile(c->module, err));
}

static bool write_artifact(struct compile *c, struct gw_error *err) {
  return make_engine(c, err) && make(c, err) && sign(c, err) && write_output(c, err);
}

static bool check(const struct compile *c, struct gw_error *err) {
  return !c->keep_path || !c->profile_path || error_set(err, GW_ERROR_USAGE, "--keep and --profile do not go together");
}

static int compile(struct compile *c) {
  struct gw_error err = {0};
  char *path = c->output ? NULL : default_output(c->input);
  if (path) c->output = strcmp(c->input, "-") == 0 ? "-" : path;
  bool ok = check(c, &err) && set_limits(c, &err) && (c->keep_path ? fill_cache(c, &err) : write_artifact(c, &err));
  if (ok && c->module && (c->wants_stats || c->wants_json)) show_stats(c);
  gw_module_release(c->module);
  gw_engine_destroy(c->engine);
  gw_cache_close(c->cache);
  buffer_clear(&c->artifact);
  free(path);
  return ok ? 0 : cli_fail(&err);
}

int cli_compile(int argc, char **argv) {
  struct compile c = {.opt_level = 2, .gas = true};
  const struct cli_option options[] = {
      {"output", 'o', CLI_TEXT, &c.output, "FILE", "the artifact; FILE.gwa beside FILE.wasm unless told, - is standard output"},
      {"optimize", 'O', CLI_LEVEL, &c.opt_level, "0..3", "optimisation level; 2 unless told"},
      {"gas", 0, CLI_ON_OFF, &c.gas, "on|off", "meter; on unless told"},
      {"exact-traps", 0, CLI_FLAG, &c.exact, NULL,
       "for embedders: memories are behind a trap as the specification says; slower code"},
      {"schedule", 0, CLI_TEXT, &c.schedule_path, "FILE",
       "prices, as `gasworks schedule --text` prints them; built in unless told"},
      {"cpu", 0, CLI_TEXT, &c.cpu, "NAME",
       "x86-64-v2, x86-64-v3 or x86-64-v4: for all machines of that level; this one unless told"},
      {"threads", 0, CLI_U32, &c.threads, "N", "one per core unless told; the artifact does not depend on it"},
      {"sign", 0, CLI_TEXT, &c.sign_path, "KEY", "sign with this key (`gasworks key`), for servers that trust it"},
      {"profile", 0, CLI_TEXT, &c.profile_path, "FILE",
       "from `run --folded` or `run --profile --json`: what used 99.9 % of the gas gets the level, the rest 0"},
      {"max-seconds", 0, CLI_U32, &c.max_seconds, "N", "CPU time after which compiling is ended; unlimited unless told"},
      {"max-memory", 0, CLI_SIZE, &c.max_memory, "BYTES",
       "address space that compiling may take (K M G allowed); unlimited unless told"},
      {"nice", 0, CLI_FLAG, &c.is_nice, NULL, "let everything else on the machine go first"},
      {"keep", 0, CLI_TEXT, &c.keep_path, "DIR",
       "put it into this cache instead, as `run` has it done; one at a time, others do nothing"},
      {"stats", 0, CLI_FLAG, &c.wants_stats, NULL, "CPU times, sizes and memory on standard error"},
      {"json", 0, CLI_FLAG, &c.wants_json, NULL, "the same as JSON"},
  };
  const struct cli_command command = {
      .name = "compile",
      .arguments = "FILE.wasm",
      .description =
          "Compiles a module ahead of time. `gasworks run FILE.gwa` runs the result, on machines with the same build of\n"
          "gasworks and the same kind of CPU, without the compiler. FILE - is standard input.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  c.input = argv[0];
  return compile(&c);
}
