/* Offsets in struct exec_ctx (abi/abi.h) for assembly. */
#ifndef ABI_EXEC_OFFSET_H
#define ABI_EXEC_OFFSET_H

#define EXEC_EXHAUSTED 16
#define EXEC_SELF 24

#endif
