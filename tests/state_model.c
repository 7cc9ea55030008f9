/* Random transactions against a model that has one at a time. Clients run scripts in several spaces: gets, sets, deletes, adds,
 * scans, values read and written by parts, moved and renamed; in lanes, ahead of what is durable, with new snapshots in between,
 * rewound and run again, with limits, while spaces are cleared as where functions are deleted. Each commit is sealed, and the
 * seals say in which order they came. In that order the model runs the same scripts, and each read must be what the model reads.
 * Who only read must have seen one moment between begin and end. Behind each round the store holds what the model holds, at times
 * when it was closed and opened again.
 *
 *   state_model [--seed N] [--count ROUNDS] [--seconds S] [--break ranges|keys|chunks]
 *
 * Odd rounds interleave clients on one baton by the seed, even ones run free. A round that fails is run again with fewer clients,
 * fewer transactions and kinds of operations left out, and the smallest that still fails is told. --break lets a commit forget
 * what was read: the test must fail then. Built a second time on a store that answers late (TEST_LATE). */
#include "tests/fuzz_options.h"
#include "tests/state_kit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <inttypes.h>
#include <stdatomic.h>

enum {
  N_SPACES = 3,
  N_KEYS = 14,
  MAX_CLIENTS = 8,
  MAX_TXNS = IS_LATE ? 12 : 60, /* of each client and round */
  MAX_OPS = 10,
  MAX_CLEARS = 8,
  MAX_SIZE = 5 * STATE_CHUNK,
  MAX_EVENTS = MAX_CLIENTS * MAX_TXNS + MAX_CLEARS,
  N_SLOTS = 2, /* values that a script has open */
  ATTEMPTS = 6,
};

struct key {
  const void *bytes;
  size_t size;
};

/* In their order: some begin with others, one has zeros, one is as long as keys may be. */
static uint8_t longest[STATE_MAX_KEY];
static const struct key keys[N_KEYS] = {
    {"\0\0", 2}, {"a", 1}, {"aa", 2}, {"ab", 2}, {"b", 1}, {"b/1", 3}, {"b/2", 3},
    {"b/3", 3},  {"c", 1}, {"d", 1},  {"e", 1},  {"h", 1}, {"i", 1},   {longest, STATE_MAX_KEY}};

static uint32_t number_of_key(const void *bytes, size_t size) {
  for (uint32_t i = 0; i < N_KEYS; i++)
    if (keys[i].size == size && !memcmp(keys[i].bytes, bytes, size)) return i;
  return N_KEYS;
}

static uint32_t below(uint64_t *seed, uint32_t n) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return (uint32_t)((*seed * 0x2545f4914f6cdd1d) >> 33) % n;
}

static uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t both[2] = {a, b};
  return XXH3_64bits(both, sizeof both) | 1;
}

static uint64_t mix_bytes(uint64_t a, const void *bytes, size_t n) { return mix(a, n ? XXH3_64bits(bytes, n) + n : 0); }

static void fill(uint8_t *out, size_t n, uint64_t seed) {
  for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(seed >> (i % 8 * 8)) ^ (uint8_t)(i / 8);
}

/* --- scripts ------------------------------------------------------------------------------------------------------- */

enum op_kind {
  OP_GET,
  OP_EXISTS,
  OP_SCAN,
  OP_READ,
  OP_SPACE,
  OP_SET,
  OP_DELETE,
  OP_ADD,
  OP_WRITE,
  OP_RESIZE,
  OP_CREATE,
  OP_MOVE
};
enum {
  N_READING = OP_SPACE + 1,
  N_OPS = OP_MOVE + 1,
  BY_PARTS = 1 << OP_READ | 1 << OP_WRITE | 1 << OP_RESIZE | 1 << OP_CREATE | 1 << OP_MOVE,
};
static const char *const op_words[N_OPS] = {"get",    "exists", "scan",  "read",   "space",  "set",
                                            "delete", "add",    "write", "resize", "create", "move"};

struct op {
  enum op_kind kind;
  uint32_t key, other, slot; /* other: a second key, a bound, a space */
  bool opens;                /* the slot gets the key's value; else it is the one that is open there */
  bool is_backward, is_for_keys, has_no_first, has_no_end;
  uint32_t at, n;
  uint64_t seed;
};

/* What one transaction does. Values that it writes follow from what it has read last. */
struct script {
  uint32_t space, n_ops;
  bool is_reader, only_reads, expects_no_writes, runs_ahead, takes_turns, is_rewound;
  uint64_t limit;
  struct op ops[MAX_OPS];
};

static uint32_t any_size(uint64_t *seed) {
  static const uint32_t edges[] = {STATE_CHUNK - 1, STATE_CHUNK, STATE_CHUNK + 1, 2 * STATE_CHUNK, 0};
  uint32_t kind = below(seed, 8);
  return kind == 0 ? edges[below(seed, 5)] : kind == 1 ? below(seed, MAX_SIZE) : below(seed, 100);
}

static struct op any_op(uint64_t *seed, uint32_t kinds, bool is_reader, bool is_hot) {
  struct op op;
  do {
    op.kind = (enum op_kind)below(seed, is_reader ? N_READING : N_OPS);
    if (!is_reader && op.kind > OP_ADD && below(seed, 2)) op.kind = below(seed, 2) ? OP_GET : OP_SET;
  } while (!(kinds >> op.kind & 1));
  op.key = is_hot && below(seed, 3) ? 1 + below(seed, 2) : below(seed, N_KEYS);
  op.other = op.kind == OP_SPACE ? below(seed, N_SPACES) : below(seed, N_KEYS);
  op.slot = below(seed, N_SLOTS);
  op.opens = below(seed, 2);
  op.is_backward = below(seed, 2);
  op.is_for_keys = below(seed, 4) == 0;
  op.has_no_first = below(seed, 5) == 0;
  op.has_no_end = below(seed, 5) == 0;
  op.at = below(seed, 3) ? any_size(seed) : below(seed, 3) * STATE_CHUNK;
  op.n = below(seed, 100) == 0 ? 70000 : any_size(seed);
  op.seed = mix(*seed, op.n);
  return op;
}

