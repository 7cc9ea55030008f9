/* The calls that led to a trap, as the command line, replies and the server's log show them. */
#ifndef SERVER_INVOKE_BACKTRACE_H
#define SERVER_INVOKE_BACKTRACE_H

#include "base/buffer.h"
#include "runtime/precise/precise.h"

/* Appends a line for each call, innermost first, after a trap in a store of the precise tier and before that runs anything else:
 *   "   0: FUNCTION at byte 0xOFFSET, FILE:LINE:COLUMN", then "      inlined into FUNCTION, FILE:LINE:COLUMN"
 * where the module has debug information; the bare name and offset where not. Before them, where a library trapped:
 *   "  your code: FUNCTION, FILE:LINE:COLUMN", the innermost place that is in none. */
void backtrace_append(const struct gw_store *store, struct buffer *out);

/* The trap of a store that told its loop without the byte where it was (report_briefly): with it. On any thread, as above. */
void backtrace_complete(const struct gw_store *store, struct gw_error *err);

/* Appends ", FILE:LINE:COLUMN" of the instruction at a place, or nothing where that is not known. */
void backtrace_append_source(const struct precise_place *place, struct buffer *out);

#endif
