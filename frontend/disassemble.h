/* The text form of a module, from the opcode table: WebAssembly text with the byte offset of every instruction as a comment. */
#ifndef FRONTEND_DISASSEMBLE_H
#define FRONTEND_DISASSEMBLE_H

#include "base/buffer.h"
#include "frontend/instruction.h"

/* Appends the whole module, which must be valid. Custom sections are left out; names stand in comments. */
void disassemble_module(const struct module *m, struct buffer *out);

/* Appends one instruction with its immediates, without offset or line feed. */
void disassemble_instruction(const struct module *m, const struct instruction *in, struct buffer *out);

#endif