/* What the commit forgets to compare, to see whether the test would find it. */
enum broken { BROKEN_NOTHING, BROKEN_RANGES, BROKEN_KEYS, BROKEN_CHUNKS };

struct config {
  uint64_t seed, cold_ms;            /* cold_ms: of lanes */
  uint32_t n_clients, n_txns, kinds; /* kinds: a bit for each op_kind */
  bool is_free, clears;
  enum broken broken;
};

static void make_script(struct script *s, const struct config *c, uint64_t seed) {
  bool is_hot = below(&seed, 2);
  *s = (struct script){.space = is_hot ? 0 : below(&seed, N_SPACES),
                       .n_ops = 1 + below(&seed, MAX_OPS),
                       .is_reader = below(&seed, 4) == 0,
                       .runs_ahead = below(&seed, 3) != 0,
                       .takes_turns = below(&seed, 2),
                       .is_rewound = below(&seed, 10) == 0,
                       .expects_no_writes = below(&seed, 10) == 0,
                       .limit = below(&seed, 20) == 0 ? 30000 : 0};
  s->only_reads = s->is_reader && below(&seed, 3) == 0;
  for (uint32_t i = 0; i < s->n_ops; i++) s->ops[i] = any_op(&seed, c->kinds, s->is_reader, is_hot);
}

/* --- the model ----------------------------------------------------------------------------------------------------- */

struct object {
  uint32_t refs, size;
  bool is_large;
  uint8_t bytes[]; /* room for MAX_SIZE twice, or 70,000 */
};

enum { OBJECT_ROOM = 80000 };

struct model {
  struct object *values[N_SPACES][N_KEYS];
};

static struct model model;

static struct object *object_new(void) {
  struct object *o = calloc(1, sizeof *o + OBJECT_ROOM);
  o->refs = 1;
  return o;
}

static void object_release(struct object *o) {
  if (o && !--o->refs) free(o);
}

static void put_object(uint32_t space, uint32_t key, struct object *o) {
  object_release(model.values[space][key]);
  model.values[space][key] = o;
}

static void clear_model(uint32_t space) {
  for (uint32_t i = 0; i < N_KEYS; i++) put_object(space, i, NULL);
}

/* A script that runs in the model. */
struct model_run {
  uint32_t space;
  struct object *slots[N_SLOTS];
  uint64_t last; /* what was read */
};

static uint64_t value_result(bool is_large, const void *bytes, uint32_t size) {
  return is_large ? mix(2, size) : mix_bytes(1, bytes, size);
}

static uint64_t pair_result(uint64_t h, uint32_t key, uint32_t size, const void *bytes, bool has_bytes) {
  h = mix(mix(h, key), size);
  return has_bytes ? mix_bytes(h, bytes, size) : h;
}

static uint64_t model_scan(const struct model_run *r, const struct op *op) {
  uint32_t first = op->has_no_first ? 0 : op->key, end = op->has_no_end ? N_KEYS : op->other, n = 0;
  uint64_t h = 0;
  for (uint32_t i = 0; i < N_KEYS && n <= op->n % N_KEYS; i++) {
    uint32_t key = op->is_backward ? N_KEYS - 1 - i : i;
    const struct object *o = model.values[r->space][key];
    if (!o || key < first || key >= end) continue;
    h = pair_result(h, key, o->size | (o->is_large ? STATE_LARGE_BIT : 0), o->bytes, !o->is_large && !op->is_for_keys);
    n++;
  }
  return h;
}

/* The key that has the object, or N_KEYS. */
static uint32_t name_of(const struct model_run *r, const struct object *o) {
  for (uint32_t i = 0; i < N_KEYS; i++)
    if (model.values[r->space][i] == o) return i;
  return N_KEYS;
}

static struct object *model_open(struct model_run *r, const struct op *op, bool makes) {
  struct object **value = &model.values[r->space][op->key], **slot = &r->slots[op->slot];
  if (!op->opens) return *slot;
  if (!*value && makes) {
    *value = object_new();
    (*value)->is_large = true;
  }
  object_release(*slot);
  if ((*slot = *value)) (*slot)->refs++;
  return *slot;
}

static uint64_t model_read(struct model_run *r, const struct op *op) {
  struct object *o = model_open(r, op, false);
  if (!o) return 0;
  uint32_t at = op->at < o->size ? op->at : o->size, n = op->n < o->size - at ? op->n : o->size - at;
  return mix(mix_bytes(3, o->bytes + at, n), o->size);
}

static uint32_t write_place(const struct op *op) { return op->at % MAX_SIZE; }
static uint32_t write_size(const struct op *op) { return op->n % MAX_SIZE + 1; }

static uint64_t model_write(struct model_run *r, const struct op *op) {
  struct object *o = model_open(r, op, true);
  if (!o) return 0;
  uint32_t end = write_place(op) + write_size(op);
  fill(o->bytes + write_place(op), write_size(op), mix(op->seed, r->last));
  if (end > o->size) o->size = end;
  o->is_large = true;
  return 1;
}

