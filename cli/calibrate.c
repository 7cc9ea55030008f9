/* gasworks calibrate: measures whole programs and fits the prices to their time.
 *
 * Time is that of code without metering, on the processor, the median of rounds that go over all programs in turn. Counts come
 * from one run of profiling code, which adds up what its gas blocks are made of: they are exact. */
#include "base/heap.h"
#include "cli/cli.h"

#include "base/clock.h"
#include "base/error.h"
#include "cli/gas.h"
#include "instrument/blocks.h"
#include "instrument/fit.h"
#include "jit/artifact/file_kind.h"
#include "runtime/debug/profile.h"
#include "runtime/host/wasi/wasi.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A gas block, and how often a run entered it. */
struct entered {
  struct gas_block_info block;
  uint64_t count;
};

struct program {
  const char *path;
  struct gw_module *module; /* without metering */
  double *seconds;          /* [rounds] */
  struct entered *entered;  /* by function and offset */
  uint32_t n_entered;
  double gas;          /* of the run, by the base's prices */
  double work_by_size; /* that part of it that is not of blocks */
};

struct calibration {
  uint32_t rounds;
  bool is_json;
  const char *schedule_path, *output_path;
  struct schedule base, fitted;
  double exact[COST_COUNT];
  struct gw_engine *plain, *profiling;
  struct program *programs;
  struct fit_sample *samples;
  double *left_out;     /* ratio of each program under prices that were fitted to the others */
  double *ratio_before; /* under the base's */
  struct fit_spread before;
  size_t n;
};

/* --- running a program -------------------------------------------------------------------------------------------- */

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) { return wasi_resolve(env, import, out); }

/* Calls _start, or run, once on a fresh instance. */
static bool call(struct gw_instance *instance, struct gw_error *err) {
  struct gw_extern found;
  union gw_value results[8];
  const char *name = gw_instance_export(instance, "_start", 6, &found) ? "_start" : "run";
  const struct module *m = gw_module_decoded(gw_instance_module(instance));
  const struct export *e = module_find_export(m, name, strlen(name));
  if (!e || e->kind != EXTERN_FUNC) return error_set(err, GW_ERROR_INTERFACE, "the module exports neither _start nor run");
  const struct func_type *type = &m->types[m->funcs[e->index].type].func;
  if (type->n_params || type->n_results > 8) return error_set(err, GW_ERROR_INTERFACE, "%s takes parameters", name);
  return gw_call_export(instance, name, results, type->n_results, err) ||
         (err->code == GW_ERROR_TRAP && err->trap == GW_TRAP_EXIT);
}

