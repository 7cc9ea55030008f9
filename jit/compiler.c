/* The compiler's vtable. A module is cut into parts, which are compiled side by side and linked in their order, so that the
 * result does not depend on the number of threads. */
#define _GNU_SOURCE /* sched_getaffinity, qsort_r */
#include "jit/compiler.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/heap.h"
#include "frontend/lower/lower.h"
#include "jit/link.h"
#include "jit/orc.h"
#include "jit/pipeline.h"
#include "jit/twin.h"

#include <llvm-c/ErrorHandling.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of function bodies in a part: a sixteenth of the module, between these. Smaller parts keep less memory and more cores
 * busy; what every part costs by itself, a few milliseconds, is then spent more often. */
enum { SMALLEST_PART = 8 << 10, LARGEST_PART = 48 << 10, PARTS = 16, MAX_THREADS = 64 };

/* Functions beyond those that used so much of all gas are cold. Level 1 would save a fifth of the time that level 2 takes, level
 * 0 saves four fifths, and its code is as fast as the baseline tier's. */
enum { HOT_PER_MILLE = 999, COLD_LEVEL = 0 };

/* One compilation. `lock` guards what follows it. */
struct job {
  const struct module *m;
  const struct compile_options *options;
  uint32_t *order; /* [n_order]: functions as the parts have them, one part behind the other */
  uint32_t n_order;
  bool *is_cold;     /* [n_funcs], or NULL */
  bool *is_compiled; /* [n_funcs] where options->only is given, or NULL */
  struct lower_part *parts;
  uint32_t n_parts;
  uint32_t *queue;              /* [n_parts]: in which parts are begun */
  uint32_t *twins;              /* [n_funcs] */
  LLVMMemoryBufferRef *objects; /* [n_parts] */
  uint64_t total;               /* bytes of bodies */
  pthread_mutex_t lock;
  uint32_t next;
  uint64_t done;
  uint32_t stack_factor;
  struct compile_seconds seconds;
  uint32_t failed_part; /* the first in order that failed, with `error`; n_parts: none */
  struct gw_error error;
};

static uint64_t body_size(const struct func *f) { return f->import == NO_INDEX ? (uint64_t)(f->end - f->body) : 0; }

static uint64_t part_bytes(const struct job *job, uint32_t part) {
  uint64_t size = 0;
  for (uint32_t i = 0; i < job->parts[part].n; i++) size += body_size(&job->m->funcs[job->parts[part].funcs[i]]);
  return size;
}

static uint64_t most_of_part(const struct job *job) {
  uint64_t size = job->total / PARTS;
  return size < SMALLEST_PART ? SMALLEST_PART : size > LARGEST_PART ? LARGEST_PART : size;
}

/* --- what is in which part ---------------------------------------------------------------------------------------------- */

static int hotter_first(const void *a, const void *b, void *heat) {
  const uint32_t *x = a, *y = b;
  const uint64_t *gas = heat;
  return gas[*x] != gas[*y] ? (gas[*x] < gas[*y] ? 1 : -1) : (*x > *y) - (*x < *y);
}

/* Sums of gas do not wrap: no run uses so much. */
static void find_cold(struct job *job) {
  const struct module *m = job->m;
  const uint64_t *heat = job->options->heat;
  uint32_t *hottest = heap_new((size_t)m->n_funcs + 1, sizeof *hottest);
  double all = 0, seen = 0;
  job->is_cold = heap_new((size_t)m->n_funcs + 1, sizeof *job->is_cold);
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    hottest[i] = i;
    all += (double)heat[i];
  }
  qsort_r(hottest, m->n_funcs, sizeof *hottest, hotter_first, (void *)(uintptr_t)heat);
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    job->is_cold[hottest[i]] = seen * 1000 >= all * HOT_PER_MILLE;
    seen += (double)heat[hottest[i]];
  }
  free(hottest);
}

