/* Shared by the parts of the gas pass. */
#ifndef INSTRUMENT_METER_INTERNAL_H
#define INSTRUMENT_METER_INTERNAL_H

#include "abi/abi.h"
#include "base/arena.h"
#include "base/index_map.h"
#include "frontend/lower/ir.h"
#include "instrument/meter/meter.h"

/* A function's blocks by number, with what the pass wants to know of each. */
struct gas_block {
  LLVMBasicBlockRef block;
  uint32_t before, after; /* depth-first numbers: an edge to a block whose interval encloses the source's is a back edge */
  uint32_t member_of;     /* loop being collected, by its header's number + 1 */
};

struct gas_graph {
  struct arena arena;
  struct gas_block *blocks; /* [n], in depth-first order; the entry is 0 */
  uint32_t n;
  struct index_map numbers;
};

#define NO_BLOCK INDEX_NONE

/* All blocks that the entry reaches. `*g` is cleared by the caller. */
void gas_graph_build(struct gas_graph *g, LLVMValueRef func);
void gas_graph_clear(struct gas_graph *g);
/* NO_BLOCK for blocks that are unreachable or were made later. */
uint32_t gas_graph_find(const struct gas_graph *g, LLVMBasicBlockRef block);
bool gas_graph_is_back_edge(const struct gas_graph *g, uint32_t from, uint32_t to);

struct gas_pass {
  struct ir ir; /* types and accesses; has no Wasm module here */
  LLVMValueRef charge, charge_check;
  LLVMTypeRef charge_type;
  /* of the current function */
  LLVMValueRef func, counter;
  LLVMValueRef handed; /* the counter as calls hand it over (lower_handed), or NULL */
  struct {
    LLVMBasicBlockRef header;
    uint32_t worst; /* gas of all rounds (gas_iteration_work) */
  } * converted;    /* [n_converted]: loops that do not check gas in every round */
  uint32_t n_converted, converted_capacity;
  struct gas_graph graph;
};

bool gas_is_marker(const struct gas_pass *p, LLVMValueRef v);
uint64_t gas_marker_price(LLVMValueRef marker);
/* Whether a call may read or change exec->gas. */
bool gas_is_call(const struct gas_pass *p, LLVMValueRef v);
/* counter -= amount (i64), at the builder's position. */
void gas_subtract(struct gas_pass *p, LLVMValueRef amount);
/* The same, and calls the runtime if nothing is left. */
void gas_build_check(struct gas_pass *p, LLVMValueRef amount);

/* Pays the function's counted loops in chunks (instrument/meter/loop.c); what it converted has no check marker any more. */
void gas_convert_loops(struct gas_pass *p);

/* Moves markers down to where paths part (instrument/meter/sink.c). */
void gas_sink_markers(struct gas_pass *p);
/* A direct call of a function that checks the counter itself. */
bool gas_is_checking_call(const struct gas_pass *p, LLVMValueRef v);

bool gas_checks_at_entry(LLVMValueRef func);

/* Puts gas checks where too much work would lie between two (instrument/meter/check.c). */
void gas_bound_latency(struct gas_pass *p);
/* While markers are still there: makes sure of that in another way (instrument/meter/verify.c). */
bool gas_verify_latency(struct gas_pass *p, struct gw_error *err);

/* Phis at `to` take what came from `old` from `new`. LLVM's C interface cannot change a source, so they are made anew. */
void gas_replace_sources(struct gas_pass *p, LLVMBasicBlockRef to, LLVMBasicBlockRef old, LLVMBasicBlockRef new);

/* A call of a Wasm function, where those hand the counter over. */
bool gas_is_handing_call(const struct gas_pass *p, LLVMValueRef v);
/* Writes the counter back where somebody may look and it has changed, and takes it anew after calls (instrument/meter/spill.c).
 */
void gas_spill_counter(struct gas_pass *p);

#endif
