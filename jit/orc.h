/* LLVM's ORC behind a face in C: object files become code in this process. */
#ifndef JIT_ORC_H
#define JIT_ORC_H

#include <llvm-c/Types.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct orc_module;

/* Who is told where things lie, during orc_load: every global function, and the code of each object as one piece. */
struct orc_listener {
  void *env;
  void (*symbol)(void *env, const char *name, void *at);
  void (*code)(void *env, void *at, size_t size);
  /* What a symbol is called in a jitdump: NUL-terminated, in `out`. NULL: no jitdump is written. */
  void (*title)(void *env, const char *name, char *out, size_t size);
};

/* Links the objects with each other and with nothing else. gdb is told of those with debug information. NULL with a sentence in
 * `error` that the caller frees. The objects stay the caller's, and are not needed afterwards. Thread-safe. */
struct orc_module *orc_load(const LLVMMemoryBufferRef *objects, uint32_t n, const struct orc_listener *listener, char **error);

/* Gives the code's memory back. Nothing may run in it any more. Thread-safe. */
void orc_unload(struct orc_module *module);

#ifdef __cplusplus
}
#endif

#endif
