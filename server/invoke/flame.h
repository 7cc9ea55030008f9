/* Where an invocation's gas goes: it runs in the precise tier with a watch at every instruction, and each piece of gas is put
 * down to the calls that are under way. Exact, and many times slower; what it writes is dropped. */
#ifndef SERVER_INVOKE_FLAME_H
#define SERVER_INVOKE_FLAME_H

#include "base/buffer.h"
#include "gasworks.h"

#include <stdbool.h>

struct function;
struct flame;

/* FLAME_GAS: the most that such an invocation may use, as each instruction costs a call. FLAME_MOST: of a process, at one time,
 * as their memory is counted with nobody's. */
enum { FLAME_GAS = 200000000, FLAME_MOST = 2 };

/* Whether one more would be made just now: to ask before the work for it. */
bool flame_may_begin(void);
/* Takes over a reference to the function, which is of an engine that watches. NULL, and nothing taken: too many are under way. */
struct flame *flame_create(struct gw_engine *engine, struct function *function);
void flame_destroy(struct flame *flame); /* NULL: nothing */
struct gw_engine *flame_engine(const struct flame *flame);
struct function *flame_function(const struct flame *flame);

/* A run begins from the beginning: what was put down before is forgotten. */
void flame_begin(struct flame *flame, struct gw_store *store);
/* `gas`: of the run; what was not put down to calls is put down to "(outside)". Appends folded stacks, "a;b;c GAS" a line. */
void flame_print(struct flame *flame, uint64_t gas, struct buffer *out);

#endif