static uint64_t model_resize(struct model_run *r, const struct op *op) {
  struct object *o = model_open(r, op, true);
  uint32_t size = op->n % MAX_SIZE;
  if (!o) return 0;
  o->is_large |= size != o->size;
  if (size < o->size) memset(o->bytes + size, 0, o->size - size);
  o->size = size;
  return 1;
}

static uint64_t model_create(struct model_run *r, const struct op *op) {
  struct object *o = object_new();
  o->is_large = true;
  put_object(r->space, op->key, o);
  object_release(r->slots[op->slot]);
  r->slots[op->slot] = o;
  o->refs++;
  return 1;
}

static uint64_t model_move(struct model_run *r, const struct op *op) {
  struct object *o = model_open(r, op, false);
  uint32_t from = o ? name_of(r, o) : N_KEYS;
  if (from == N_KEYS) return 0;
  if (from == op->other) return 1;
  model.values[r->space][from] = NULL;
  put_object(r->space, op->other, o);
  return 1;
}

static void drop_slots(struct model_run *r) {
  for (int i = 0; i < N_SLOTS; i++) {
    object_release(r->slots[i]);
    r->slots[i] = NULL;
  }
}

static uint32_t set_size(const struct op *op) { return op->seed % 3 == 0 ? 8 : op->n; }

static uint64_t model_set(struct model_run *r, const struct op *op) {
  struct object *o = object_new();
  o->size = set_size(op);
  fill(o->bytes, o->size, mix(op->seed, r->last));
  put_object(r->space, op->key, o);
  return 1;
}

static uint64_t model_add(struct model_run *r, const struct op *op) {
  const struct object *old = model.values[r->space][op->key];
  struct object *o = object_new();
  uint64_t number = 0;
  if (old) memcpy(&number, old->bytes, sizeof number);
  number += op->seed;
  memcpy(o->bytes, &number, o->size = sizeof number);
  bool ok = !old || (old->size == sizeof number && !old->is_large); /* else the store's must have failed */
  put_object(r->space, op->key, o);
  return ok;
}

static uint64_t model_op(struct model_run *r, const struct op *op) {
  const struct object *o = model.values[r->space][op->key];
  switch (op->kind) {
  case OP_GET: return o ? value_result(o->is_large, o->bytes, o->size) : 0;
  case OP_EXISTS: return o != NULL;
  case OP_SCAN: return model_scan(r, op);
  case OP_READ: return model_read(r, op);
  case OP_SPACE:
    r->space = op->other;
    drop_slots(r);
    return 1;
  case OP_SET: return model_set(r, op);
  case OP_DELETE: return put_object(r->space, op->key, NULL), 1;
  case OP_ADD: return model_add(r, op);
  case OP_WRITE: return model_write(r, op);
  case OP_RESIZE: return model_resize(r, op);
  case OP_CREATE: return model_create(r, op);
  case OP_MOVE: return model_move(r, op);
  }
  return 0;
}

static bool is_reading(enum op_kind kind) { return kind <= OP_READ; }

/* The number of the first operation whose result is another; n_ops: none is. */
static uint32_t model_script(const struct script *s, const uint64_t *results) {
  struct model_run r = {.space = s->space};
  uint32_t i = 0;
  for (; i < s->n_ops; i++) {
    uint64_t result = model_op(&r, &s->ops[i]);
    if (result != results[i]) break;
    if (is_reading(s->ops[i].kind)) r.last = result;
  }
  drop_slots(&r);
  return i;
}

/* --- clients ------------------------------------------------------------------------------------------------------- */

enum client_state { RUNS, BLOCKED, OVER };

struct txn_record {
  struct script script;
  uint64_t results[MAX_OPS];
  bool is_committed, is_met; /* is_met: its moment was found, where it only read */
  uint64_t index, n_cleared; /* of its seal, 0: it has none; clears before it */
  struct bounds {
    uint64_t index, n_cleared;
    uint32_t position; /* among the events */
  } begin, end;        /* what was committed when it began, and what may have been when it ended */
};

struct client {
  struct state_seal seal; /* first */
  pthread_t thread;
  pthread_cond_t cond;
  enum client_state state;
  bool is_woken;
  enum state_outcome outcome;
  uint64_t seed;
  struct state_turns turns;
  struct state_txn *txn;
  struct txn_record *record;
  struct state_large *slots[N_SLOTS];
  uint64_t last;
  struct txn_record *records;
};

static struct {
  const struct config *config;
  struct state_store *store;
  pthread_mutex_t mutex;
  struct client clients[MAX_CLIENTS];
  int turn; /* whose the baton is; -1: nobody's */
  uint64_t seed;
  _Atomic uint64_t n_sealed, acknowledged, n_cleared, n_clearing;
  uint64_t first_moment;        /* the store's number of clears when the round began */
  uint32_t cleared[MAX_CLEARS]; /* spaces, by number */
  atomic_uint n_conflicts, n_ahead, n_limited;
  atomic_bool has_failed;
  char said[512]; /* the first failure */
} round_of;

/* On any thread, without the mutex. */
__attribute__((format(printf, 1, 2))) static void fail_with(const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (!atomic_exchange(&round_of.has_failed, true)) vsnprintf(round_of.said, sizeof round_of.said, format, args);
  va_end(args);
}

/* Under the mutex: the baton to anybody who can go on. */
static void pass_baton(void) {
  int able[MAX_CLIENTS], n = 0;
  for (uint32_t i = 0; i < round_of.config->n_clients; i++)
    if (round_of.clients[i].state == RUNS) able[n++] = (int)i;
  round_of.turn = n ? able[below(&round_of.seed, (uint32_t)n)] : -1;
  if (n) pthread_cond_signal(&round_of.clients[round_of.turn].cond);
}

