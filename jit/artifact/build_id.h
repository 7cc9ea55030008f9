/* What machine code that was made elsewhere must have been made by: a digest of the sources that decide about code, and of LLVM's
 * version (jit/artifact/build_id.cmake). */
#ifndef JIT_ARTIFACT_BUILD_ID_H
#define JIT_ARTIFACT_BUILD_ID_H

#include "base/digest.h"

extern const struct digest gasworks_build_id;

#endif
