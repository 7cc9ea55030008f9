#include "jit/link.h"

#include "base/error.h"
#include "jit/machine.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/OrcEE.h>

#include <pthread.h>
#include <stdlib.h>

/* What linking one module allocated: all of it goes with the tracker. */
struct linked {
  LLVMOrcResourceTrackerRef tracker;
};

/* One session for the process: making one takes several times as long as linking a small module. */
static struct {
  pthread_mutex_t lock;
  LLVMOrcLLJITRef jit;
} linker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool fail(struct gw_error *err, const char *what, LLVMErrorRef failure) {
  char *message = LLVMGetErrorMessage(failure);
  error_set(err, GW_ERROR_COMPILE, "%s: %s", what, message);
  LLVMDisposeErrorMessage(message);
  return false;
}

/* The callback cannot report an error; the memory manager only fails to start when the system cannot tell its page size. */
static LLVMOrcObjectLayerRef create_jitlink_layer(void *context, LLVMOrcExecutionSessionRef session, const char *triple) {
  (void)context, (void)triple;
  LLVMOrcObjectLayerRef layer = NULL;
  LLVMErrorRef failure = LLVMOrcCreateObjectLinkingLayerWithInProcessMemoryManager(&layer, session);
  if (failure) LLVMCantFail(failure);
  return layer;
}

/* What LLVM calls where x86-64 has no instruction. It counts iterations of 64-bit loops in 128 bits. */
__extension__ typedef __int128 i128;
i128 __divti3(i128 a, i128 b);
i128 __modti3(i128 a, i128 b);
__extension__ unsigned __int128 __udivti3(unsigned __int128 a, unsigned __int128 b);
__extension__ unsigned __int128 __umodti3(unsigned __int128 a, unsigned __int128 b);

static LLVMErrorRef define_arithmetic(LLVMOrcLLJITRef jit) {
  static const struct {
    const char *name;
    void (*function)(void);
  } rows[] = {
      {"__divti3", (void (*)(void))__divti3},
      {"__modti3", (void (*)(void))__modti3},
      {"__udivti3", (void (*)(void))__udivti3},
      {"__umodti3", (void (*)(void))__umodti3},
  };
  enum { N = sizeof rows / sizeof *rows };
  LLVMOrcCSymbolMapPair symbols[N];
  for (size_t i = 0; i < N; i++) {
    symbols[i].Name = LLVMOrcLLJITMangleAndIntern(jit, rows[i].name);
    symbols[i].Sym.Address = (LLVMOrcExecutorAddress)(uintptr_t)rows[i].function;
    symbols[i].Sym.Flags = (LLVMJITSymbolFlags){LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0};
  }
  return LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit), LLVMOrcAbsoluteSymbols(symbols, N)); /* consumes the names */
}

/* Told the machine, ORC does not look for the host's features, which takes long under a hypervisor. */
static LLVMOrcLLJITRef create_jit(struct gw_error *err) {
  LLVMTargetMachineRef machine = machine_create(0, err);
  if (!machine) return NULL;
  LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
  LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(builder, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(machine));
  LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(builder, create_jitlink_layer, NULL);
  LLVMOrcLLJITRef jit = NULL;
  LLVMErrorRef failure = LLVMOrcCreateLLJIT(&jit, builder); /* consumes the builder, as that did the machine */
  if (!failure) failure = define_arithmetic(jit);
  if (failure) fail(err, "cannot start the linker", failure);
  return failure ? NULL : jit;
}

static LLVMOrcLLJITRef the_jit(struct gw_error *err) {
  pthread_mutex_lock(&linker.lock);
  if (!linker.jit) linker.jit = create_jit(err);
  LLVMOrcLLJITRef jit = linker.jit;
  pthread_mutex_unlock(&linker.lock);
  return jit;
}

struct linked *link_object(LLVMMemoryBufferRef object, const char *symbol, const void **address, struct gw_error *err) {
  LLVMOrcLLJITRef jit = the_jit(err);
  if (!jit) {
    LLVMDisposeMemoryBuffer(object);
    return NULL;
  }
  struct linked *linked = malloc(sizeof *linked);
  if (!linked) abort();
  linked->tracker = LLVMOrcJITDylibCreateResourceTracker(LLVMOrcLLJITGetMainJITDylib(jit));
  LLVMErrorRef failure = LLVMOrcLLJITAddObjectFileWithRT(jit, linked->tracker, object);
  LLVMOrcExecutorAddress at = 0;
  if (!failure) failure = LLVMOrcLLJITLookup(jit, &at, symbol);
  if (failure) {
    fail(err, "cannot link compiled code", failure);
    link_release(linked);
    return NULL;
  }
  *address = (const void *)(uintptr_t)at;
  return linked;
}

void link_release(struct linked *linked) {
  LLVMErrorRef failure = LLVMOrcResourceTrackerRemove(linked->tracker);
  if (failure) LLVMConsumeError(failure);
  LLVMOrcReleaseResourceTracker(linked->tracker);
  free(linked);
}