static int id_of(const struct client *c) { return (int)(c - round_of.clients); }

/* Under the mutex. */
static void await_turn(struct client *c) {
  while (!round_of.config->is_free && round_of.turn != id_of(c)) pthread_cond_wait(&c->cond, &round_of.mutex);
}

static void yield(struct client *c) {
  if (round_of.config->is_free) return;
  pthread_mutex_lock(&round_of.mutex);
  pass_baton();
  await_turn(c);
  pthread_mutex_unlock(&round_of.mutex);
}

static void wake(void *arg) {
  struct client *c = arg;
  pthread_mutex_lock(&round_of.mutex);
  c->is_woken = true;
  c->state = RUNS;
  if (round_of.turn < 0 && !round_of.config->is_free) pass_baton();
  pthread_cond_signal(&c->cond);
  pthread_mutex_unlock(&round_of.mutex);
}

/* Until `wake`, which may have come already. */
static void block(struct client *c) {
  pthread_mutex_lock(&round_of.mutex);
  if (!c->is_woken) c->state = BLOCKED;
  if (!c->is_woken && !round_of.config->is_free) pass_baton();
  while (!c->is_woken) pthread_cond_wait(&c->cond, &round_of.mutex);
  await_turn(c);
  c->is_woken = false;
  pthread_mutex_unlock(&round_of.mutex);
}

static void wait_for_answer(void *arg, struct state_txn *txn) {
  state_txn_await(txn, wake, arg);
  block(arg);
}

/* --- the same scripts, in the store -------------------------------------------------------------------------------- */

static int get_value(struct client *c, const struct op *op, uint64_t *result, struct gw_error *err) {
  struct key key = keys[op->key];
  const void *value;
  size_t size;
  int found = op->kind == OP_GET ? state_txn_get(c->txn, key.bytes, key.size, &value, &size, err)
                                 : state_txn_exists(c->txn, key.bytes, key.size, err);
  if (found == STATE_PENDING) {
    wait_for_answer(c, c->txn);
    found = state_txn_answer(c->txn, &value, &size, err);
  }
  if (found == 1 && op->kind == OP_EXISTS) *result = 1;
  if (found == 1 && op->kind == OP_GET) {
    bool is_large = state_txn_found_large(c->txn);
    *result = value_result(is_large, value, is_large ? state_large_record_size(value) : (uint32_t)size);
  }
  return found;
}

/* Adds to the result. */
static uint32_t read_pairs(const struct state_page *page, bool is_for_keys, uint64_t *h) {
  uint32_t n = 0;
  for (const uint8_t *at = page->bytes; at < page->bytes + page->size; n++) {
    uint32_t sizes[2];
    memcpy(sizes, at, sizeof sizes);
    bool has_bytes = !is_for_keys && !(sizes[1] & STATE_LARGE_BIT);
    at += sizeof sizes;
    *h = pair_result(*h, number_of_key(at, sizes[0]), sizes[1], at + sizes[0], has_bytes);
    at += sizes[0] + (has_bytes ? sizes[1] : 0);
  }
  return n;
}

static int scan(struct client *c, const struct op *op, uint64_t *result, struct gw_error *err) {
  struct key first = op->has_no_first ? (struct key){"", 0} : keys[op->key];
  struct key end = op->has_no_end ? (struct key){"", 0} : keys[op->other];
  struct state_range range = {first.bytes, end.bytes, first.size, end.size, op->is_backward, op->is_for_keys};
  struct state_page page = {0};
  uint32_t left = op->n % N_KEYS + 1;
  if (!state_txn_scan(c->txn, &range, err)) return -1;
  while (left && !page.is_last) {
    int done = state_txn_scan_next(c->txn, left, 1 << 20, &page, err);
    if (done == STATE_PENDING) {
      wait_for_answer(c, c->txn);
      done = state_txn_scan_answer(c->txn, &page, err);
    }
    if (done < 0) return -1;
    left -= read_pairs(&page, op->is_for_keys, result);
    yield(c);
  }
  return 1;
}

/* The value that the operation is about: 1, 0: none, -1. */
static int open_value(struct client *c, const struct op *op, bool makes, struct state_large **out, struct gw_error *err) {
  struct key key = keys[op->key];
  *out = c->slots[op->slot];
  if (!op->opens) return *out != NULL;
  int found = state_large_open(c->txn, key.bytes, key.size, makes, out, err);
  if (found >= 0) c->slots[op->slot] = *out;
  return found;
}

static int read_part(struct client *c, const struct op *op, uint64_t *result, struct gw_error *err) {
  static _Thread_local uint8_t bytes[OBJECT_ROOM];
  struct state_large *l;
  int found = open_value(c, op, false, &l, err);
  if (found < 1) return found;
  uint32_t size = (uint32_t)state_large_size(l), at = op->at < size ? op->at : size, n = op->n < size - at ? op->n : size - at;
  if (!state_large_read(c->txn, l, at, bytes, n, err)) return -1;
  *result = mix(mix_bytes(3, bytes, n), size);
  return 1;
}

static int write_part(struct client *c, const struct op *op, struct gw_error *err) {
  static _Thread_local uint8_t bytes[MAX_SIZE + 1];
  struct state_large *l;
  int found = open_value(c, op, true, &l, err);
  if (found < 1) return found;
  fill(bytes, write_size(op), mix(op->seed, c->last));
  return state_large_write(c->txn, l, write_place(op), bytes, write_size(op), err) ? 1 : -1;
}

