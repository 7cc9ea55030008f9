/* How the time to decode, validate and lower a module grows with it.
 *   bench_compile [--sizes N,N,...] [--shapes NAME,...] [--no-lower] [--json] [FILE.wasm...]
 * Shapes are made by this program, each in several sizes (megabytes); what matters is the factor from one size to the next: 2 for
 * twice the bytes is linear. Files are decoded and validated again and again, for megabytes per second on modules as they are. */
#include "base/buffer.h"
#include "base/heap.h"
#include "frontend/lower/lower.h"
#include "jit/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MB = 1 << 20, MAX_SIZES = 8, LARGEST_BODY = 7600000, MAX_FILE = 64 << 20 };

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- making modules ----------------------------------------------------------------------------------------------- */

static void put(struct buffer *b, const char *bytes, size_t size) { buffer_append(b, bytes, size); }
#define PUT(b, literal) put(b, literal, sizeof(literal) - 1)

static void put_leb(struct buffer *b, uint32_t n) {
  do {
    uint8_t byte = (uint8_t)(n & 0x7f) | (n > 0x7f ? 0x80 : 0);
    buffer_append(b, &byte, 1);
    n >>= 7;
  } while (n);
}

static void put_sized(struct buffer *b, const struct buffer *part) {
  put_leb(b, (uint32_t)part->size);
  buffer_append(b, part->bytes, part->size);
}

static void put_section(struct buffer *b, uint8_t id, const struct buffer *contents) {
  buffer_append(b, &id, 1);
  put_sized(b, contents);
}

/* A code section under construction: bodies of functions that all have type [i32] -> [i32]. */
struct draft {
  struct buffer bodies;
  uint32_t n;
};

static void add_body(struct draft *draft, struct buffer *body) {
  put_sized(&draft->bodies, body);
  body->size = 0;
  draft->n++;
}

static void finish(struct buffer *module, struct draft *draft) {
  struct buffer section = {0};
  PUT(module, "\0asm\1\0\0\0\1\6\1\x60\1\x7f\1\x7f");
  put_leb(&section, draft->n);
  for (uint32_t i = 0; i < draft->n; i++) PUT(&section, "\0");
  put_section(module, 3, &section);
  PUT(module, "\5\3\1\0\1"); /* one memory */
  section.size = 0;
  put_leb(&section, draft->n);
  buffer_append(&section, draft->bodies.bytes, draft->bodies.size);
  put_section(module, 10, &section);
  buffer_clear(&section);
  buffer_clear(&draft->bodies);
}

