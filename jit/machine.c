#define _GNU_SOURCE /* asprintf */
#include "jit/machine.h"

#include "base/error.h"
#include "base/heap.h"

#include <llvm-c/Core.h>
#include <llvm-c/Support.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static LLVMTargetRef target;
static const char no_apx[] = "-egpr"; /* runtime/arch/x86_64/exhausted.S does not save r16 to r31 */
static char *cpu_name, *cpu_features, *triple;

static void find_host(void) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser(); /* of gas checks */
  /* Producers count loops in wrapping 32 bits, often up to zero. Widened to 64 bits such a counter needs a mask, its trip count
   * is no longer known, and the loop is not vectorised. LLVM has no other switch for it.
   * And division in 128 bits, by which LLVM counts the iterations of some loops, is code: there is no libgcc to call.
   * A store that a later one overwrites is left alone, whatever LLVM learns on the way: the value's load must trap. Producers
   * have taken out such stores themselves. */
  static const char *const arguments[] = {"gasworks", "-indvars-widen-indvars=false", "-expand-div-rem-bits=64",
                                          "-dse-memoryssa-scanlimit=0"};
  LLVMParseCommandLineOptions(sizeof arguments / sizeof arguments[0], arguments, NULL);
  triple = LLVMGetDefaultTargetTriple();
  cpu_name = LLVMGetHostCPUName();
  char *features = LLVMGetHostCPUFeatures();
  if (asprintf(&cpu_features, "%s,%s", features, no_apx) < 0) heap_missing();
  LLVMDisposeMessage(features);
  char *message = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &message)) LLVMDisposeMessage(message);
}

enum cpu_features { NONE, AVX512 };

struct cpu {
  const char *name;
  enum cpu_features features;
};

static const struct cpu *find_cpu(const char *name) {
  static const struct cpu cpus[] = {
#define CPU(name, features) {name, features},
#include "jit/cpu.def"
#undef CPU
  };
  for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
    if (strcmp(name, cpus[i].name) == 0) return &cpus[i];
  return NULL;
}

/* CPUs with names have all parts or none. */
static bool has_feature(const char *cpu, const char *feature) {
  const struct cpu *known = cpu ? find_cpu(cpu) : NULL;
  return cpu ? known && known->features == AVX512 : strstr(cpu_features, feature) != NULL;
}

bool machine_has_avx512vl(const char *cpu) { return has_feature(cpu, "+avx512vl"); }
bool machine_has_avx512dq(const char *cpu) { return has_feature(cpu, "+avx512dq"); }

static LLVMTargetMachineRef create(uint32_t opt_level, const char *cpu, struct gw_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_host);
  if (!target) {
    error_set(err, GW_ERROR_COMPILE, "LLVM has no code generator for this machine (%s)", triple);
    return NULL;
  }
  if (cpu && !find_cpu(cpu)) {
    error_set(err, GW_ERROR_USAGE, "LLVM knows no CPU of 64 bits by the name %.64s; x86-64-v3, haswell or znver4 are some", cpu);
    return NULL;
  }
  static const LLVMCodeGenOptLevel levels[] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess, LLVMCodeGenLevelDefault,
                                               LLVMCodeGenLevelAggressive};
  return LLVMCreateTargetMachine(target, triple, cpu ? cpu : cpu_name, cpu ? no_apx : cpu_features, levels[opt_level],
                                 LLVMRelocPIC, LLVMCodeModelSmall);
}

const char *machine_triple(void) { return triple; }

/* --- the pool ------------------------------------------------------------------------------------------------------ */

enum { N_LEVELS = 4, MAX_KEPT = 16 };

static struct {
  pthread_mutex_t lock; /* a leaf */
  LLVMTargetMachineRef kept[N_LEVELS][MAX_KEPT];
  uint32_t n_kept[N_LEVELS];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

LLVMTargetMachineRef machine_take(uint32_t opt_level, const char *cpu, struct gw_error *err) {
  if (cpu) return create(opt_level, cpu, err);
  pthread_mutex_lock(&pool.lock);
  uint32_t *n = &pool.n_kept[opt_level];
  LLVMTargetMachineRef machine = *n ? pool.kept[opt_level][--*n] : NULL;
  pthread_mutex_unlock(&pool.lock);
  return machine ? machine : create(opt_level, NULL, err);
}

void machine_return(LLVMTargetMachineRef machine, uint32_t opt_level, const char *cpu) {
  if (cpu) {
    LLVMDisposeTargetMachine(machine);
    return;
  }
  pthread_mutex_lock(&pool.lock);
  uint32_t *n = &pool.n_kept[opt_level];
  bool is_kept = *n < MAX_KEPT;
  if (is_kept) pool.kept[opt_level][(*n)++] = machine;
  pthread_mutex_unlock(&pool.lock);
  if (!is_kept) LLVMDisposeTargetMachine(machine);
}