static int resize(struct client *c, const struct op *op, struct gw_error *err) {
  struct state_large *l;
  int found = open_value(c, op, true, &l, err);
  if (found < 1) return found;
  return state_large_resize(c->txn, l, op->n % MAX_SIZE, err) ? 1 : -1;
}

static int move(struct client *c, const struct op *op, struct gw_error *err) {
  struct key key = keys[op->other];
  struct state_large *l;
  int found = open_value(c, op, false, &l, err);
  if (found < 1 || !state_large_has_key(l)) return found < 0 ? -1 : 0;
  return state_large_move(c->txn, l, key.bytes, key.size, err) ? 1 : -1;
}

static int create(struct client *c, const struct op *op, struct gw_error *err) {
  struct key key = keys[op->key];
  return state_large_create(c->txn, key.bytes, key.size, &c->slots[op->slot], err) ? 1 : -1;
}

static const char *space_name(uint32_t space) {
  static const char *const names[N_SPACES] = {"f", "t/g", "group:x"};
  return names[space];
}

static int go_to(struct client *c, uint32_t space) {
  bool is_own = space == c->record->script.space;
  state_txn_in(c->txn, is_own ? NULL : space_name(space));
  memset(c->slots, 0, sizeof c->slots);
  return 1;
}

static int set_value(struct client *c, const struct op *op, struct gw_error *err) {
  static _Thread_local uint8_t bytes[OBJECT_ROOM];
  struct key key = keys[op->key];
  fill(bytes, set_size(op), mix(op->seed, c->last));
  return state_txn_set(c->txn, key.bytes, key.size, bytes, set_size(op), err) ? 1 : -1;
}

static int add(struct client *c, const struct op *op, struct gw_error *err) {
  struct key key = keys[op->key];
  int done = state_txn_add(c->txn, key.bytes, key.size, (int64_t)op->seed, err);
  if (done != STATE_PENDING) return done;
  wait_for_answer(c, c->txn);
  return state_txn_add_answer(c->txn, err);
}

/* False: the transaction cannot go on. */
static bool store_op(struct client *c, const struct op *op, uint64_t *result, struct gw_error *err) {
  struct key key = keys[op->key];
  int done = 1;
  *result = 0;
  switch (op->kind) {
  case OP_GET:
  case OP_EXISTS: return get_value(c, op, result, err) >= 0;
  case OP_SCAN: return scan(c, op, result, err) >= 0;
  case OP_READ: return read_part(c, op, result, err) >= 0;
  case OP_SPACE: done = go_to(c, op->other); break;
  case OP_SET: done = set_value(c, op, err); break;
  case OP_DELETE: done = state_txn_delete(c->txn, key.bytes, key.size, err) ? 1 : -1; break;
  case OP_ADD: done = add(c, op, err); break;
  case OP_WRITE: done = write_part(c, op, err); break;
  case OP_RESIZE: done = resize(c, op, err); break;
  case OP_CREATE: done = create(c, op, err); break;
  case OP_MOVE: done = move(c, op, err); break;
  }
  *result = done == 1;
  return done >= 0;
}

static bool run_ops(struct client *c, struct gw_error *err) {
  struct txn_record *r = c->record;
  memset(c->slots, 0, sizeof c->slots);
  c->last = 0;
  for (uint32_t i = 0; i < r->script.n_ops; i++) {
    const struct op *op = &r->script.ops[i];
    if (!store_op(c, op, &r->results[i], err)) return false;
    if (is_reading(op->kind)) c->last = r->results[i];
    yield(c);
    if (!r->script.only_reads && below(&c->seed, 8) == 0) state_txn_renew(c->txn);
  }
  return true;
}

/* --- commits ------------------------------------------------------------------------------------------------------- */

/* In the order of the commits. When a batch has failed as a whole, it is called again. */
static bool make_seal(struct state_seal *seal, const uint8_t written[SHA256_SIZE]) {
  struct client *c = (struct client *)seal;
  struct store *store = round_of.store->store;
  (void)written;
  c->record->index = seal->index = atomic_fetch_add(&round_of.n_sealed, 1) + 1;
  c->record->n_cleared = store->ops->moment(store) - round_of.first_moment;
  seal->bytes = &c->record->index;
  seal->size = sizeof c->record->index;
  return true;
}

static void raise_to(_Atomic uint64_t *most, uint64_t n) {
  uint64_t old = atomic_load(most);
  while (old < n && !atomic_compare_exchange_weak(most, &old, n)) {
  }
}

static void on_done(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  struct client *c = arg;
  c->outcome = outcome;
  if (outcome == STATE_COMMITTED && c->record->index) raise_to(&round_of.acknowledged, c->record->index);
  if (outcome == STATE_FAILED && !(err->code == GW_ERROR_LIMIT && c->record->script.limit))
    fail_with("a commit failed: %s", err->message);
  wake(c);
}

static void begin(struct client *c) {
  struct txn_record *r = c->record;
  const struct script *s = &r->script;
  r->index = 0;
  r->begin = (struct bounds){round_of.acknowledged, round_of.n_cleared, 0};
  c->txn = state_txn_begin(round_of.store, space_name(s->space));
  state_txn_on_wait(c->txn, wait_for_answer, c);
  state_txn_seal(c->txn, &c->seal);
  if (s->limit) state_txn_limit(c->txn, s->limit);
  if (s->only_reads) state_txn_only_reads(c->txn);
  if (s->expects_no_writes) state_txn_expect_no_writes(c->txn);
  if (s->runs_ahead && !s->only_reads) state_txn_run_ahead(c->txn);
  if (s->takes_turns) state_txn_take_turns(c->txn, &c->turns);
}