static void add_in_order(struct job *job, bool is_cold) {
  for (uint32_t i = 0; i < job->m->n_funcs; i++)
    if (!job->is_cold || job->is_cold[i] == is_cold) job->order[job->n_order++] = i;
}

/* Hot functions before cold ones, or those alone that are wanted. */
static void put_in_order(struct job *job) {
  const struct compile_options *o = job->options;
  job->order = heap_new((size_t)job->m->n_funcs + o->n_only + 1, sizeof *job->order);
  if (o->only) {
    job->is_compiled = heap_new((size_t)job->m->n_funcs + 1, sizeof *job->is_compiled);
    for (uint32_t i = 0; i < o->n_only; i++) job->is_compiled[o->only[i]] = true;
    job->n_order = o->n_only;
    memcpy(job->order, o->only, o->n_only * sizeof *o->only);
    return;
  }
  if (o->heat && !o->blocks) find_cold(job);
  add_in_order(job, false);
  if (job->is_cold) add_in_order(job, true);
}

static bool is_cold(const struct job *job, uint32_t func) { return job->is_cold && job->is_cold[func]; }

static int larger_first(const void *a, const void *b, void *job) {
  const uint32_t *x = a, *y = b;
  uint64_t left = part_bytes(job, *x), right = part_bytes(job, *y);
  return left != right ? (left < right ? 1 : -1) : (*x > *y) - (*x < *y);
}

/* What is begun last should be over soon, as nothing else is left to do beside it. */
static void queue_parts(struct job *job) {
  job->queue = heap_new(job->n_parts, sizeof *job->queue);
  for (uint32_t i = 0; i < job->n_parts; i++) job->queue[i] = i;
  qsort_r(job->queue, job->n_parts, sizeof *job->queue, larger_first, job);
}

/* Neighbours stay together: producers put functions near those that they call. Counting gas blocks needs one part, as their
 * numbers run through the module. */
static void cut(struct job *job) {
  const struct module *m = job->m;
  put_in_order(job);
  for (uint32_t i = 0; i < job->n_order; i++) job->total += body_size(&m->funcs[job->order[i]]);
  job->parts = heap_new((size_t)job->n_order + 1, sizeof *job->parts);
  struct lower_part *part = job->parts;
  uint64_t size = 0, most = job->options->blocks ? UINT64_MAX : most_of_part(job);
  *part = (struct lower_part){.funcs = job->order, .has_thunks = true, .is_compiled = job->is_compiled};
  for (uint32_t i = 0; i < job->n_order; i++) {
    uint64_t body = body_size(&m->funcs[job->order[i]]);
    bool is_other_level = i && is_cold(job, job->order[i]) != is_cold(job, job->order[i - 1]);
    if ((size && size + body > most) || is_other_level) {
      *++part = (struct lower_part){.funcs = job->order + i, .is_compiled = job->is_compiled};
      size = 0;
    }
    part->n++;
    size += body;
  }
  job->n_parts = (uint32_t)(part - job->parts) + 1;
  job->failed_part = job->n_parts;
  queue_parts(job);
}

static void clear(struct job *job) {
  free(job->order);
  free(job->is_cold);
  free(job->is_compiled);
  free(job->parts);
  free(job->queue);
  free(job->twins);
}

/* --- threads ----------------------------------------------------------------------------------------------------------- */

/* `p` is to be cleared. */
static LLVMMemoryBufferRef compile_part(const struct job *job, uint32_t part, struct pipeline *p, struct gw_error *err) {
  const struct lower_part *what = &job->parts[part];
  struct compile_options options = *job->options;
  if (what->n && is_cold(job, what->funcs[0]) && options.opt_level > COLD_LEVEL) options.opt_level = COLD_LEVEL;
  if (!pipeline_run(p, job->m, what, &options, STAGE_OPTIMIZED, err)) return NULL;
  return pipeline_emit(p, LLVMObjectFile, err);
}