static int compare_entered(const void *a, const void *b) {
  const struct gas_block_info *x = &((const struct entered *)a)->block, *y = &((const struct entered *)b)->block;
  if (x->func != y->func) return x->func < y->func ? -1 : 1;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void keep_counts(struct program *program, const struct gw_instance *instance) {
  const uint64_t *counts;
  const struct gas_blocks *blocks = profile_blocks(instance, &counts);
  program->entered = heap_new((size_t)blocks->n + 1, sizeof *program->entered);
  for (uint32_t i = 0; i < blocks->n; i++)
    if (counts[i] && blocks->items[i].offset)
      program->entered[program->n_entered++] = (struct entered){blocks->items[i], counts[i]};
  qsort(program->entered, program->n_entered, sizeof *program->entered, compare_entered);
}

/* One run; what it took, and what it was made of where `program` is to know. */
static bool run(struct gw_engine *engine, struct gw_module *module, double *seconds, struct program *program,
                struct gw_error *err) {
  static const char *const none[] = {NULL}, *const arguments[] = {"program", NULL};
  struct wasi_options options = {.args = arguments, .env = none, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
  struct wasi *wasi = wasi_create(&options, err);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, err);
  struct gw_instance *instance = wasi && store ? gw_instance_create(store, module, resolve, wasi, err) : NULL;
  double start = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
  bool ok = instance && call(instance, err);
  if (seconds) *seconds = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
  if (ok && program) {
    keep_counts(program, instance);
    program->gas = (double)gw_store_gas_used(store);
  }
  gw_store_destroy(store);
  wasi_destroy(wasi);
  return ok;
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

static void show_progress(const struct calibration *k, const char *what, size_t i) {
  if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K%s: %s", what, i < k->n ? k->programs[i].path : "done\n");
}

static struct gw_module *load(struct gw_engine *engine, const char *path, struct gw_error *err) {
  struct buffer bytes = {0};
  struct gw_module *module = NULL;
  if (cli_read_file(&bytes, path, err) && file_is_module(bytes.bytes, bytes.size, err))
    module = gw_module_create(engine, bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  if (module && gw_module_compile(module, err)) return module;
  gw_module_release(module);
  return NULL;
}

static bool count(struct calibration *k, size_t i, struct gw_error *err) {
  struct gw_module *module = load(k->profiling, k->programs[i].path, err);
  bool ok = module && run(k->profiling, module, NULL, &k->programs[i], err);
  gw_module_release(module);
  return ok;
}

static bool prepare(struct calibration *k, char **paths, struct gw_error *err) {
  struct gw_engine_options plain = {.opt_level = 2, .loose_traps = true};
  struct gw_engine_options profiling = {.opt_level = 2, .loose_traps = true, .gas = true, .profile = true, .schedule = &k->base};
  k->plain = gw_engine_create(&plain, err);
  k->profiling = k->plain ? gw_engine_create(&profiling, err) : NULL;
  if (!k->profiling) return false;
  for (size_t i = 0; i < k->n; i++) {
    k->programs[i].path = paths[i];
    k->programs[i].seconds = heap_new(k->rounds, sizeof(double));
    show_progress(k, "counting", i);
    struct gw_error inner = {0};
    k->programs[i].module = load(k->plain, paths[i], &inner);
    if (!k->programs[i].module || !count(k, i, &inner)) return error_set(err, inner.code, "%s: %s", paths[i], inner.message);
  }
  return true;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static bool measure(struct calibration *k, struct gw_error *err) {
  for (uint32_t round = 0; round < k->rounds; round++)
    for (size_t i = 0; i < k->n; i++) {
      show_progress(k, "measuring", i);
      if (!run(k->plain, k->programs[i].module, &k->programs[i].seconds[round], NULL, err)) return false;
    }
  show_progress(k, "measuring", k->n);
  for (size_t i = 0; i < k->n; i++) {
    double *seconds = k->programs[i].seconds;
    qsort(seconds, k->rounds, sizeof *seconds, compare_doubles);
    k->samples[i].seconds = (seconds[(k->rounds - 1) / 2] + seconds[k->rounds / 2]) / 2;
    if (k->samples[i].seconds <= 0) return error_set(err, GW_ERROR_USAGE, "%s takes no time", k->programs[i].path);
  }
  return true;
}

/* --- weighing ----------------------------------------------------------------------------------------------------- */

/* What a block's gas depends on, by these prices: its instructions where their sum is more than what waits. */
static void weigh_block(const struct entered *e, const struct block_price *price, const struct schedule *s,
                        struct fit_sample *out) {
  uint64_t moved = (uint64_t)price->moves * s->gas[COST_MOVE];
  out->instructions[COST_MOVE] += e->count * price->moves;
  if (price->gas - moved > price->sum) {
    out->other_gas += (double)(e->count * (price->gas - moved));
    return;
  }
  for (int c = 0; c < COST_COUNT; c++) out->instructions[c] += e->count * e->block.instructions[c];
}

/* Gas of all blocks by these prices, and what it depends on. */
static double weigh(const struct program *program, const struct schedule *s, struct fit_sample *out) {
  struct price_rates rates = schedule_rates(s);
  struct block_prices prices = {0};
  double gas = 0;
  for (uint32_t i = 0; i < program->n_entered; i++) {
    const struct gas_block_info *block = &program->entered[i].block;
    if (i == 0 || block->func != program->entered[i - 1].block.func) {
      prices_clear(&prices);
      price_blocks(gw_module_decoded(program->module), block->func, &rates, NULL, &prices);
    }
    gas += (double)program->entered[i].count * (double)price_at(&prices, block->offset);
    weigh_block(&program->entered[i], &prices.items[prices.next], s, out);
  }
  prices_clear(&prices);
  return gas;
}

static void weigh_all(struct calibration *k, const struct schedule *s) {
  for (size_t i = 0; i < k->n; i++) {
    double seconds = k->samples[i].seconds;
    k->samples[i] = (struct fit_sample){.seconds = seconds, .other_gas = k->programs[i].work_by_size};
    weigh(&k->programs[i], s, &k->samples[i]);
  }
}

/* --- fitting ------------------------------------------------------------------------------------------------------ */

/* Which blocks wait depends on prices, and prices on what waits: some rounds of both. */
enum { FIT_ROUNDS = 5 };

static void fit_all(struct calibration *k) {
  k->fitted = k->base;
  k->fitted.version = k->base.version + 1;
  for (int i = 0; i < FIT_ROUNDS; i++) {
    weigh_all(k, &k->fitted);
    fit_prices(k->samples, k->n, k->base.gas, k->exact, k->fitted.gas);
  }
  schedule_seal(&k->fitted);
  weigh_all(k, &k->fitted);
}

/* The prices, and for each program what prices would say that do not know it. */
static void fit(struct calibration *k) {
  for (size_t i = 0; i < k->n; i++) {
    struct fit_sample blocks = {0};
    k->programs[i].work_by_size = k->programs[i].gas - weigh(&k->programs[i], &k->base, &blocks);
  }
  weigh_all(k, &k->base);
  k->before = fit_spread(k->samples, k->n, k->base.gas);
  for (size_t i = 0; i < k->n; i++) k->ratio_before[i] = fit_ratio(&k->samples[i], k->base.gas);
  fit_all(k);
  struct fit_sample *others = heap_new(k->n, sizeof *others);
  double exact[COST_COUNT];
  uint32_t rounded[COST_COUNT];
  for (size_t i = 0; i < k->n; i++) {
    size_t n = 0;
    for (size_t p = 0; p < k->n; p++)
      if (p != i) others[n++] = k->samples[p];
    fit_prices(others, n, k->base.gas, exact, rounded);
    k->left_out[i] = fit_ratio(&k->samples[i], rounded);
  }
  free(others);
}

/* --- reporting ---------------------------------------------------------------------------------------------------- */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static double left_out_deviation(const struct calibration *k) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < k->n; i++) sum += log(k->left_out[i]);
  for (size_t i = 0; i < k->n; i++) squares += pow(log(k->left_out[i]) - sum / (double)k->n, 2);
  return exp(sqrt(k->n > 1 ? squares / (double)(k->n - 1) : 0));
}

static double share(const struct calibration *k, int c) {
  double sum = 0;
  for (size_t i = 0; i < k->n; i++) {
    double all = 0;
    for (int d = 0; d < COST_COUNT; d++) all += (double)k->samples[i].instructions[d];
    sum += all > 0 ? (double)k->samples[i].instructions[c] / all : 0;
  }
  return sum / (double)k->n;
}

static void print_report(const struct calibration *k) {
  struct fit_spread before = k->before, after = fit_spread(k->samples, k->n, k->fitted.gas);
  printf("%-20s %10s %10s %10s %10s\n", "program", "seconds", "before", "fitted", "left out");
  for (size_t i = 0; i < k->n; i++)
    printf("%-20s %10.4f %10.3f %10.3f %10.3f\n", base_name(k->programs[i].path), k->samples[i].seconds, k->ratio_before[i],
           fit_ratio(&k->samples[i], k->fitted.gas), k->left_out[i]);
  printf("%-20s %10s %10.3f %10.3f\n", "geometric mean", "", before.mean, after.mean);
  printf("%-20s %10s %10.3f %10.3f %10.3f\n\n", "geometric deviation", "", before.deviation, after.deviation,
         left_out_deviation(k));
  puts("Columns: gas in units of 0.1 ns of the time measured; left out: under prices fitted to the other programs.\n");
  printf("%-20s %10s %10s %10s %10s\n", "class", "share", "before", "fit", "fitted");
  for (int c = 0; c < COST_COUNT; c++)
    printf("%-20s %9.4f%% %10" PRIu32 " %10.2f %10" PRIu32 "\n", cost_name(c), 100 * share(k, c), k->base.gas[c], k->exact[c],
           k->fitted.gas[c]);
}

static void print_json(const struct calibration *k) {
  struct fit_spread before = k->before, after = fit_spread(k->samples, k->n, k->fitted.gas);
  cJSON *json = cJSON_CreateObject(), *programs = cJSON_AddArrayToObject(json, "programs");
  for (size_t i = 0; i < k->n; i++) {
    cJSON *one = cJSON_CreateObject(), *counts = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "name", base_name(k->programs[i].path));
    cJSON_AddNumberToObject(one, "seconds", k->samples[i].seconds);
    cJSON_AddNumberToObject(one, "ratio_before", k->ratio_before[i]);
    cJSON_AddNumberToObject(one, "ratio", fit_ratio(&k->samples[i], k->fitted.gas));
    cJSON_AddNumberToObject(one, "ratio_left_out", k->left_out[i]);
    for (int c = 0; c < COST_COUNT; c++) cli_json_count(counts, cost_name(c), k->samples[i].instructions[c]);
    cJSON_AddItemToObject(one, "instructions", counts);
    cJSON_AddNumberToObject(one, "other_gas", k->samples[i].other_gas);
    cJSON_AddItemToArray(programs, one);
  }
  cJSON_AddNumberToObject(json, "deviation_before", before.deviation);
  cJSON_AddNumberToObject(json, "deviation", after.deviation);
  cJSON_AddNumberToObject(json, "deviation_left_out", left_out_deviation(k));
  cJSON *prices = cJSON_AddObjectToObject(json, "prices"), *exact = cJSON_AddObjectToObject(json, "exact");
  for (int c = 0; c < COST_COUNT; c++) {
    cli_json_count(prices, cost_name(c), k->fitted.gas[c]);
    cJSON_AddNumberToObject(exact, cost_name(c), k->exact[c]);
  }
  cli_print_json(json, false);
}

static bool write_schedule(const struct calibration *k, struct gw_error *err) {
  char text[8192];
  size_t size = schedule_print(&k->fitted, text, sizeof text);
  FILE *file = fopen(k->output_path, "w");
  bool ok = file && fwrite(text, 1, size, file) == size;
  if (file && fclose(file)) ok = false;
  return ok || error_set(err, GW_ERROR_IO, "cannot write %s: %s", k->output_path, strerror(errno));
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static bool calibrate(struct calibration *k, char **paths, struct gw_error *err) {
  k->programs = heap_new(k->n, sizeof *k->programs);
  k->samples = heap_new(k->n, sizeof *k->samples);
  k->left_out = heap_new(k->n, sizeof *k->left_out);
  k->ratio_before = heap_new(k->n, sizeof *k->ratio_before);
  if (!cli_read_schedule(k->schedule_path, &k->base, err) || !prepare(k, paths, err) || !measure(k, err)) return false;
  fit(k);
  if (k->is_json)
    print_json(k);
  else
    print_report(k);
  return !k->output_path || write_schedule(k, err);
}

static void calibration_clear(struct calibration *k) {
  for (size_t i = 0; k->programs && i < k->n; i++) {
    gw_module_release(k->programs[i].module);
    free(k->programs[i].seconds);
    free(k->programs[i].entered);
  }
  gw_engine_destroy(k->plain);
  gw_engine_destroy(k->profiling);
  free(k->programs);
  free(k->samples);
  free(k->left_out);
  free(k->ratio_before);
}

/* What bench/gas builds, without the parts for wasm-interp, to the front; their number. */
static size_t default_programs(glob_t *found) {
  if (glob("build/bench/*.wasm", 0, NULL, found)) found->gl_pathc = 0;
  size_t n = 0;
  for (size_t i = 0; i < found->gl_pathc; i++) {
    if (!strchr(base_name(found->gl_pathv[i]), '-')) {
      char *path = found->gl_pathv[n];
      found->gl_pathv[n++] = found->gl_pathv[i];
      found->gl_pathv[i] = path; /* globfree frees all */
    }
  }
  return n;
}

int cli_calibrate(int argc, char **argv) {
  struct calibration k = {.rounds = 5};
  const struct cli_option options[] = {
      {"rounds", 0, CLI_U32, &k.rounds, "N", "runs of each program, in turns; 5 unless told"},
      {"schedule", 0, CLI_TEXT, &k.schedule_path, "FILE", "prices to start from; built in unless told"},
      {"output", 'o', CLI_TEXT, &k.output_path, "FILE", "write the fitted schedule, one version up"},
      {"json", 0, CLI_FLAG, &k.is_json, NULL, "everything measured and fitted as JSON"},
  };
  static const struct cli_range ranges[] = {{"rounds", 1, 10000}, {0}};
  const struct cli_command command = {
      .name = "calibrate",
      .arguments = "[FILE.wasm...]",
      .description =
          "Runs whole programs (build/bench/*.wasm, which bench/gas builds, unless told; exports _start or run), measures\n"
          "them, and fits the gas schedule to their time.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .ranges = ranges,
      .max_operands = INT32_MAX,
  };
  int exit_code;
  struct gw_error err = {0};
  glob_t found = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  k.n = (size_t)argc;
  if (!argc) k.n = default_programs(&found);
  if (k.n == 0 || k.rounds == 0 || k.rounds > 1000)
    exit_code = cli_misuse("calibrate", k.n ? "--rounds wants 1 to 1000" : "no build/bench/*.wasm here; name programs");
  else
    exit_code = calibrate(&k, argc ? argv : found.gl_pathv, &err) ? 0 : cli_fail(&err);
  calibration_clear(&k);
  if (!argc) globfree(&found);
  return exit_code;
}