/* An operation failed. False: trying again helps. */
static bool give_up(struct client *c, const struct gw_error *err) {
  bool is_stale = state_txn_is_stale(c->txn);
  if (is_stale) state_txn_note_turns(c->txn);
  state_txn_abort(c->txn);
  if (!is_stale && err->code != GW_ERROR_LIMIT) fail_with("an operation failed: %s", err->message);
  return !is_stale;
}

/* The commit will not look at it. */
static void forget_reads(struct state_txn *txn, enum broken broken) {
  if (broken == BROKEN_RANGES) txn->reads.ranges = NULL;
  for (struct store_key *k = txn->keys; k; k = k->next) {
    bool is_chunk = k->size == CHUNK_KEY;
    if ((broken == BROKEN_KEYS && !is_chunk) || (broken == BROKEN_CHUNKS && is_chunk)) k->is_read = false;
  }
}

/* True: it is over, committed or not. */
static bool try_script(struct client *c) {
  struct gw_error err = {0};
  begin(c);
  bool ok = run_ops(c, &err);
  if (ok && c->record->script.is_rewound) {
    state_txn_rewind(c->txn);
    state_txn_in(c->txn, NULL);
    ok = run_ops(c, &err);
  }
  if (!ok) return give_up(c, &err);
  atomic_fetch_add(&round_of.n_ahead, state_txn_has_run_ahead(c->txn));
  forget_reads(c->txn, round_of.config->broken);
  state_txn_commit(c->txn, on_done, c);
  block(c);
  c->record->end = (struct bounds){round_of.n_sealed, round_of.n_clearing, 0};
  c->record->is_committed = c->outcome == STATE_COMMITTED;
  atomic_fetch_add(&round_of.n_conflicts, c->outcome == STATE_CONFLICT);
  atomic_fetch_add(&round_of.n_limited, c->outcome == STATE_FAILED);
  return c->outcome != STATE_CONFLICT;
}

/* A function is deleted. One at a time: each knows its number. */
static void clear_space(uint32_t space) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  struct gw_error err = {0};
  pthread_mutex_lock(&mutex);
  uint64_t n = atomic_load(&round_of.n_cleared);
  if (n < MAX_CLEARS) {
    round_of.cleared[n] = space;
    atomic_store(&round_of.n_clearing, n + 1);
    if (!state_clear(round_of.store, space_name(space), &err)) fail_with("clearing: %s", err.message);
    atomic_store(&round_of.n_cleared, n + 1);
  }
  pthread_mutex_unlock(&mutex);
}

static void *run_client(void *arg) {
  struct client *c = arg;
  const struct config *config = round_of.config;
  pthread_mutex_lock(&round_of.mutex);
  await_turn(c);
  pthread_mutex_unlock(&round_of.mutex);
  for (uint32_t i = 0; i < config->n_txns && !round_of.has_failed; i++) {
    c->record = &c->records[i];
    make_script(&c->record->script, config, mix(config->seed, (uint64_t)id_of(c) * MAX_TXNS + i));
    c->turns.n = 0;
    for (int attempt = 0; attempt < ATTEMPTS && !try_script(c); attempt++) yield(c);
    if (config->clears && below(&c->seed, 40) == 0) clear_space(below(&c->seed, N_SPACES));
    yield(c);
  }
  pthread_mutex_lock(&round_of.mutex);
  c->state = OVER;
  if (!config->is_free) pass_baton();
  pthread_mutex_unlock(&round_of.mutex);
  return NULL;
}

/* --- checking ------------------------------------------------------------------------------------------------------ */

/* What changed the store, in its order: a transaction, or where that is NULL a clear. */
struct event {
  struct txn_record *txn;
  uint32_t space;
};

static int by_index(const void *a, const void *b) {
  const struct event *x = a, *y = b;
  return (x->txn->index > y->txn->index) - (x->txn->index < y->txn->index);
}

static uint32_t collect_commits(struct event *events) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < round_of.config->n_clients; i++)
    for (uint32_t k = 0; k < round_of.config->n_txns; k++) {
      struct txn_record *r = &round_of.clients[i].records[k];
      if (r->is_committed && r->index) events[n++] = (struct event){.txn = r};
    }
  qsort(events, n, sizeof *events, by_index);
  return n;
}

static struct {
  struct event events[MAX_EVENTS];
  uint32_t n, cleared[MAX_CLEARS]; /* cleared: positions behind them */
} history;

/* Clears stand before the first commit that came behind them. */
static void make_history(void) {
  static struct event commits[MAX_EVENTS];
  uint32_t n_commits = collect_commits(commits), at = 0, cleared = 0;
  history.n = 0;
  while (at < n_commits || cleared < round_of.n_cleared) {
    struct event *event = &history.events[history.n++];
    if (cleared < round_of.n_cleared && (at == n_commits || commits[at].txn->n_cleared > cleared)) {
      *event = (struct event){.space = round_of.cleared[cleared]};
      history.cleared[cleared++] = history.n;
    } else {
      *event = commits[at++];
    }
  }
}

/* Behind the last event of those. */
static void find_position(struct bounds *b) {
  b->position = b->n_cleared ? history.cleared[b->n_cleared - 1] : 0;
  for (uint32_t i = b->position; i < history.n; i++)
    if (history.events[i].txn && history.events[i].txn->index <= b->index) b->position = i + 1;
}