/* The next part to compile; n_parts when there is none, or no need after a failure. */
static uint32_t take_part(struct job *job) {
  pthread_mutex_lock(&job->lock);
  bool is_over = job->next == job->n_parts || job->failed_part < job->n_parts;
  uint32_t part = is_over ? job->n_parts : job->queue[job->next++];
  pthread_mutex_unlock(&job->lock);
  return part;
}

static void finish_part(struct job *job, uint32_t part, const struct pipeline *p, const struct gw_error *err) {
  const struct compile_seconds *seconds = &p->seconds;
  uint64_t size = part_bytes(job, part);
  pthread_mutex_lock(&job->lock);
  job->seconds.lower += seconds->lower;
  job->seconds.charge += seconds->charge;
  job->seconds.optimize += seconds->optimize;
  job->seconds.emit += seconds->emit;
  job->done += size;
  if (p->stack_factor > job->stack_factor) job->stack_factor = p->stack_factor;
  if (!job->objects[part] && part < job->failed_part) {
    job->failed_part = part;
    job->error = *err;
  }
  if (job->options->progress) job->options->progress(job->options->progress_env, job->done, job->total);
  pthread_mutex_unlock(&job->lock);
}

static void *run(void *arg) {
  struct job *job = arg;
  for (uint32_t part; (part = take_part(job)) < job->n_parts;) {
    struct gw_error err = {0};
    struct pipeline p = {0};
    job->objects[part] = compile_part(job, part, &p, &err);
    finish_part(job, part, &p, &err);
    pipeline_clear(&p);
  }
  return NULL;
}

static uint32_t count_cores(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : (uint32_t)CPU_COUNT(&set);
}

/* This thread is one of them. Threads that the system refuses are done without. */
static void run_threads(struct job *job) {
  pthread_t threads[MAX_THREADS];
  uint32_t wanted = job->options->threads ? job->options->threads : count_cores(), n = 0;
  if (wanted > job->n_parts) wanted = job->n_parts;
  if (wanted > MAX_THREADS) wanted = MAX_THREADS;
  while (n + 1 < wanted && pthread_create(&threads[n], NULL, run, job) == 0) n++;
  run(job);
  while (n) pthread_join(threads[--n], NULL);
}

/* --- the vtable --------------------------------------------------------------------------------------------------------- */

/* The native stack is as many times larger than the logical one, for every instance. */
static bool check_frames(const struct job *job, struct gw_error *err) {
  if (job->stack_factor <= ABI_MAX_STACK_FACTOR) return true;
  return error_set(err, GW_ERROR_LIMIT,
                   "a function's native frame has %u times the bytes that its operands and locals cost, the limit is %d",
                   job->stack_factor, ABI_MAX_STACK_FACTOR);
}

/* Counts of gas blocks are each function's own. */
static void find_twins(struct job *job) {
  job->twins = heap_new(job->m->n_funcs + 1, sizeof *job->twins);
  for (uint32_t i = 0; i < job->m->n_funcs; i++) job->twins[i] = i;
  for (uint32_t i = 0; i < job->n_parts && !job->options->blocks; i++) {
    struct lower_part *part = &job->parts[i];
    twins_find(job->m, part->funcs, part->n, job->twins);
    part->twins = job->twins;
  }
}

/* Whose place in the tables is also this function's or type's. */
static uint32_t place_of(const struct job *job, uint32_t i) {
  const struct module *m = job->m;
  if (i < m->n_funcs) return job->twins[i];
  return m->types[i - m->n_funcs].kind == COMP_FUNC ? m->n_funcs + lower_entry_type(m, i - m->n_funcs) : i;
}

static bool make_image(const struct job *job, struct image *out, struct gw_error *err) {
  double start = pipeline_clock();
  bool ok = link_objects(job->objects, job->n_parts, job->m, out, err);
  for (uint32_t i = 0; ok && i < job->m->n_funcs + job->m->n_types; i++) out->offsets[i] = out->offsets[place_of(job, i)];
  out->stack_factor = job->stack_factor;
  out->seconds = job->seconds;
  out->seconds.link = pipeline_clock() - start;
  return ok;
}

