/* The compiler as the runtime sees it: one small vtable in a shared object that is loaded at the first compile, so that
 * nothing else maps libLLVM. */
#ifndef JIT_COMPILER_H
#define JIT_COMPILER_H

#include "frontend/lines.h"
#include "frontend/module.h"
#include "instrument/blocks.h"
#include "instrument/schedule.h"

enum { COMPILER_VERSION = 10 };

enum dump_kind { DUMP_NONE, DUMP_IR_FRESH, DUMP_IR, DUMP_ASM };

/* Told from the compiling threads, one at a time, how many of `total` bytes of function bodies have been compiled. */
typedef void (*compile_progress)(void *env, uint64_t done, uint64_t total);

struct compile_options {
  uint32_t opt_level;               /* 0..3 */
  bool gas;                         /* charge gas */
  bool exact;                       /* what a run that traps has written is all there, and nothing else */
  uint32_t dialect;                 /* DIALECT_*; at least the module's */
  bool verify;                      /* run LLVM's verifier on what lowering and instrumentation made */
  uint32_t threads;                 /* 0: one for each core that the process may use */
  const char *cpu;                  /* whose instructions to use, as LLVM calls it; NULL: this machine's */
  const struct schedule *schedule;  /* prices; must be set when gas is */
  struct gas_blocks *blocks;        /* to be filled: count how often each gas block is entered, and tell the runtime about calls;
                                       NULL: do neither. Slow */
  const struct source_lines *lines; /* describe the code to debuggers and perf, with these lines; NULL: do not. The code is
                                       the same */
  bool perf;                        /* of what is loaded: also write a jitdump for Linux's perf */
  const uint64_t *heat;             /* [n_funcs], gas that each has used: those that used next to none are compiled at level 0;
                                       NULL: all at opt_level */
  const uint32_t *only;             /* [n_only], for this process: these functions alone. Others have no code in the result, and
                                       are called through the instance's func_refs; types have entries where one of these
                                       functions has the type. Not with tail calls. NULL: all */
  uint32_t n_only;
  compile_progress progress; /* or NULL */
  void *progress_env;
};

/* CPU seconds of all threads together; waiting for cores is not in them. */
struct compile_seconds {
  double lower, charge, optimize, emit, link;
};

#define IMAGE_NONE UINT32_MAX

enum { IMAGE_PAGE = 4096 };

/* Machine code of one module, the same wherever it lies: it refers to nothing outside of itself. Depends on the module and the
 * options alone, not on the number of threads. */
struct image {
  uint8_t *bytes;    /* malloc'd: code, then from the next multiple of IMAGE_PAGE on constants, to be mapped as one */
  size_t code_size;  /* bytes of code */
  size_t size;       /* of all */
  uint32_t *offsets; /* malloc'd, in bytes: n_funcs functions (internal convention; of imported ones: thunks that call the host
                        through helpers->host_call with the importing instance's vmctx), then n_types entry thunks, IMAGE_NONE
                        for types that are not functions */
  uint32_t stack_factor; /* no frame takes more bytes than so many times its function's cost (func_frame_cost) */
  struct compile_seconds seconds;
};

/* Some of a module's code. Pieces do not overlap, and lie anywhere. */
struct code_piece {
  const uint8_t *at;
  size_t size;
};

/* Machine code of one module, to be run in this process. Made of the same object files as an image. */
struct loaded {
  struct orc_module *owner;
  void **funcs;              /* malloc'd: as image's offsets, but addresses; NULL for IMAGE_NONE */
  struct code_piece *pieces; /* malloc'd, sorted */
  uint32_t n_pieces, stack_factor;
  struct compile_seconds seconds;
};

struct compiler_ops {
  uint32_t version; /* COMPILER_VERSION */
  /* Machine code for a validated module in *image and *loaded, which the caller frees, or false with `err` set. Either may be
   * NULL. Thread-safe. */
  bool (*compile)(const struct module *m, const struct compile_options *options, struct image *image, struct loaded *loaded,
                  struct gw_error *err);
  /* Gives the code's memory back. Nothing may run in it any more. Thread-safe. */
  void (*unload)(struct orc_module *owner);
  /* Text of one stage of the compilation, malloc'd for the caller, or NULL with `err` set. */
  char *(*dump)(const struct module *m, const struct compile_options *options, enum dump_kind kind, struct gw_error *err);
  const char *(*describe)(void); /* "LLVM 22.1.8, CPU znver5", static */
  /* From now on LLVM, when it gives up, calls `end` instead of ending the process: on the thread that compiles, with a sentence
   * that lives as long as the call, from which it must not return. */
  void (*on_fatal)(void (*end)(const char *reason));
};

/* The one symbol that the shared object exports. */
#define COMPILER_SYMBOL "gasworks_compiler"
extern const struct compiler_ops gasworks_compiler;

#endif
