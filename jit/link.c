#include "jit/link.h"

#include "base/error.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/OrcEE.h>

#include <stdlib.h>

/* A session per module: its end frees everything that linking allocated. */
struct linked {
  LLVMOrcLLJITRef jit;
};

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

static LLVMOrcLLJITRef create_jit(struct gw_error *err) {
  LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
  LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(builder, create_jitlink_layer, NULL);
  LLVMOrcLLJITRef jit = NULL;
  LLVMErrorRef failure = LLVMOrcCreateLLJIT(&jit, builder); /* consumes the builder */
  if (failure) fail(err, "cannot start the linker", failure);
  return failure ? NULL : jit;
}

struct linked *link_object(LLVMMemoryBufferRef object, const char *symbol, const void **address, struct gw_error *err) {
  LLVMOrcLLJITRef jit = create_jit(err);
  if (!jit) {
    LLVMDisposeMemoryBuffer(object);
    return NULL;
  }
  LLVMErrorRef failure = LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), object);
  LLVMOrcExecutorAddress at = 0;
  if (!failure) failure = LLVMOrcLLJITLookup(jit, &at, symbol);
  struct linked *linked = failure ? NULL : malloc(sizeof *linked);
  if (!linked) {
    if (failure) fail(err, "cannot link compiled code", failure);
    failure = LLVMOrcDisposeLLJIT(jit);
    if (failure) LLVMConsumeError(failure);
    return NULL;
  }
  linked->jit = jit;
  *address = (const void *)(uintptr_t)at;
  return linked;
}

void link_release(struct linked *linked) {
  LLVMErrorRef failure = LLVMOrcDisposeLLJIT(linked->jit);
  if (failure) LLVMConsumeError(failure);
  free(linked);
}