static bool load_here(const struct job *job, struct loaded *out, struct gw_error *err) {
  double start = pipeline_clock();
  bool ok = link_load(job->objects, job->n_parts, job->m, job->options->perf, out, err);
  for (uint32_t i = 0; ok && i < job->m->n_funcs + job->m->n_types; i++) out->funcs[i] = out->funcs[place_of(job, i)];
  out->stack_factor = job->stack_factor;
  out->seconds = job->seconds;
  out->seconds.link = pipeline_clock() - start;
  return ok;
}

static bool link(const struct job *job, struct image *image, struct loaded *loaded, struct gw_error *err) {
  bool ok = check_frames(job, err) && (!image || make_image(job, image, err)) && (!loaded || load_here(job, loaded, err));
  if (!ok && image) {
    free(image->bytes);
    free(image->offsets);
  }
  if (!ok && loaded) {
    free(loaded->funcs);
    free(loaded->pieces);
  }
  return ok;
}

static bool compile(const struct module *m, const struct compile_options *options, struct image *image, struct loaded *loaded,
                    struct gw_error *err) {
  struct job job = {.m = m, .options = options, .lock = PTHREAD_MUTEX_INITIALIZER};
  if (image) *image = (struct image){0};
  if (loaded) *loaded = (struct loaded){0};
  cut(&job);
  find_twins(&job);
  job.objects = heap_new(job.n_parts, sizeof *job.objects);
  run_threads(&job);
  bool ok = job.failed_part == job.n_parts || error_set(err, job.error.code, "%s", job.error.message);
  ok = ok && link(&job, image, loaded, err);
  for (uint32_t i = 0; i < job.n_parts; i++)
    if (job.objects[i]) LLVMDisposeMemoryBuffer(job.objects[i]);
  free(job.objects);
  clear(&job);
  return ok;
}

static bool dump_part(const struct job *job, uint32_t part, enum dump_kind kind, struct buffer *out, struct gw_error *err) {
  struct pipeline p = {0};
  enum pipeline_stage stage = kind == DUMP_IR_FRESH ? STAGE_LOWERED : STAGE_OPTIMIZED;
  bool ok = pipeline_run(&p, job->m, &job->parts[part], job->options, stage, err);
  if (ok && kind == DUMP_ASM) {
    LLVMMemoryBufferRef buffer = pipeline_emit(&p, LLVMAssemblyFile, err);
    ok = buffer != NULL;
    if (ok) buffer_append(out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
    if (ok) LLVMDisposeMemoryBuffer(buffer);
  } else if (ok) {
    char *ir = LLVMPrintModuleToString(p.module);
    buffer_append_string(out, ir);
    LLVMDisposeMessage(ir);
  }
  pipeline_clear(&p);
  return ok;
}

static char *dump(const struct module *m, const struct compile_options *options, enum dump_kind kind, struct gw_error *err) {
  struct job job = {.m = m, .options = options};
  struct buffer text = {0};
  cut(&job);
  bool ok = true;
  for (uint32_t i = 0; ok && i < job.n_parts; i++) ok = dump_part(&job, i, kind, &text, err);
  buffer_append(&text, "", 1);
  clear(&job);
  if (ok) return (char *)text.bytes;
  buffer_clear(&text);
  return NULL;
}

static const char *describe(void) {
  static char text[96];
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  char *cpu = LLVMGetHostCPUName();
  snprintf(text, sizeof text, "LLVM %u.%u.%u, CPU %s", major, minor, patch, cpu);
  LLVMDisposeMessage(cpu);
  return text;
}

__attribute__((visibility("default"))) const struct compiler_ops gasworks_compiler = {
    .version = COMPILER_VERSION,
    .compile = compile,
    .unload = orc_unload,
    .dump = dump,
    .describe = describe,
    .on_fatal = LLVMInstallFatalErrorHandler,
};
