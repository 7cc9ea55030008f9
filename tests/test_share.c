/* Who shares a loop, in a time of our own: what a loop does with its requests is done here with its own parts (fair.c, share.c,
 * rate.c), and only the work is made up. So what overload does to others does not depend on the machine. */
#include "base/array.h"
#include "base/heap.h"
#include "server/loop/loop.h"
#include "server/loop/rate.h"
#include "server/loop/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

enum { GAS_PER_NS = 10, SLICE_NS = 500000, BEGIN_NS = 20000, REFUSE_NS = 15000, MAX_FUNCTIONS = 4, MAX_WAIT_MS = 100 };

/* A function, and those who call it from one address: every `period` a request, or as many connections as are open, each with its
 * next request when it has its answer. */
struct function_of {
  const char *tenant;
  struct tenant *of;
  struct flow flow;
  struct fair turns;
  struct caller callers[SHARE_CALLERS];
  uint64_t usual;
};

struct source {
  int function;
  uint64_t key, work_ns, period, next;
  uint32_t n_connections;
  uint32_t n_free; /* of those */
  uint64_t retry;  /* when a refused one comes again */
  uint32_t n_done, n_refused;
  uint64_t *took; /* nanoseconds of each that is done */
  size_t capacity, n_took;
};

struct job {
  struct waiter waiter;
  struct source *source;
  struct caller *caller;
  uint64_t left, began;
};

static struct loop *loop;
static uint64_t now, busy_from;
static double slowness; /* how much of the machine others take: 2 is half */
static struct function_of functions[MAX_FUNCTIONS];

static int begin(void **state) {
  (void)state;
  loop = heap_new(1, sizeof *loop);
  fair_init(&loop->fair, SLICE_NS * GAS_PER_NS);
  now = 3600 * 1000 * MS;
  busy_from = 0;
  slowness = 1;
  memset(functions, 0, sizeof functions);
  return 0;
}

static int end(void **state) {
  (void)state;
  for (int i = 0; i < MAX_FUNCTIONS; i++)
    if (functions[i].of) share_leave(functions[i].of);
  share_trim(loop, true);
  for (int i = 0; i < TENANT_BUCKETS; i++) assert_null(loop->tenants[i]);
  free(loop);
  return 0;
}

static void deploy(int i, const char *full_name) {
  functions[i].of = share_join(loop, full_name, strcspn(full_name, "/"));
  fair_join(&functions[i].flow, &functions[i].of->functions, &functions[i].turns);
}

static void spend(uint64_t ns) { now += (uint64_t)((double)ns * slowness); }

static void finish(struct job *job) {
  struct source *s = job->source;
  struct function_of *f = &functions[s->function];
  uint64_t work = s->work_ns * GAS_PER_NS;
  f->usual = f->usual ? f->usual - f->usual / 8 + work / 8 : work;
  job->caller->n_running--;
  job->caller->burned -= work;
  if (s->n_took == s->capacity) array_grow(s->took, s->capacity, 64);
  s->took[s->n_took++] = now - job->began;
  s->n_done++;
  s->n_free++;
  free(job);
}

static void run(struct job *job) {
  uint64_t from = busy_from ? busy_from : now, ns = job->left < SLICE_NS ? job->left : SLICE_NS;
  spend(ns);
  fair_charge(&loop->fair, &job->caller->flow, ns * GAS_PER_NS);
  job->caller->burned += ns * GAS_PER_NS;
  job->left -= ns;
  rate_add(&loop->rate, ns * GAS_PER_NS, now - from, now);
  if (!job->left)
    finish(job);
  else
    fair_push(&loop->fair, &job->caller->flow, &job->waiter);
  busy_from = loop->fair.n_busy ? now : 0;
}

static void arrive(struct source *s, uint64_t due) {
  struct function_of *f = &functions[s->function];
  struct caller *c = share_caller(f->callers, &f->turns, s->key);
  if (share_wait_ms(c, f->usual, rate_per_us(&loop->rate, now)) > MAX_WAIT_MS) {
    s->n_refused++;
    s->retry = now + 20 * MS / (s->n_connections ? s->n_connections : 1);
    spend(REFUSE_NS);
    return;
  }
  struct job *job = heap_new(1, sizeof *job);
  *job = (struct job){.source = s, .caller = c, .left = s->work_ns, .began = due};
  c->n_running++;
  if (s->n_free) s->n_free--;
  spend(BEGIN_NS);
  if (fair_may_begin(&loop->fair, &c->flow))
    run(job);
  else
    fair_push(&loop->fair, &c->flow, &job->waiter);
}

