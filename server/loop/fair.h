/* Which invocation of a loop gets the next slice: deficit round robin in gas over flows, and over flows inside
 * of each (essay in fair.c). */
#ifndef SERVER_LOOP_FAIR_H
#define SERVER_LOOP_FAIR_H

#include <stdbool.h>
#include <stdint.h>

/* What can wait: the first member of an invocation, in one queue at a time. */
struct waiter {
  struct waiter *next;
};

struct waiter_queue {
  struct waiter *first, *last;
};

void fair_queue_push(struct waiter_queue *queue, struct waiter *waiter);
struct waiter *fair_queue_pop(struct waiter_queue *queue);
/* False: it is not there. */
bool fair_queue_remove(struct waiter_queue *queue, struct waiter *waiter);

struct flow;

struct flow_list {
  struct flow *first, *last;
};

/* Flows that take turns with one another: of one loop, or inside of a flow, whose turns they share. All zero has none. */
struct fair {
  struct flow *owner; /* whose inside it is; NULL: the loop's */
  struct flow_list fresh, ring;
  struct flow *turn; /* the first of the ring, when it has its quantum already */
  uint32_t n_busy;   /* flows in which somebody waits */
  int64_t quantum;   /* gas of a turn, at all depths; of the loop's alone */
};

/* Those who share what one of them may use. All zero but for fair_join is an idle flow. */
struct flow {
  struct flow *next;   /* in the list that it is in */
  struct fair *of;     /* with whom it takes turns */
  struct fair *inside; /* of flows that it consists of; NULL: invocations wait in it */
  struct waiter_queue ready;
  uint32_t n_ready; /* those who wait in it, and in flows inside */
  int64_t deficit;  /* gas that it may use before others get their turn */
  bool is_listed;   /* must not be freed */
  bool is_fresh;    /* listed before the ring */
};

/* Of one loop, and of its thread. `slice`: gas between two yields, 0 when there are none. */
void fair_init(struct fair *loops, uint64_t slice);
/* From now on another one. */
void fair_set_slice(struct fair *loops, uint64_t slice);
/* The idle flow takes turns with those of `of`; `inside` (NULL: nothing) is for those that it will consist of. */
void fair_join(struct flow *flow, struct fair *of, struct fair *inside);

/* For flows that invocations wait in. */

/* Whether an invocation of this flow may begin at once, before those that wait. */
bool fair_may_begin(const struct fair *loops, const struct flow *flow);
/* The invocation waits for a slice. */
void fair_push(struct fair *loops, struct flow *flow, struct waiter *waiter);
/* It no longer does. */
void fair_remove(struct flow *flow, struct waiter *waiter);
/* Takes out who is next; NULL: nobody waits, and no flow is listed any more. */
struct waiter *fair_next(struct fair *loops);
/* An invocation of the flow has run, and used so much gas. */
void fair_charge(struct fair *loops, struct flow *flow, uint64_t gas);
/* Among how many the loop is shared, as the flow sees it: it gets one part of so many, itself among them. */
uint64_t fair_parts(const struct flow *flow);

#endif
