/* Which CPU this is, as far as compiled code cares. */
#ifndef JIT_ARTIFACT_CPU_H
#define JIT_ARTIFACT_CPU_H

#include <stdbool.h>
#include <stddef.h>

/* "host-" and a digest of all features that this machine's CPU has and the kernel lets programs use. Thread-safe. */
void cpu_host_name(char *out, size_t size);

/* The levels of the x86-64 psABI that code can be compiled for: "x86-64-v2" to "x86-64-v4". */
bool cpu_is_known(const char *name);
/* Whether this machine runs code for a known one. */
bool cpu_runs(const char *name);

#endif