static void look_at_sockets(struct source *s) {
  uint64_t at = now;
  for (; s->period && s->next <= at; s->next += s->period) arrive(s, s->next);
  while (s->n_connections && s->n_free && s->retry <= at) {
    uint32_t before = s->n_refused;
    arrive(s, now);
    if (s->n_refused > before) break;
  }
}

static void run_for(struct source *sources, size_t n, uint64_t ns) {
  for (uint64_t until = now + ns; now < until;) {
    for (size_t i = 0; i < n; i++) look_at_sockets(&sources[i]);
    struct job *job = (struct job *)fair_next(&loop->fair);
    if (job)
      run(job);
    else
      now += 10000;
  }
}

static void open_sources(struct source *sources, size_t n) {
  for (size_t i = 0; i < n; i++) {
    sources[i].next = now + i * 7919;
    sources[i].n_free = sources[i].n_connections;
  }
}

static void forget(struct source *s) {
  s->n_done = s->n_refused = 0;
  s->n_took = 0;
}

/* What was begun is over, and nobody holds anything. */
static void close_sources(struct source *sources, size_t n) {
  for (size_t i = 0; i < n; i++) sources[i].n_connections = sources[i].n_free = 0, sources[i].period = 0;
  run_for(sources, n, 2000 * MS);
  for (int i = 0; i < MAX_FUNCTIONS; i++)
    for (size_t k = 0; k < SHARE_CALLERS; k++) {
      const struct caller *c = &functions[i].callers[k];
      assert_true(!c->n_running && !c->burned && !c->flow.is_listed);
    }
  for (size_t i = 0; i < n; i++) free(sources[i].took);
}

static int compare(const void *a, const void *b) {
  uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
  return one < other ? -1 : one > other;
}

static uint64_t p99(struct source *s) {
  assert_true(s->n_took > 0);
  qsort(s->took, s->n_took, sizeof *s->took, compare);
  return s->took[s->n_took * 99 / 100];
}

/* Of two tenants one asks for five times of what there is, in work of 8 ms; the other needs 1 ms at times. */
static void test_overload(void **state) {
  struct source alone = {.function = 1, .key = 1, .work_ns = MS, .period = 20 * MS};
  struct source both[] = {{.function = 0, .key = 1, .work_ns = 8 * MS, .period = 8 * MS / 5}, alone};
  (void)state;
  deploy(0, "loud/work");
  deploy(1, "quiet/work");
  open_sources(&alone, 1);
  run_for(&alone, 1, 5000 * MS);
  open_sources(both, 2);
  run_for(both, 2, 2000 * MS);
  forget(&both[0]), forget(&both[1]);
  run_for(both, 2, 10000 * MS);
  assert_in_range(both[0].n_done, 10000 / 8 * 85 / 100, 10000 / 8); /* the other has 5 % of the time, and refusals 1 % */
  assert_true(both[0].n_refused > 4 * both[0].n_done * 9 / 10);
  assert_in_range(p99(&both[0]), 50 * MS, (MAX_WAIT_MS + 2 * 8) * MS * 11 / 10);
  assert_int_equal(both[1].n_refused, 0);
  assert_in_range(p99(&both[1]), MS, 2 * p99(&alone));
  close_sources(&alone, 1);
  close_sources(both, 2);
}

/* Nobody knows at first how long a function takes, so a first burst has places as its only bound. Then others begin to use the
 * machine: what is let in follows. */
static void test_waits_follow_the_rate(void **state) {
  struct source s = {.function = 0, .key = 1, .work_ns = 20 * MS, .n_connections = 200};
  (void)state;
  deploy(0, "t/work");
  open_sources(&s, 1);
  run_for(&s, 1, 5000 * MS);
  forget(&s);
  run_for(&s, 1, 3000 * MS);
  assert_in_range(p99(&s), 50 * MS, (MAX_WAIT_MS + 2 * 20) * MS * 11 / 10);
  slowness = 4;
  run_for(&s, 1, 1000 * MS);
  forget(&s);
  run_for(&s, 1, 5000 * MS);
  assert_in_range(p99(&s), 50 * MS, (MAX_WAIT_MS + 2 * 4 * 20) * MS * 11 / 10);
  close_sources(&s, 1);
}

