/* Flows share a loop by gas, however many invocations each has: the flow at the front of the ring runs slices until the quantum
 * of its turn is used up, then goes to the end; what it used beyond is taken off its next turn.
 *
 * A flow that was idle comes before the ring until its quantum is used up, so a function that uses less than its share never
 * waits for more than the slice that runs, whatever others do. One that goes idle before keeps the rest: it stays in the ring,
 * and comes before it again when it becomes ready. The ring gives it a new quantum once a round, not more than one: who comes and
 * goes gets no more than who stays.
 *
 * Gas is not all that a turn of the loop costs: an invocation of fifty instructions takes it as long as 100,000 gas, for reading
 * a request and replying. Each charge has that on top, or a quantum of such would last a second. */
#include "server/loop/fair.h"

#include <stddef.h>

enum { MAX_QUANTA_OWED = 64, QUANTUM_SLICES = 4, CHARGES_OF_QUANTUM = 200 /* as many end it, however little they are */ };

#define MAX_QUANTUM (INT64_MAX / MAX_QUANTA_OWED / 4)

void fair_init(struct fair *fair, uint64_t slice) {
  *fair = (struct fair){0};
  fair_set_slice(fair, slice);
}

void fair_set_slice(struct fair *fair, uint64_t slice) {
  bool is_limited = slice > 0 && slice < MAX_QUANTUM / QUANTUM_SLICES;
  fair->quantum = is_limited ? (int64_t)slice * QUANTUM_SLICES : MAX_QUANTUM;
}

void fair_queue_push(struct waiter_queue *queue, struct waiter *waiter) {
  waiter->next = NULL;
  if (queue->last)
    queue->last->next = waiter;
  else
    queue->first = waiter;
  queue->last = waiter;
}

struct waiter *fair_queue_pop(struct waiter_queue *queue) {
  struct waiter *waiter = queue->first;
  if (!waiter) return NULL;
  queue->first = waiter->next;
  if (!queue->first) queue->last = NULL;
  return waiter;
}

void fair_queue_remove(struct waiter_queue *queue, struct waiter *waiter) {
  struct waiter *previous = NULL;
  for (struct waiter *i = queue->first; i; previous = i, i = i->next) {
    if (i != waiter) continue;
    if (previous)
      previous->next = i->next;
    else
      queue->first = i->next;
    if (queue->last == i) queue->last = previous;
    return;
  }
}

static void append(struct flow_list *list, struct flow *flow) {
  flow->next = NULL;
  if (list->last)
    list->last->next = flow;
  else
    list->first = flow;
  list->last = flow;
}

static void drop(struct flow_list *list, struct flow *flow) {
  struct flow *previous = NULL;
  for (struct flow *f = list->first; f != flow; f = f->next) previous = f;
  if (previous)
    previous->next = flow->next;
  else
    list->first = flow->next;
  if (list->last == flow) list->last = previous;
}

static void enter(struct fair *fair, struct flow *flow) {
  if (flow->is_listed) return;
  flow->is_listed = flow->is_fresh = true;
  flow->deficit = fair->quantum;
  append(&fair->fresh, flow);
}

/* Something of its last quantum is left, and it is not its turn. */
static void come_again(struct fair *fair, struct flow *flow) {
  if (flow->is_fresh || flow->ready.first || flow->deficit <= 0 || flow == fair->turn) return;
  flow->is_fresh = true;
  drop(&fair->ring, flow);
  append(&fair->fresh, flow);
}

bool fair_may_begin(const struct fair *fair, const struct flow *flow) {
  bool is_alone = !fair->fresh.first && !fair->ring.first;
  return is_alone || !flow->is_listed || (flow->deficit > 0 && !flow->ready.first);
}

void fair_push(struct fair *fair, struct flow *flow, struct waiter *waiter) {
  enter(fair, flow);
  come_again(fair, flow);
  fair_queue_push(&flow->ready, waiter);
}

void fair_remove(struct flow *flow, struct waiter *waiter) { fair_queue_remove(&flow->ready, waiter); }

static bool is_runnable(const struct flow *flow) { return flow->ready.first && flow->deficit > 0; }

/* The first one that may run of those that come before the ring. */
static struct flow *next_fresh(struct fair *fair) {
  struct flow *flow;
  while ((flow = fair->fresh.first) && !is_runnable(flow)) {
    drop(&fair->fresh, flow);
    flow->is_fresh = false;
    append(&fair->ring, flow);
  }
  return flow;
}

/* Whose turn it is. One that owes more than a quantum lets its turn pass, one that is idle when it comes is forgotten. */
static struct flow *next_in_ring(struct fair *fair) {
  struct flow *flow;
  while ((flow = fair->ring.first)) {
    bool has_begun = flow == fair->turn;
    if (!has_begun && flow->deficit <= 0) flow->deficit += fair->quantum;
    fair->turn = flow;
    if (is_runnable(flow)) return flow;
    fair->turn = NULL;
    drop(&fair->ring, flow);
    if (flow->deficit > 0 && !has_begun)
      flow->is_listed = false;
    else
      append(&fair->ring, flow);
  }
  return NULL;
}

struct waiter *fair_next(struct fair *fair) {
  struct flow *flow = next_fresh(fair);
  if (!flow) flow = next_in_ring(fair);
  return flow ? fair_queue_pop(&flow->ready) : NULL;
}

void fair_charge(struct fair *fair, struct flow *flow, uint64_t gas) {
  int64_t least = -MAX_QUANTA_OWED * fair->quantum;
  bool is_alone = !fair->fresh.first && !fair->ring.first;
  if (is_alone) return;
  enter(fair, flow);
  int64_t left = gas > INT64_MAX / 2 ? least : flow->deficit - (int64_t)gas - fair->quantum / CHARGES_OF_QUANTUM;
  flow->deficit = left < least ? least : left;
}
