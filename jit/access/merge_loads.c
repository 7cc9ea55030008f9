/* Guest loads that read the same, made one.
 *
 * Two loads of one address are one load as soon as LLVM may take them for plain, and then more is the same: x - x is 0, and of
 * two stores through a pointer that was read twice only the last counts. What jit/access/relax_loads.c takes for the need of a
 * value is then gone, and the value's load with it. So all of that is found before it looks, and in a way that loses no trap.
 *
 * For a while all loads are plain, and each value is given whole to a function of which LLVM knows nothing but that it leaves the
 * guest's memory alone. A load that nobody else uses stays for that. One that goes has its value from a load or a store on the
 * way to it, of the same bytes: that would have trapped first. Behind it, what was read is volatile again. */
#include "jit/access/access.h"
#include "frontend/lower/values.h"
#include "instrument/marker.h"

#include <string.h>

static const char USE[] = "gw.use";

/* Calls neither read nor write what LLVM knows of, and come back. */
static const struct {
  const char *name;
  uint64_t value;
} spares_memory[] = {{"memory", 3 << 2 /* inaccessiblemem: readwrite */}, {"nounwind", 0}, {"willreturn", 0}};

static void set_spares_memory(LLVMValueRef func, bool on) {
  for (size_t i = 0; i < sizeof spares_memory / sizeof *spares_memory; i++) {
    unsigned kind = LLVMGetEnumAttributeKindForName(spares_memory[i].name, strlen(spares_memory[i].name));
    LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(func));
    if (on)
      LLVMAddAttributeAtIndex(func, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, kind, spares_memory[i].value));
    else
      LLVMRemoveEnumAttributeAtIndex(func, LLVMAttributeFunctionIndex, kind);
  }
}

/* Charges do the same for a while. */
static void set_charges(LLVMModuleRef module, bool on) {
  static const char *const names[] = {GAS_CHARGE, GAS_CHARGE_CHECK};
  for (int i = 0; i < 2; i++) set_spares_memory(LLVMGetNamedFunction(module, names[i]), on);
}

static void use(LLVMBuilderRef builder, LLVMTypeRef type, LLVMValueRef func, LLVMValueRef load) {
  LLVMSetVolatile(load, false);
  LLVMPositionBuilderBefore(builder, LLVMGetNextInstruction(load));
  LLVMBuildCall2(builder, type, func, &load, 1, "");
}

void access_hold_loads(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), NULL, 0, true);
  LLVMValueRef func = LLVMAddFunction(module, USE, type);
  set_spares_memory(func, true);
  set_charges(module, true);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (value_is_guest_load(v)) use(builder, type, func, v);
  LLVMDisposeBuilder(builder);
}

void access_release_loads(LLVMModuleRef module) {
  LLVMValueRef func = LLVMGetNamedFunction(module, USE);
  for (LLVMUseRef at; (at = LLVMGetFirstUse(func));) LLVMInstructionEraseFromParent(LLVMGetUser(at));
  LLVMDeleteFunction(func);
  set_charges(module, false);
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (value_is_guest_load(v)) LLVMSetVolatile(v, true);
}
