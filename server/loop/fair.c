/* Flows share a loop by gas, however many invocations each has: the flow at the front of the ring runs slices until the quantum
 * of its turn is used up, then goes to the end; what it used beyond is taken off its next turn.
 *
 * A flow that was idle comes before the ring until its quantum is used up, so a function that uses less than its share never
 * waits for more than the slice that runs, whatever others do. One that goes idle before keeps the rest: it stays in the ring,
 * and comes before it again when it becomes ready. The ring gives it a new quantum once a round, not more than one: who comes and
 * goes gets no more than who stays.
 *
 * Gas is not all that a turn of the loop costs: an invocation of fifty instructions takes it as long as 100,000 gas, for reading
 * a request and replying. Each charge has that on top, or a quantum of such would last a second.
 *
 * Flows may consist of flows, to any depth: a loop is shared by tenants, what a tenant gets by its functions, and what a function
 * gets by the addresses that call it (share.h). Each depth is as above, by itself. So it does not help to have more
 * functions, or more connections. */
#include "server/loop/fair.h"

#include <stddef.h>

enum { MAX_QUANTA_OWED = 64, QUANTUM_SLICES = 4, CHARGES_OF_QUANTUM = 200 /* as many end it, however little they are */ };

#define MAX_QUANTUM (INT64_MAX / MAX_QUANTA_OWED / 4)

void fair_init(struct fair *loops, uint64_t slice) {
  *loops = (struct fair){0};
  fair_set_slice(loops, slice);
}

void fair_set_slice(struct fair *loops, uint64_t slice) {
  bool is_limited = slice > 0 && slice < MAX_QUANTUM / QUANTUM_SLICES;
  loops->quantum = is_limited ? (int64_t)slice * QUANTUM_SLICES : MAX_QUANTUM;
}

void fair_join(struct flow *flow, struct fair *of, struct fair *inside) {
  *flow = (struct flow){.of = of, .inside = inside};
  if (inside) *inside = (struct fair){.owner = flow};
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

bool fair_queue_remove(struct waiter_queue *queue, struct waiter *waiter) {
  struct waiter *previous = NULL;
  for (struct waiter *i = queue->first; i; previous = i, i = i->next) {
    if (i != waiter) continue;
    if (previous)
      previous->next = i->next;
    else
      queue->first = i->next;
    if (queue->last == i) queue->last = previous;
    return true;
  }
  return false;
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

/* The one that it is inside of, or NULL. */
static struct flow *above(const struct flow *flow) { return flow->of->owner; }

static bool is_alone(const struct fair *fair) { return !fair->fresh.first && !fair->ring.first; }

static void enter(struct flow *flow, int64_t quantum) {
  if (flow->is_listed) return;
  flow->is_listed = flow->is_fresh = true;
  flow->deficit = quantum;
  append(&flow->of->fresh, flow);
}

/* Something of its last quantum is left, and it is not its turn. */
static void come_again(struct flow *flow) {
  struct fair *fair = flow->of;
  if (flow->is_fresh || flow->n_ready || flow->deficit <= 0 || flow == fair->turn) return;
  flow->is_fresh = true;
  drop(&fair->ring, flow);
  append(&fair->fresh, flow);
}

/* Where flows inside have something that waits, and it has some of its quantum, it is its turn, or the next one is. */
static bool comes_first(const struct flow *flow) {
  return is_alone(flow->of) || !flow->is_listed || (flow->deficit > 0 && (flow->inside || !flow->n_ready));
}

bool fair_may_begin(const struct fair *loops, const struct flow *flow) {
  if (is_alone(loops)) return true;
  for (; flow; flow = above(flow))
    if (!comes_first(flow)) return false;
  return true;
}

void fair_push(struct fair *loops, struct flow *flow, struct waiter *waiter) {
  fair_queue_push(&flow->ready, waiter);
  for (; flow; flow = above(flow)) {
    enter(flow, loops->quantum);
    come_again(flow);
    flow->of->n_busy += !flow->n_ready++;
  }
}

static void count_out(struct flow *flow) { flow->of->n_busy -= !--flow->n_ready; }

void fair_remove(struct flow *flow, struct waiter *waiter) {
  if (!fair_queue_remove(&flow->ready, waiter)) return;
  for (; flow; flow = above(flow)) count_out(flow);
}

static bool is_runnable(const struct flow *flow) { return flow->n_ready && flow->deficit > 0; }

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

static void forget_all(struct flow *first);

/* It is idle, and what it and those inside owe is forgotten. */
static void forget(struct flow *flow) {
  struct fair *inside = flow->inside;
  flow->is_listed = flow->is_fresh = false;
  if (!inside) return;
  forget_all(inside->fresh.first);
  forget_all(inside->ring.first);
  inside->fresh = inside->ring = (struct flow_list){0};
  inside->turn = NULL;
}

static void forget_all(struct flow *first) {
  for (struct flow *flow = first, *next; flow; flow = next) {
    next = flow->next;
    forget(flow);
  }
}

/* Whose turn it is. One that owes more than a quantum lets its turn pass, one that is idle when it comes is forgotten. */
static struct flow *next_in_ring(struct fair *fair, int64_t quantum) {
  struct flow *flow;
  while ((flow = fair->ring.first)) {
    bool has_begun = flow == fair->turn;
    if (!has_begun && flow->deficit <= 0) flow->deficit += quantum;
    fair->turn = flow;
    if (is_runnable(flow)) return flow;
    fair->turn = NULL;
    drop(&fair->ring, flow);
    if (flow->deficit > 0 && !has_begun)
      forget(flow);
    else
      append(&fair->ring, flow);
  }
  return NULL;
}

struct waiter *fair_next(struct fair *loops) {
  struct waiter *waiter = NULL;
  for (struct fair *fair = loops; fair && !waiter;) {
    struct flow *flow = next_fresh(fair);
    if (!flow) flow = next_in_ring(fair, loops->quantum);
    if (!flow) return NULL;
    if (!flow->inside) waiter = fair_queue_pop(&flow->ready);
    count_out(flow);
    fair = flow->inside;
  }
  return waiter;
}

static void charge(struct flow *flow, uint64_t gas, int64_t quantum) {
  int64_t least = -MAX_QUANTA_OWED * quantum;
  if (is_alone(flow->of)) return;
  enter(flow, quantum);
  int64_t left = gas > INT64_MAX / 2 ? least : flow->deficit - (int64_t)gas - quantum / CHARGES_OF_QUANTUM;
  flow->deficit = left < least ? least : left;
}

void fair_charge(struct fair *loops, struct flow *flow, uint64_t gas) {
  if (is_alone(loops)) return;
  for (; flow; flow = above(flow)) charge(flow, gas, loops->quantum);
}

uint64_t fair_parts(const struct flow *flow) {
  uint64_t parts = 1;
  for (; flow; flow = above(flow)) parts *= flow->of->n_busy + !flow->n_ready;
  return parts;
}