/* One has a thousand connections to a function, the other one. */
static void test_callers_of_one_function(void **state) {
  struct source both[] = {{.function = 0, .key = 1, .work_ns = 2 * MS, .n_connections = 1000},
                          {.function = 0, .key = 2, .work_ns = 2 * MS, .n_connections = 1}};
  (void)state;
  deploy(0, "t/work");
  open_sources(both, 2);
  run_for(both, 2, 10000 * MS);
  assert_int_equal(both[1].n_refused, 0);
  assert_in_range(p99(&both[1]), 2 * MS, 8 * MS);                     /* two turns of the other's at most */
  assert_in_range(both[1].n_done, 10000 / 2 * 4 / 10, 10000 / 2 / 2); /* as good as half, with one request at a time */
  close_sources(both, 2);
}

/* One tenant has three functions, each with many callers and connections; the other one of each. */
static void test_tenants(void **state) {
  struct source all[] = {{.function = 0, .key = 1, .work_ns = 4 * MS, .n_connections = 100},
                         {.function = 1, .key = 2, .work_ns = 4 * MS, .n_connections = 100},
                         {.function = 2, .key = 3, .work_ns = 4 * MS, .n_connections = 100},
                         {.function = 2, .key = 4, .work_ns = 4 * MS, .n_connections = 100},
                         {.function = 3, .key = 1, .work_ns = 4 * MS, .n_connections = 4}};
  (void)state;
  deploy(0, "many/a");
  deploy(1, "many/b");
  deploy(2, "many/c");
  deploy(3, "one/work");
  open_sources(all, 5);
  run_for(all, 5, 10000 * MS); /* the first burst is over */
  for (int i = 0; i < 5; i++) forget(&all[i]);
  run_for(all, 5, 10000 * MS);
  uint32_t others = all[0].n_done + all[1].n_done + all[2].n_done + all[3].n_done;
  assert_in_range(all[4].n_done, others * 90 / 100, others * 110 / 100);
  assert_in_range(all[2].n_done + all[3].n_done, all[0].n_done * 90 / 100, all[0].n_done * 110 / 100);
  for (int i = 0; i < 4; i++) assert_true(p99(&all[i]) < (MAX_WAIT_MS + 100) * MS);
  close_sources(all, 5);
}

/* More callers than there are places in the table: some share one, all are served, and the places are free again. */
static void test_many_callers(void **state) {
  enum { N = 3 * SHARE_CALLERS };
  struct source *all = heap_new(N, sizeof *all);
  (void)state;
  deploy(0, "t/work");
  for (int i = 0; i < N; i++) all[i] = (struct source){.key = share_key(&i, sizeof i), .work_ns = MS, .n_connections = 2};
  open_sources(all, N);
  run_for(all, N, 20000 * MS);
  uint32_t n = 0;
  for (int i = 0; i < N; i++) n += all[i].n_done;
  for (int i = 0; i < N; i++) assert_in_range(all[i].n_done, 1, 600);
  assert_in_range(n, 15000, 20000);
  close_sources(all, N);
  free(all);
}

/* Whoever begins leaves room for one that has none, except where there are only some places. */
static void test_places(void **state) {
  (void)state;
  for (uint64_t most = 1; most <= 4; most++)
    for (uint64_t n = 0; n < most; n++) assert_true(share_allows(n, n, most));
  assert_false(share_allows(0, 4, 4));
  uint64_t own[4] = {0}, taken = 0;
  for (int i = 0; i < 4; i++) {
    for (; share_allows(own[i], taken, 512); own[i]++) taken++;
    assert_true(taken < 512);
  }
  assert_in_range(own[0], 380, 390);
  assert_true(share_allows(0, taken, 512));
}

static void test_addresses(void **state) {
  (void)state;
  assert_true(share_key_of_text("2001:db8::1") == share_key_of_text("2001:db8::ffff:1"));
  assert_true(share_key_of_text("2001:db8::1") != share_key_of_text("2001:db8:0:1::1"));
  assert_true(share_key_of_text("10.0.0.1") != share_key_of_text("10.0.0.2"));
}

int main(void) {
#define IN_LOOP(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      IN_LOOP(test_overload),          IN_LOOP(test_waits_follow_the_rate), IN_LOOP(test_callers_of_one_function),
      IN_LOOP(test_tenants),           IN_LOOP(test_many_callers),          cmocka_unit_test(test_places),
      cmocka_unit_test(test_addresses)};
  return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
