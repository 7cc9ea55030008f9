/* Flows share a loop by gas, however many invocations each has: the flow at the front of the ring runs slices until the quantum
 * of its turn is used up, then goes to the end; what it used beyond is taken off its next turn.
 *
 * A flow that was idle comes before the ring until its first quantum is used up, so a function that uses little never waits
 * for more than the slice that runs, whatever others do. It stays listed for one round, also when nobody of it waits: one that
 * comes and goes does not get more than one that stays. */
#include "server/fair.h"

#include "server/invoke.h"

#include <stddef.h>

enum { MAX_QUANTA_OWED = 64, QUANTUM_SLICES = 4 };

#define MAX_QUANTUM (INT64_MAX / MAX_QUANTA_OWED / 4)

void fair_init(struct fair *fair, uint64_t slice) {
  bool is_limited = slice > 0 && slice < MAX_QUANTUM / QUANTUM_SLICES;
  *fair = (struct fair){.quantum = is_limited ? (int64_t)slice * QUANTUM_SLICES : MAX_QUANTUM};
}

void queue_push(struct invocation_queue *queue, struct invocation *inv) {
  inv->next = NULL;
  if (queue->last)
    queue->last->next = inv;
  else
    queue->first = inv;
  queue->last = inv;
}

struct invocation *queue_pop(struct invocation_queue *queue) {
  struct invocation *inv = queue->first;
  if (!inv) return NULL;
  queue->first = inv->next;
  if (!queue->first) queue->last = NULL;
  return inv;
}

void queue_remove(struct invocation_queue *queue, struct invocation *inv) {
  struct invocation *previous = NULL;
  for (struct invocation *i = queue->first; i; previous = i, i = i->next) {
    if (i != inv) continue;
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

static void drop_first(struct flow_list *list) {
  list->first = list->first->next;
  if (!list->first) list->last = NULL;
}

static void enter(struct fair *fair, struct flow *flow) {
  if (flow->is_listed) return;
  flow->is_listed = true;
  flow->deficit = fair->quantum;
  append(&fair->fresh, flow);
}

bool fair_may_begin(const struct fair *fair, const struct flow *flow) {
  bool is_alone = !fair->fresh.first && !fair->ring.first;
  return is_alone || !flow->is_listed || (flow->deficit > 0 && !flow->ready.first);
}

void fair_push(struct fair *fair, struct flow *flow, struct invocation *inv) {
  enter(fair, flow);
  queue_push(&flow->ready, inv);
}

void fair_remove(struct flow *flow, struct invocation *inv) { queue_remove(&flow->ready, inv); }

struct invocation *fair_next(struct fair *fair) {
  for (;;) {
    struct flow_list *list = fair->fresh.first ? &fair->fresh : &fair->ring;
    struct flow *flow = list->first;
    if (!flow) return NULL;
    if (flow->ready.first && flow->deficit > 0) return queue_pop(&flow->ready);
    drop_first(list);
    if (list == &fair->ring && !flow->ready.first) {
      flow->is_listed = false;
      continue;
    }
    if (flow->deficit <= 0) flow->deficit += fair->quantum;
    append(&fair->ring, flow);
  }
}

void fair_charge(struct fair *fair, struct flow *flow, uint64_t gas) {
  int64_t least = -MAX_QUANTA_OWED * fair->quantum;
  bool is_alone = !fair->fresh.first && !fair->ring.first;
  if (is_alone) return;
  enter(fair, flow);
  int64_t left = gas > INT64_MAX / 2 ? least : flow->deficit - (int64_t)gas;
  flow->deficit = left < least ? least : left;
}