/* Blocks 90,000 deep, each with a branch to the outermost. */
static void make_nested(struct draft *draft, size_t size) {
  enum { DEPTH = 90000 };
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\0");
    for (int i = 0; i < DEPTH; i++) {
      PUT(&body, "\x02\x40\x20\0\x0d"); /* block, local.get 0, br_if */
      put_leb(&body, (uint32_t)i);
    }
    for (int i = 0; i < DEPTH; i++) PUT(&body, "\x0b");
    PUT(&body, "\x20\0\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* Loops and ifs in shallow nests, with values that cross joins. */
static void make_branches(struct draft *draft, size_t size) {
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\1\4\x7f");
    for (int i = 0; i < 200; i++) /* loop: if local 0 then local 1 := +1 else local 2 := -1; br_if; end */
      PUT(&body, "\x03\x40\x20\0\x04\x40\x20\1\x41\1\x6a\x21\1\x05\x20\2\x41\1\x6b\x21\2\x0b\x20\1\x20\2\x49\x0d\0\x0b");
    PUT(&body, "\x20\1\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* Tables of 60,000 labels to 100 blocks. */
static void make_br_tables(struct draft *draft, size_t size) {
  enum { BLOCKS = 100, LABELS = 60000 };
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\0");
    for (int i = 0; i < BLOCKS; i++) PUT(&body, "\x02\x40");
    PUT(&body, "\x20\0\x0e");
    put_leb(&body, LABELS);
    for (int i = 0; i <= LABELS; i++) put_leb(&body, (uint32_t)(i * 7 % BLOCKS));
    for (int i = 0; i < BLOCKS; i++) PUT(&body, "\x20\0\x41\3\x6c\x21\0\x0b");
    PUT(&body, "\x20\0\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* 50,000 locals, all of them used. */
static void make_locals(struct draft *draft, size_t size) {
  enum { LOCALS = 49999 };
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\1\xcf\x86\3\x7f");
    for (uint32_t i = 1; i <= LOCALS; i++) {
      PUT(&body, "\x20");
      put_leb(&body, i - 1);
      PUT(&body, "\x41\1\x6a\x21");
      put_leb(&body, i);
    }
    PUT(&body, "\x20\xcf\x86\3\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* 50,000 locals that live across as many branches. */
static void make_live_locals(struct draft *draft, size_t size) {
  enum { LOCALS = 49999 };
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\1\xcf\x86\3\x7f");
    for (uint32_t i = 1; i <= LOCALS; i++) {
      PUT(&body, "\x02\x40\x20\0\x0d\0\x41\1\x21"); /* block, br_if out of it, local i := 1, end */
      put_leb(&body, i);
      PUT(&body, "\x0b");
    }
    for (uint32_t i = 1; i <= LOCALS; i++) {
      PUT(&body, "\x20\0\x20");
      put_leb(&body, i);
      PUT(&body, "\x6a\x21\0");
    }
    PUT(&body, "\x20\0\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* 50,000 locals, none of them used. */
static void make_unused_locals(struct draft *draft, size_t size) {
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\1\xcf\x86\3\x7f\x20\0\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* Eleven bytes each: about 100,000 in a megabyte. */
static void make_functions(struct draft *draft, size_t size) {
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\0\x20\0\x41\5\x6a\x41\1\x6a\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* Every function calls the one before it, twice. */
static void make_calls(struct draft *draft, size_t size) {
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    PUT(&body, "\0\x20\0");
    for (uint32_t k = 0; k < 2 && draft->n; k++) {
      PUT(&body, "\x10");
      put_leb(&body, draft->n - 1);
    }
    PUT(&body, "\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

/* Loads, stores and arithmetic without a branch, in functions as large as they may be. */
static void make_straight(struct draft *draft, size_t size) {
  struct buffer body = {0};
  while (draft->bodies.size < size) {
    size_t left = size - draft->bodies.size, most = left < LARGEST_BODY ? left : LARGEST_BODY;
    PUT(&body, "\1\4\x7f");
    while (body.size < most)
      PUT(&body, "\x20\0\x20\0\x28\2\x10\x20\1\x6a\x22\1\x20\2\x73\x21\2\x20\0\x20\1\x36\2\x20\x20\2\x41\x0d\x6c\x21\3\x1a");
    PUT(&body, "\x20\3\x0b");
    add_body(draft, &body);
  }
  buffer_clear(&body);
}

static const struct shape {
  const char *name, *what;
  void (*make)(struct draft *draft, size_t size);
} shapes[] = {
    {"nested", "blocks 90,000 deep, a branch in each", make_nested},
    {"branches", "loops and ifs", make_branches},
    {"br_table", "tables of 60,000 labels", make_br_tables},
    {"locals", "50,000 locals, all used", make_locals},
    {"live", "50,000 locals that live across branches", make_live_locals},
    {"unused", "50,000 locals in every small function, unused", make_unused_locals},
    {"functions", "100,000 functions per megabyte", make_functions},
    {"calls", "two calls in every function", make_calls},
    {"straight", "straight-line code, bodies of 7.6 MB", make_straight},
};

enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* --- measuring ---------------------------------------------------------------------------------------------------- */

struct times {
  double decode, validate;
  double lower;   /* to LLVM IR */
  double prepare; /* what the pipeline does with it before it optimises: SSA form, gas */
};

static void fail(const char *what, const struct gw_error *err) {
  fprintf(stderr, "bench_compile: %s: %s\n", what, err->message);
  exit(1);
}

static void measure_lowering(const char *what, const struct module *m, struct times *out) {
  struct lower_options lower_options = {.gas = true, .schedule = schedule_default()};
  uint32_t *funcs = heap_new(m->n_funcs, sizeof *funcs);
  for (uint32_t i = 0; i < m->n_funcs; i++) funcs[i] = i;
  struct lower_part whole = {.funcs = funcs, .n = m->n_funcs, .has_thunks = true};
  LLVMContextRef context = LLVMContextCreate();
  double start = seconds_now();
  LLVMModuleRef module = lower_module(context, m, &lower_options, &whole);
  out->lower = seconds_now() - start;
  LLVMDisposeModule(module);
  LLVMContextDispose(context);
  struct compile_options options = {.opt_level = 2, .gas = true, .schedule = schedule_default()};
  struct gw_error err = {0};
  struct pipeline p = {0};
  if (!pipeline_run(&p, m, &whole, &options, STAGE_LOWERED, &err)) fail(what, &err);
  out->prepare = p.seconds.charge;
  pipeline_clear(&p);
  free(funcs);
}

static void measure(const char *what, const struct buffer *b, bool with_lower, struct times *out) {
  struct gw_error err = {0};
  struct module m;
  double start = seconds_now();
  if (!module_decode(&m, b->bytes, b->size, &err)) fail(what, &err);
  out->decode = seconds_now() - start;
  start = seconds_now();
  if (!module_validate(&m, &err)) fail(what, &err);
  out->validate = seconds_now() - start;
  out->lower = out->prepare = 0;
  if (with_lower) measure_lowering(what, &m, out);
  module_clear(&m);
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static bool as_json, is_first = true;

static void print_growth(double now, double before) {
  if (before > 0)
    printf("%9.1f (%4.1fx)", now * 1e3, now / before);
  else
    printf("%9.1f        ", now * 1e3);
}

static void report_shape(const struct shape *s, size_t size, const struct times *t, const struct times *before) {
  if (as_json) {
    printf("%s{\"shape\":\"%s\",\"bytes\":%zu,\"decode\":%.6f,\"validate\":%.6f,\"lower\":%.6f,\"prepare\":%.6f}",
           is_first ? "" : ",\n", s->name, size, t->decode, t->validate, t->lower, t->prepare);
    is_first = false;
    return;
  }
  printf("%-10s %6.2f", s->name, (double)size / MB);
  print_growth(t->decode, before->decode);
  print_growth(t->validate, before->validate);
  print_growth(t->lower, before->lower);
  print_growth(t->prepare, before->prepare);
  printf(" %8.0f\n", (double)size / MB / (t->decode + t->validate));
  fflush(stdout);
}

static void run_shape(const struct shape *s, const size_t *sizes, size_t n_sizes, bool with_lower) {
  struct times before = {0};
  for (size_t i = 0; i < n_sizes; i++) {
    struct draft draft = {0};
    struct buffer module = {0};
    s->make(&draft, sizes[i] * MB);
    finish(&module, &draft);
    struct times t;
    measure(s->name, &module, with_lower, &t);
    report_shape(s, module.size, &t, &before);
    before = t;
    buffer_clear(&module);
  }
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median of many rounds. */
static void run_file(const char *path) {
  enum { ROUNDS = 25 };
  struct buffer b = {0};
  struct gw_error err = {0};
  if (!buffer_read_file(&b, path, MAX_FILE, &err)) fail(path, &err);
  double rates[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    struct times t;
    measure(path, &b, false, &t);
    rates[i] = (double)b.size / 1e6 / (t.decode + t.validate);
  }
  qsort(rates, ROUNDS, sizeof rates[0], compare_doubles);
  if (as_json) {
    printf("%s{\"file\":\"%s\",\"bytes\":%zu,\"megabytes_per_second\":%.1f}", is_first ? "" : ",\n", path, b.size,
           rates[ROUNDS / 2]);
    is_first = false;
  } else {
    printf("%8.0f MB/s decode and validate (best %.0f)  %8.2f MB  %s\n", rates[ROUNDS / 2], rates[ROUNDS - 1],
           (double)b.size / 1e6, path);
  }
  buffer_clear(&b);
}

/* --- command line ------------------------------------------------------------------------------------------------- */

static bool is_in_list(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (!strncmp(at, name, n) && (at[n] == ',' || at[n] == 0)) return true;
  return !list;
}

static size_t read_sizes(const char *text, size_t *sizes) {
  size_t n = 0;
  for (char *end; n < MAX_SIZES && *text; text = *end ? end + 1 : end) {
    sizes[n] = strtoul(text, &end, 10);
    if (end == text || sizes[n] == 0 || sizes[n] > 60) return 0;
    n++;
  }
  return n;
}

int main(int argc, char **argv) {
  size_t sizes[MAX_SIZES] = {1, 2, 4, 8}, n_sizes = 4;
  const char *wanted = NULL;
  bool with_lower = true;
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    if (!strcmp(argv[at], "--no-lower"))
      with_lower = false;
    else if (!strcmp(argv[at], "--json"))
      as_json = true;
    else if (!strcmp(argv[at], "--shapes") && at + 1 < argc)
      wanted = argv[++at];
    else if (!strcmp(argv[at], "--sizes") && at + 1 < argc && (n_sizes = read_sizes(argv[at + 1], sizes)))
      at++;
    else
      return fputs("usage: bench_compile [--sizes MB,...] [--shapes NAME,...] [--no-lower] [--json] [FILE.wasm...]\n", stderr), 2;
  }
  if (as_json) printf("[");
  if (!as_json && at == argc)
    printf("%-10s %6s%18s%18s%18s%18s %8s\n", "shape", "MB", "decode ms", "validate ms", "lower ms", "SSA and gas ms",
           "d+v MB/s");
  for (int i = 0; i < N_SHAPES && at == argc; i++)
    if (is_in_list(wanted, shapes[i].name)) run_shape(&shapes[i], sizes, n_sizes, with_lower);
  for (; at < argc; at++) run_file(argv[at]);
  if (as_json) printf("]\n");
  return 0;
}
