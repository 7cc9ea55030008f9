/* Who shares a loop (fair.h): tenants, and the addresses that call each of their functions. Of the loop's thread. */
#ifndef SERVER_LOOP_SHARE_H
#define SERVER_LOOP_SHARE_H

#include "server/loop/fair.h"

#include <stddef.h>

struct loop;

/* Those who call a function, and are one to it: an address, or a network of IPv6. */
struct caller {
  struct flow flow; /* its invocations that wait for a slice */
  uint64_t key;
  uint32_t n_running; /* its invocations between begin and end */
  uint64_t burned;    /* what those have used so far: gas, or time as gas */
};

enum { SHARE_CALLERS = 64 /* of a function on a loop; where more come at once, some share a place */ };

/* What the functions of one tenant have in common on a loop. */
struct tenant {
  struct tenant *next;
  struct flow flow;
  struct fair functions;
  uint32_t n_running; /* its invocations between begin and end */
  uint32_t n_paused;  /* of them, those that take no place now */
  uint32_t n_pools;   /* which have it */
  char name[];
};

/* The tenant of this name, for a pool more. Whoever joins leaves. */
struct tenant *share_join(struct loop *loop, const char *name, size_t size);
void share_leave(struct tenant *tenant);
/* Frees those that nobody has, and that nobody waits behind; all that nobody has where the loop ends. */
void share_trim(struct loop *loop, bool is_last);

/* The place of a caller in the table of SHARE_CALLERS, which take turns in `turns`. It is the caller's as long as it has
 * something to run. */
struct caller *share_caller(struct caller *table, struct fair *turns, uint64_t key);

/* How long one more invocation would wait for those of its caller that wait, in milliseconds. Each of these will likely take
 * `usual`, which the last ones took, or what those under way have taken already, if that is more; and of the work that the loop
 * gets done in a microsecond, `rate`, the caller gets its part. */
uint64_t share_wait_ms(const struct caller *caller, uint64_t usual, uint64_t rate);

/* Whether one that has `own` of the places may have one more, of which `most` are for all and `taken` are taken: the more it has,
 * the more must be left to others. Alone it gets three quarters; with very few places all. */
bool share_allows(uint64_t own, uint64_t taken, uint64_t most);

/* What numeric addresses are told apart by: all of IPv4, and the network of 64 bits of IPv6. Any thread. */
uint64_t share_key(const void *address, unsigned size);
uint64_t share_key_of_text(const char *address);

#endif
