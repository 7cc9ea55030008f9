/* Which invocation of a loop gets the next slice: deficit round robin in gas over flows (essay in fair.c). */
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
void fair_queue_remove(struct waiter_queue *queue, struct waiter *waiter);

/* Those who share what one of them may use: the invocations of one function. All zero is an idle flow. */
struct flow {
  struct flow *next; /* in the list that it is in */
  struct waiter_queue ready;
  int64_t deficit; /* gas that it may use before others get their turn */
  bool is_listed;  /* must not be freed */
  bool is_fresh;   /* listed before the ring */
};

struct flow_list {
  struct flow *first, *last;
};

/* Of one loop, and of its thread. */
struct fair {
  struct flow_list fresh, ring;
  struct flow *turn; /* the first of the ring, when it has its quantum already */
  int64_t quantum;   /* gas of a turn */
};

/* `slice`: gas between two yields, 0 when there are none. */
void fair_init(struct fair *fair, uint64_t slice);
/* From now on another one. */
void fair_set_slice(struct fair *fair, uint64_t slice);
/* Whether an invocation of this flow may begin at once, before those that wait. */
bool fair_may_begin(const struct fair *fair, const struct flow *flow);
/* The invocation waits for a slice. */
void fair_push(struct fair *fair, struct flow *flow, struct waiter *waiter);
/* It no longer does. */
void fair_remove(struct flow *flow, struct waiter *waiter);
/* Takes out who is next; NULL: nobody waits, and no flow is listed any more. */
struct waiter *fair_next(struct fair *fair);
/* An invocation of the flow has run, and used so much gas. */
void fair_charge(struct fair *fair, struct flow *flow, uint64_t gas);

#endif
