/* The compiler's vtable. A module is cut into parts, which are compiled side by side and linked in their order, so that the
 * result does not depend on the number of threads. */
#define _GNU_SOURCE /* sched_getaffinity */
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

/* One compilation. `lock` guards what follows it. */
struct job {
  const struct module *m;
  const struct compile_options *options;
  struct lower_part *parts;
  uint32_t n_parts;
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

static uint64_t part_size(const struct module *m) {
  uint64_t size = 0;
  for (uint32_t i = 0; i < m->n_funcs; i++) size += body_size(&m->funcs[i]);
  size /= PARTS;
  return size < SMALLEST_PART ? SMALLEST_PART : size > LARGEST_PART ? LARGEST_PART : size;
}

/* Neighbours stay together: producers put functions near those that they call. Counting gas blocks needs one part, as their
 * numbers run through the module. */
static void cut(struct job *job) {
  const struct module *m = job->m;
  job->parts = heap_new(m->n_funcs + 1, sizeof *job->parts);
  struct lower_part *part = job->parts;
  uint64_t size = 0, most = job->options->blocks ? UINT64_MAX : part_size(m);
  part->has_thunks = true;
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    uint64_t body = body_size(&m->funcs[i]);
    if (size && size + body > most) {
      *++part = (struct lower_part){.first = i};
      size = 0;
    }
    part->end = i + 1;
    size += body;
    job->total += body;
  }
  job->n_parts = (uint32_t)(part - job->parts) + 1;
  job->failed_part = job->n_parts;
}

/* --- threads ----------------------------------------------------------------------------------------------------------- */

/* `p` is to be cleared. */
static LLVMMemoryBufferRef compile_part(const struct job *job, uint32_t part, struct pipeline *p, struct gw_error *err) {
  if (!pipeline_run(p, job->m, &job->parts[part], job->options, STAGE_OPTIMIZED, err)) return NULL;
  return pipeline_emit(p, LLVMObjectFile, err);
}

/* The next part to compile; n_parts when there is none, or no need after a failure. */
static uint32_t take_part(struct job *job) {
  pthread_mutex_lock(&job->lock);
  bool is_over = job->next == job->n_parts || job->failed_part < job->n_parts;
  uint32_t part = is_over ? job->n_parts : job->next++;
  pthread_mutex_unlock(&job->lock);
  return part;
}

static void finish_part(struct job *job, uint32_t part, const struct pipeline *p, const struct gw_error *err) {
  const struct compile_seconds *seconds = &p->seconds;
  uint64_t size = 0;
  for (uint32_t i = job->parts[part].first; i < job->parts[part].end; i++) size += body_size(&job->m->funcs[i]);
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
    twins_find(job->m, part->first, part->end, job->twins);
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
  free(job.twins);
  free(job.parts);
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
  free(job.parts);
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