static void describe(const struct txn_record *r, uint32_t op, const char *what) {
  const struct script *s = &r->script;
  char text[400] = "";
  for (uint32_t i = 0; i <= op && i < s->n_ops; i++) {
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, " %s:%u%s", op_words[s->ops[i].kind], s->ops[i].key, i == op ? "(!)" : "");
  }
  fail_with("%s: space %u, commit %" PRIu64 "%s%s%s:%s", what, s->space, r->index, s->runs_ahead ? ", ahead" : "",
            s->only_reads ? ", only reads" : "", s->is_rewound ? ", rewound" : "", text);
}

static bool is_reader(const struct txn_record *r) { return r->is_committed && !r->index && r->script.is_reader; }

/* Calls `each` with all that only read. */
static void each_reader(void (*each)(struct txn_record *r, uint32_t position), uint32_t position) {
  for (uint32_t i = 0; i < round_of.config->n_clients; i++)
    for (uint32_t k = 0; k < round_of.config->n_txns; k++)
      if (is_reader(&round_of.clients[i].records[k])) each(&round_of.clients[i].records[k], position);
}

static void find_positions(struct txn_record *r, uint32_t position) {
  (void)position;
  find_position(&r->begin);
  find_position(&r->end);
}

/* Whether this is the moment that it has seen. */
static void try_reader(struct txn_record *r, uint32_t position) {
  if (r->is_met || position < r->begin.position || position > r->end.position) return;
  r->is_met = model_script(&r->script, r->results) == r->script.n_ops;
  if (!r->is_met && position == r->end.position)
    describe(r, MAX_OPS, "a reader has seen no moment between its begin and its end");
}

static void check_history(void) {
  make_history();
  each_reader(find_positions, 0);
  each_reader(try_reader, 0);
  for (uint32_t i = 0; i < history.n && !round_of.has_failed; i++) {
    const struct txn_record *r = history.events[i].txn;
    uint32_t at = r ? model_script(&r->script, r->results) : 0;
    if (!r) clear_model(history.events[i].space);
    if (r && at < r->script.n_ops) describe(r, at, "another result than one at a time");
    each_reader(try_reader, i + 1);
  }
}

/* One transaction that reads all that there is. */
static void check_contents(void) {
  struct config alone = {.n_clients = 1, .is_free = true};
  struct script s = {.n_ops = 1, .ops = {{.kind = OP_SCAN, .has_no_first = true, .has_no_end = true, .n = N_KEYS - 1}}};
  struct txn_record r = {0};
  struct client *c = &round_of.clients[0];
  const struct config *before = round_of.config;
  round_of.config = &alone;
  for (s.space = 0; s.space < N_SPACES && !round_of.has_failed; s.space++)
    for (uint32_t key = 0; key <= N_KEYS; key++) {
      struct gw_error err = {0};
      if (key < N_KEYS)
        s.ops[0] = (struct op){.kind = OP_READ, .opens = true, .key = key, .n = OBJECT_ROOM};
      else
        s.ops[0] = (struct op){.kind = OP_SCAN, .has_no_first = true, .has_no_end = true, .n = N_KEYS - 1};
      r.script = s;
      c->record = &r;
      begin(c);
      bool ok = run_ops(c, &err);
      state_txn_abort(c->txn);
      if (!ok) fail_with("reading it all again: %s", err.message);
      if (ok && model_script(&r.script, r.results) != 1) describe(&r, 0, "the store does not hold what it should");
    }
  round_of.config = before;
}

struct seals {
  uint64_t n, n_wrong;
};

static bool count_seal(void *arg, uint64_t index, const void *bytes, size_t size) {
  struct seals *s = arg;
  s->n++;
  s->n_wrong += size != sizeof index || memcmp(bytes, &index, size) != 0;
  return true;
}

/* As many as there were commits, each its own. */
static void check_seals(void) {
  static struct event commits[MAX_EVENTS];
  struct seals seals = {0};
  struct gw_error err = {0};
  uint32_t n = collect_commits(commits);
  if (!state_each_seal(round_of.store, count_seal, &seals, &err)) fail_with("seals: %s", err.message);
  if (seals.n != n || seals.n_wrong) fail_with("%u commits, %" PRIu64 " seals, %" PRIu64 " of others", n, seals.n, seals.n_wrong);
  if (!state_forget_seals(round_of.store, &err)) fail_with("seals: %s", err.message);
}

/* --- rounds -------------------------------------------------------------------------------------------------------- */

static void start_round(const struct config *config) {
  round_of.config = config;
  round_of.seed = mix(config->seed, 99);
  round_of.turn = -1;
  round_of.n_sealed = round_of.acknowledged = round_of.n_cleared = round_of.n_clearing = 0;
  round_of.store->lanes.cold_ms = config->cold_ms;
  round_of.first_moment = round_of.store->store->ops->moment(round_of.store->store);
  round_of.has_failed = false;
  for (uint32_t i = 0; i < config->n_clients; i++) {
    struct client *c = &round_of.clients[i];
    c->state = RUNS;
    c->is_woken = false;
    c->seed = mix(config->seed, 1000 + i);
    memset(c->records, 0, MAX_TXNS * sizeof *c->records);
  }
}

/* False: round_of.said tells why. */
static bool run_round(const struct config *config) {
  start_round(config);
  for (uint32_t i = 0; i < config->n_clients; i++)
    assert_int_equal(pthread_create(&round_of.clients[i].thread, NULL, run_client, &round_of.clients[i]), 0);
  pthread_mutex_lock(&round_of.mutex);
  if (!config->is_free) pass_baton();
  pthread_mutex_unlock(&round_of.mutex);
  for (uint32_t i = 0; i < config->n_clients; i++) pthread_join(round_of.clients[i].thread, NULL);
  if (!round_of.has_failed) check_history();
  if (!round_of.has_failed) check_seals();
  uint64_t seed = mix(config->seed, 5); /* whether it is opened again */
  if (!round_of.has_failed && below(&seed, 4) == 0) {
    state_store_close(round_of.store);
    round_of.store = open_store(MAP_SIZE);
  }
  if (!round_of.has_failed) check_contents();
  return !round_of.has_failed;
}

