/* Offsets in struct exec_ctx (base/abi.h) for assembly. */
#ifndef BASE_EXEC_OFFSET_H
#define BASE_EXEC_OFFSET_H

#define EXEC_EXHAUSTED 16
#define EXEC_SELF 24

#endif