static struct config any_config(uint64_t seed, enum broken broken) {
  static const uint64_t colds[] = {0, 1000, 3600000};
  uint64_t at = mix(seed, 7);
  struct config c = {.seed = seed,
                     .n_clients = 2 + below(&at, MAX_CLIENTS - 1),
                     .n_txns = 1 + below(&at, MAX_TXNS),
                     .kinds = UINT32_MAX,
                     .is_free = seed % 2 == 0,
                     .clears = below(&at, 2),
                     .broken = broken,
                     .cold_ms = colds[below(&at, 3)]};
  if (below(&at, 3) == 0) c.kinds &= ~(uint32_t)BY_PARTS;
  if (broken == BROKEN_CHUNKS) { /* or it takes a minute to meet it */
    c.kinds = 1 << OP_READ | 1 << OP_WRITE;
    c.n_clients = MAX_CLIENTS;
    c.n_txns = MAX_TXNS;
    c.clears = false;
  }
  return c;
}

static void open_round_store(void) {
  assert_int_equal(make_directory(NULL), 0);
  round_of.store = open_store(MAP_SIZE);
}

static void close_round_store(void) {
  for (uint32_t i = 0; i < N_SPACES; i++) clear_model(i);
  state_store_close(round_of.store);
  remove_directory(NULL);
}

/* Whether it fails once in a few times, with an empty store. */
static bool still_fails(const struct config *config, char *said, size_t size) {
  bool has_failed = false;
  for (int i = 0; i < 8 && !has_failed; i++) {
    open_round_store();
    has_failed = !run_round(config);
    if (has_failed) snprintf(said, size, "%s", round_of.said);
    close_round_store();
  }
  return has_failed;
}

/* Takes away what can go, until nothing can. */
static void shrink(struct config config) {
  char said[sizeof round_of.said] = "";
  bool is_smaller = still_fails(&config, said, sizeof said);
  if (!is_smaller) printf("  from an empty store it does not fail again\n");
  while (is_smaller) {
    is_smaller = false;
    for (uint32_t kind = 0; kind < N_OPS + 3; kind++) {
      struct config next = config;
      if (kind < N_OPS && !(config.kinds >> kind & 1)) continue;
      if (kind < N_OPS) next.kinds &= ~(1u << kind);
      if (kind == N_OPS) next.n_txns = config.n_txns / 2;
      if (kind == N_OPS + 1) next.n_clients = config.n_clients - 1;
      if (kind == N_OPS + 2) next.clears = false;
      bool has_reads = next.kinds & ((1u << N_READING) - 1) & ~(1u << OP_SPACE);
      if (!next.n_txns || !next.n_clients || !has_reads || (kind == N_OPS + 2 && !config.clears)) continue;
      if (!still_fails(&next, said, sizeof said)) continue;
      config = next;
      is_smaller = true;
    }
  }
  printf("  smallest: seed %" PRIu64 ", %u clients, %u transactions each, kinds", config.seed, config.n_clients, config.n_txns);
  for (uint32_t kind = 0; kind < N_OPS; kind++)
    if (config.kinds >> kind & 1) printf(" %s", op_words[kind]);
  printf("%s%s\n  %s\n", config.clears ? ", clears" : "", config.is_free ? ", free" : "", said);
}

static enum broken parse_broken(const char *word) {
  static const char *const words[] = {"nothing", "ranges", "keys", "chunks"};
  for (int i = 0; word && i < 4; i++)
    if (strcmp(word, words[i]) == 0) return (enum broken)i;
  return BROKEN_NOTHING;
}

/* One that fails ends it. Stores last for some rounds. */
static bool run_rounds(const struct fuzz_options *o, uint64_t *n) {
  enum { ROUNDS = IS_LATE ? 4 : 100 };
  enum broken broken = parse_broken(o->own);
  time_t end = fuzz_end(o);
  bool ok = true;
  for (; ok && *n < o->count && (!end || time(NULL) < end); ++*n) {
    struct config config = any_config(o->seed + *n, broken);
    if (*n % ROUNDS == 0) open_round_store();
    ok = run_round(&config);
    if (!ok) printf("seed %" PRIu64 ": %s\n", config.seed, round_of.said);
    if (!ok || *n % ROUNDS == ROUNDS - 1) close_round_store();
    if (!ok && !broken) shrink(config);
  }
  if (ok && *n % ROUNDS) close_round_store();
  return ok;
}

int main(int argc, char **argv) {
  struct fuzz_options o = fuzz_parse(argc, argv, "--break");
  uint64_t n = 0;
  memset(longest, 'z', sizeof longest);
  pthread_mutex_init(&round_of.mutex, NULL);
  for (int i = 0; i < MAX_CLIENTS; i++) {
    struct client *c = &round_of.clients[i];
    c->records = calloc(MAX_TXNS, sizeof *c->records);
    c->seal.make = make_seal;
    pthread_cond_init(&c->cond, NULL);
  }
  bool ok = run_rounds(&o, &n);
  for (int i = 0; i < MAX_CLIENTS; i++) free(round_of.clients[i].records);
  printf("%" PRIu64 " rounds, %u conflicts, %u ran ahead, %u over a limit: %s\n", n, round_of.n_conflicts, round_of.n_ahead,
         round_of.n_limited, ok ? "as one at a time" : "FAIL");
  return ok ? 0 : 1;
}
