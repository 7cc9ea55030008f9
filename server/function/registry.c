/* The registry keeps two things: module bytes in files named by their digest, and one record per name in the state store under
 * a reserved space. A deployment is durable in this order: file (written aside, synced, renamed), record, publication.
 * So a record always points to a complete file, whatever instant the process dies at; files without a record are
 * removed at the next start.
 *
 * Locks: `writing` serialises deployments and deletions (held across disk writes, not across compilation); `table_lock` guards
 * the sorted table and is held for a few instructions. Order: writing, then table_lock. Event loops take table_lock only when the
 * epoch has moved. */
#define _GNU_SOURCE /* sigabbrev_np */
#include "server/function/registry.h"

#include "base/arena.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "jit/artifact/cache.h"
#include "jit/artifact/file_kind.h"
#include "runtime/compile.h"
#include "server/function/crash.h"
#include "server/function/slot.h"
#include "server/function/stored_module.h"
#include "server/function/tool.h"

#include <cjson/cJSON.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char REGISTRY_SPACE[] = "\x01registry";
static const char KEPT_SPACE[] = "\x01kept";         /* names of deleted functions whose state is still there */
static const char GROUPS_SPACE[] = "\x01groups";     /* full names of groups that functions share state in, or have */
static const char CRASHED_SPACE[] = "\x01crashed";   /* struct crashed by the digest of a module */
static const char VERSIONS_SPACE[] = "\x01versions"; /* struct past, of deleted functions */

enum { MAX_STORED_MODULE = 1 << 30 };

struct registry {
  struct gw_engine *engine;
  struct state_store *state;
  const struct function_limits *_Atomic limits; /* the caller's, see registry_limit */
  char *directory;                              /* of the modules */
  _Atomic uint64_t epoch;
  atomic_bool has_failed; /* a module could not be loaded since they were forgotten last */
  pthread_mutex_t writing;
  pthread_rwlock_t table_lock;
  struct crash_file *crashes;
  struct settings_key key;
  struct background *background; /* TIER_AUTO: compiles; else NULL */
  struct code_room code;
  pthread_mutex_t watching_lock;
  struct gw_engine *watching; /* NULL: nobody has asked for it */
  struct entry **entries;     /* sorted by name */
  size_t n_entries, capacity;
};

/* --- loading ----------------------------------------------------------------------------------------------------- */

static bool is_compiled_once(enum tier_choice tier) { return tier == TIER_FAST || tier == TIER_AUTO; }

/* Decode, validate, compile if calls are to wait for it, and one trial instance, which finds unknown imports and
 * start functions that trap. */
static bool prepare(struct registry *r, struct function *f, enum tier_choice tier, const void *bytes, size_t size,
                    struct gw_error *err) {
  const struct function_limits *limits = r->limits;
  f->module = gw_module_create(r->engine, bytes, size, err);
  if (f->module) function_count_code(f, &r->code, size);
  if (!f->module || !function_classify(f, err)) return false;
  if (tier == TIER_FAST && !gw_module_compile(f->module, err)) return false;
  if (is_compiled_once(tier) && module_is_compiled(f->module)) atomic_store(&f->code_state, CODE_READY);
  struct slot *trial = slot_create(r->engine, f, function_tier(f), limits, err);
  bool ok = trial && slot_try_start(trial, limits, err);
  slot_destroy(trial);
  return ok;
}

/* The same of what nobody deployed: it is not tried, as it is run at once, and not compiled. */
static bool prepare_given(struct registry *r, struct function *f, struct gw_error *err) {
  const void *bytes = f->given.bytes + f->given_at;
  if (!file_is_module(bytes, f->size, err)) return false;
  f->module = gw_module_create(r->engine, bytes, f->size, err);
  if (f->module) function_count_code(f, &r->code, f->size);
  return f->module && function_classify(f, err);
}

static bool prepare_watched(struct registry *r, struct function *f, enum tier_choice tier, const void *bytes, size_t size,
                            struct gw_error *err) {
  const struct function *before = crash_enter(f);
  bool ok = prepare(r, f, tier, bytes, size, err);
  crash_enter(before);
  return ok;
}

/* `f` can be called. */
static void compile_in_background(struct registry *r, struct function *f) {
  if (!r->background || function_code_state(f) == CODE_READY || !is_compiled_once(function_tier_choice(f))) return;
  atomic_store(&f->code_state, CODE_WAITING);
  background_compile(r->background, f);
}

struct background_totals registry_compilations(struct registry *r) {
  return r->background ? background_totals(r->background) : (struct background_totals){0};
}

static char *module_path(const struct registry *r, struct arena *arena, const char *digest) {
  return arena_format(arena, "%s/%s.wasm", r->directory, digest);
}

/* What another node was given, from the store that both have; then it is a file here, too. */
static bool fetch_module(struct registry *r, const char *digest, struct buffer *out, struct gw_error *err) {
  struct arena arena = {0};
  char found[DIGEST_HEX_SIZE];
  size_t before = out->size;
  bool ok = stored_module_read(r->state, digest, out, err);
  if (ok) {
    struct digest whole = digest_of(out->bytes + before, out->size - before);
    digest_print(&whole, found);
    ok = strcmp(found, digest) == 0 || error_set(err, GW_ERROR_STATE, "the module %.16s... in the database is damaged", digest);
  }
  ok = ok && file_write_durably(module_path(r, &arena, digest), out->bytes + before, out->size - before, 0600, err);
  arena_clear(&arena);
  return ok;
}

bool registry_read_module(struct registry *r, const char *digest, struct buffer *out, struct gw_error *err) {
  struct arena arena = {0};
  if (!digest_is_hex(digest)) return false;
  const char *path = module_path(r, &arena, digest);
  bool is_missing = state_store_is_shared(r->state) && access(path, F_OK) != 0;
  bool ok = is_missing ? fetch_module(r, digest, out, err) : buffer_read_file(out, path, MAX_STORED_MODULE, err);
  arena_clear(&arena);
  return ok;
}

/* The function's module as it is stored. */
static bool read_stored(struct registry *r, const struct function *f, struct buffer *bytes, struct gw_error *err) {
  struct arena arena = {0};
  char found[DIGEST_HEX_SIZE];
  bool ok = registry_read_module(r, f->digest, bytes, err);
  if (ok) {
    struct digest digest = digest_of(bytes->bytes, bytes->size);
    digest_print(&digest, found);
    if (strcmp(found, f->digest) != 0)
      ok = error_set(err, GW_ERROR_IO, "the stored module of function %s is damaged: its digest is not %.16s...", f->name,
                     f->digest);
  }
  arena_clear(&arena);
  return ok;
}

static bool load_stored(struct registry *r, struct function *f, struct gw_error *err) {
  struct buffer bytes = {0};
  bool ok = read_stored(r, f, &bytes, err) && prepare_watched(r, f, function_tier_choice(f), bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  return ok;
}

/* The same prices, and nothing is compiled. */
static struct gw_engine *take_watching(struct registry *r, struct gw_error *err) {
  struct gw_engine_options options = {.gas = true, .watch = true, .schedule = &r->engine->schedule};
  pthread_mutex_lock(&r->watching_lock);
  if (!r->watching) r->watching = gw_engine_create(&options, err);
  pthread_mutex_unlock(&r->watching_lock);
  return r->watching;
}

struct function *registry_load_watched(struct registry *r, const struct function *f, struct gw_engine **engine,
                                       struct gw_error *err) {
  struct buffer bytes = {0};
  struct function *copy = NULL;
  *engine = take_watching(r, err);
  if (*engine && read_stored(r, f, &bytes, err)) {
    const struct function *before = crash_enter(f);
    copy = function_copy(f);
    copy->module = gw_module_create(*engine, bytes.bytes, bytes.size, err);
    if (!copy->module || !function_classify(copy, err)) {
      function_release(copy);
      copy = NULL;
    }
    crash_enter(before);
  }
  buffer_clear(&bytes);
  return copy;
}

static bool has_crashed(struct registry *r, const char *digest, struct gw_error *err);

static bool load_given(struct registry *r, struct function *f, struct gw_error *err) {
  const struct function *before = crash_enter(f);
  bool ok = !has_crashed(r, f->digest, err) && prepare_given(r, f, err);
  crash_enter(before);
  buffer_clear(&f->given);
  return ok;
}

/* --- the table --------------------------------------------------------------------------------------------------- */

/* Index of the first name that is not less; table_lock held. */
static size_t table_position(const struct registry *r, const char *name, bool *is_there) {
  size_t low = 0, high = r->n_entries;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(r->entries[middle]->name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *is_there = low < r->n_entries && strcmp(r->entries[low]->name, name) == 0;
  return low;
}

/* NULL: the name means nothing; table_lock held. */
static struct entry *table_find(const struct registry *r, const char *name) {
  bool is_there;
  size_t at = table_position(r, name, &is_there);
  return is_there ? r->entries[at] : NULL;
}

/* Publishes `entry` under its name, or removes the name when that is NULL; returns what was there. */
static struct entry *table_replace(struct registry *r, const char *name, struct entry *entry) {
  pthread_rwlock_wrlock(&r->table_lock);
  bool is_there;
  size_t at = table_position(r, name, &is_there);
  struct entry *old = is_there ? r->entries[at] : NULL;
  size_t behind = (r->n_entries - at) * sizeof(void *);
  if (entry && !is_there && r->n_entries == r->capacity) array_grow(r->entries, r->capacity, 16);
  if (entry && !is_there) {
    memmove(r->entries + at + 1, r->entries + at, behind);
    r->n_entries++;
  } else if (!entry && is_there) {
    memmove(r->entries + at, r->entries + at + 1, behind - sizeof(void *));
    r->n_entries--;
  }
  if (entry) r->entries[at] = entry;
  pthread_rwlock_unlock(&r->table_lock);
  atomic_fetch_add(&r->epoch, 1);
  return old;
}

uint64_t registry_epoch(const struct registry *r) { return atomic_load_explicit(&r->epoch, memory_order_acquire); }

/* The alias that leads there, but for versions. NULL: nothing is there. */
static struct function *follow(const struct entry *e, const char *word, const struct entry_alias **alias) {
  uint64_t version = word ? entry_version_of(word) : 0;
  *alias = version ? NULL : word ? entry_alias(e, word) : e->aliases;
  return version ? entry_version(e, version) : *alias ? entry_version(e, (*alias)->version) : NULL;
}

struct function *registry_look(struct registry *r, const char *address, struct registry_split *split) {
  char name[FUNCTION_MAX_FULL_NAME + 1];
  const char *word = function_split_address(address, name);
  const struct entry_alias *alias;
  *split = (struct registry_split){0};
  pthread_rwlock_rdlock(&r->table_lock);
  const struct entry *e = table_find(r, name);
  struct function *f = e ? follow(e, word, &alias) : NULL;
  if (f) function_retain(f);
  if (f && alias) *split = (struct registry_split){alias->canary, alias->share};
  pthread_rwlock_unlock(&r->table_lock);
  return f;
}

void registry_print_settings(const struct registry *r, const struct function *f, struct buffer *out) {
  function_print_settings(f, &r->key, out);
}

struct function *registry_find(struct registry *r, const char *address) {
  struct registry_split split;
  return registry_look(r, address, &split);
}

void registry_each(struct registry *r, void (*each)(void *arg, const struct entry *entry), void *arg) {
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_entries; i++) each(arg, r->entries[i]);
  pthread_rwlock_unlock(&r->table_lock);
}

bool registry_with(struct registry *r, const char *name, void (*visit)(void *arg, const struct entry *entry), void *arg) {
  pthread_rwlock_rdlock(&r->table_lock);
  const struct entry *e = table_find(r, name);
  if (e) visit(arg, e);
  pthread_rwlock_unlock(&r->table_lock);
  return e != NULL;
}

/* A copy, also to change, or NULL. */
static struct entry *copy_entry(struct registry *r, const char *name) {
  pthread_rwlock_rdlock(&r->table_lock);
  const struct entry *e = table_find(r, name);
  struct entry *copy = e ? entry_copy(e) : NULL;
  pthread_rwlock_unlock(&r->table_lock);
  return copy;
}

struct entry *registry_entry(struct registry *r, const char *name) {
  return copy_entry(r, name);
}

/* A copy of the tenant's first entry whose name is greater ("": of all). */
static struct entry *copy_behind(struct registry *r, const char *name, const char *tenant) {
  bool is_there;
  struct entry *copy = NULL;
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = table_position(r, name, &is_there) + is_there; i < r->n_entries && !copy; i++)
    if (function_is_of(r->entries[i]->name, tenant)) copy = entry_copy(r->entries[i]);
  pthread_rwlock_unlock(&r->table_lock);
  return copy;
}

void registry_each_of(struct registry *r, const char *tenant, void (*each)(void *arg, const struct entry *entry), void *arg) {
  char name[FUNCTION_MAX_FULL_NAME + 1] = "";
  for (struct entry *e; (e = copy_behind(r, name, tenant));) {
    memcpy(name, e->name, sizeof name);
    each(arg, e);
    entry_destroy(e);
  }
}

static bool has_digest(const struct entry *e, const char *digest) {
  for (size_t i = 0; i < e->n_versions; i++)
    if (strcmp(e->versions[i]->digest, digest) == 0) return true;
  return false;
}

static bool digest_is_used(struct registry *r, const char *digest) {
  bool is_used = false;
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_entries && !is_used; i++) is_used = has_digest(r->entries[i], digest);
  pthread_rwlock_unlock(&r->table_lock);
  return is_used;
}

/* --- modules in memory ------------------------------------------------------------------------------------------- */

/* The time of their clocks. */
static uint64_t loops_now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

/* A part of the memory limit. What is beyond goes to the disk again, those first that were not called for the longest time, but
 * none that was a moment ago. */
enum { CODE_PART = 4, COLD_MS = 1000 };

struct coldest {
  uint64_t used_at;
  struct function *function; /* with a reference; NULL: there is none */
};

static void look_for_coldest(struct coldest *c, const struct entry *e) {
  for (size_t i = 0; i < e->n_versions; i++) {
    struct function *f = e->versions[i];
    uint64_t used_at = atomic_load_explicit(&f->used_at, memory_order_relaxed);
    bool is_limited = atomic_load_explicit(&f->n_running, memory_order_relaxed); /* and a copy would count from 0 */
    if (function_load_state(f) != LOAD_READY || used_at >= c->used_at || is_limited) continue;
    function_release(c->function);
    *c = (struct coldest){used_at, function_retain(f)};
  }
}

/* Its version as it is stored; loops see that the name has changed and let go of the other. `writing` held. */
static void unload(struct registry *r, struct function *f) {
  struct entry *e = copy_entry(r, f->name);
  for (size_t i = 0; i < e->n_versions; i++) {
    if (e->versions[i] != f) continue;
    e->versions[i] = function_copy(f);
    function_keep_usage(e->versions[i], f);
    function_let_go(f);
    function_release(f);
  }
  entry_destroy(table_replace(r, f->name, e));
}

/* False: all were called a moment ago. */
static bool unload_coldest(struct registry *r) {
  uint64_t now = loops_now_ms();
  struct coldest coldest = {.used_at = now > COLD_MS ? now - COLD_MS : 0};
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_entries; i++) look_for_coldest(&coldest, r->entries[i]);
  pthread_rwlock_unlock(&r->table_lock);
  if (coldest.function) unload(r, coldest.function);
  function_release(coldest.function);
  return coldest.function;
}

static void look_for_failed(struct function **failed, const struct entry *e) {
  for (size_t i = 0; i < e->n_versions && !*failed; i++) {
    struct function *f = e->versions[i];
    if (function_load_state(f) == LOAD_FAILED && f->may_load_again) *failed = function_retain(f);
  }
}

/* What the system refused, it may give the next time: memory, descriptors, a file that is there again. `writing` held. */
static bool forget_failure(struct registry *r) {
  struct function *failed = NULL;
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_entries && !failed; i++) look_for_failed(&failed, r->entries[i]);
  pthread_rwlock_unlock(&r->table_lock);
  if (failed) unload(r, failed);
  function_release(failed);
  return failed;
}

bool registry_has_failed(const struct registry *r) { return atomic_load_explicit(&r->has_failed, memory_order_relaxed); }

void registry_forget_failures(struct registry *r) {
  if (!atomic_exchange(&r->has_failed, false)) return;
  pthread_mutex_lock(&r->writing);
  while (forget_failure(r)) continue;
  pthread_mutex_unlock(&r->writing);
}

bool registry_has_much_code(const struct registry *r) {
  uint64_t going = atomic_load_explicit(&r->code.going, memory_order_relaxed), limit = r->limits->memory_limit;
  return limit && registry_code_bytes(r) > limit / CODE_PART + going;
}

bool registry_is_over_its_part(const struct registry *r) {
  uint64_t limit = r->limits->memory_limit;
  return limit && registry_code_bytes(r) > limit / CODE_PART;
}

/* `writing` not held. */
void registry_limit_code(struct registry *r) {
  if (!registry_is_over_its_part(r)) return;
  if (registry_has_much_code(r)) {
    pthread_mutex_lock(&r->writing);
    while (registry_has_much_code(r) && unload_coldest(r)) continue;
    pthread_mutex_unlock(&r->writing);
  }
  if (r->background) background_drop_unwanted(r->background); /* among them what was unloaded */
}

uint64_t registry_code_bytes(const struct registry *r) { return atomic_load_explicit(&r->code.bytes, memory_order_relaxed); }

bool registry_load(struct registry *r, struct function *f) {
  bool is_new = false;
  pthread_mutex_lock(&f->lock);
  if (function_load_state(f) == LOAD_PENDING) {
    is_new = f->is_loose ? load_given(r, f, &f->error) : load_stored(r, f, &f->error);
    function_touch(f, loops_now_ms());
    if (is_new && !f->is_loose) compile_in_background(r, f);
    f->may_load_again = !is_new && !f->is_loose;
    atomic_store_explicit(&f->load_state, is_new ? LOAD_READY : LOAD_FAILED, memory_order_release);
    if (f->may_load_again) atomic_store(&r->has_failed, true);
  }
  pthread_mutex_unlock(&f->lock);
  if (is_new) registry_limit_code(r);
  return function_load_state(f) == LOAD_READY;
}

/* --- records ----------------------------------------------------------------------------------------------------- */

/* 0: there is no record. */
static uint64_t record_revision(const void *record, size_t size) {
  cJSON *json = record ? cJSON_ParseWithLength(record, size) : NULL;
  double revision = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, "revision"));
  cJSON_Delete(json);
  return revision > 0 && revision < 9e15 ? (uint64_t)revision : 0;
}

static bool met_another(const char *name, struct gw_error *err) {
  return error_set(err, GW_ERROR_CONFLICT, "another node has just changed function %s: try again", name);
}

/* Not over what another node has written since this one has read it. `writing` held, or nobody else is there yet. */
static bool record_put(struct registry *r, const char *name, const char *text, struct gw_error *err) {
  const struct entry *mine = table_find(r, name);
  struct state_txn *txn = state_txn_begin(r->state, REGISTRY_SPACE);
  const void *value = NULL;
  size_t size = 0;
  int found = state_txn_get_wait(txn, name, strlen(name), &value, &size, err);
  bool ok = found >= 0;
  if (ok && record_revision(found ? value : NULL, size) != (mine ? mine->revision : 0)) ok = met_another(name, err);
  ok = ok && state_txn_set(txn, name, strlen(name), text, strlen(text), err) && state_txn_tell_others(txn, err);
  if (ok) return state_txn_commit_wait(txn, err) || met_another(name, err);
  state_txn_abort(txn);
  return false;
}

static bool record_write(struct registry *r, const struct entry *e, struct gw_error *err) {
  char *text = entry_print(e);
  bool ok = text && (state_store_is_shared(r->state)
                         ? record_put(r, e->name, text, err)
                         : state_put(r->state, REGISTRY_SPACE, e->name, strlen(e->name), text, strlen(text), err));
  if (!ok) error_set(err, GW_ERROR_STATE, "the record of function %s cannot be written", e->name);
  cJSON_free(text);
  return ok;
}

/* One record at start. */
static bool record_read(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct registry *r = arg;
  char name[FUNCTION_MAX_FULL_NAME + 1];
  if (!function_full_name_is_valid(key, key_size)) return true;
  memcpy(name, key, key_size);
  name[key_size] = 0;
  entry_destroy(table_replace(r, name, entry_parse(name, value, value_size, r->limits, r->crashes, &r->key)));
  return true;
}

/* What outlives a function, so that neither a version nor a tag comes twice; the host's order. Records of before have the version
 * only. */
struct past {
  uint64_t last, revision;
};

static bool past_keep(struct registry *r, const struct entry *e, struct gw_error *err) {
  struct past past = {e->last, e->revision};
  return state_put(r->state, VERSIONS_SPACE, e->name, strlen(e->name), &past, sizeof past, err);
}

/* Zeros: there never was a function of this name. */
static bool past_find(struct registry *r, const char *name, struct past *past, struct gw_error *err) {
  const void *value;
  size_t size;
  struct state_txn *txn = state_txn_begin(r->state, VERSIONS_SPACE);
  int found = state_txn_get_wait(txn, name, strlen(name), &value, &size, err);
  *past = (struct past){0};
  if (found == 1 && (size == sizeof past->last || size == sizeof *past)) memcpy(past, value, size);
  if (past->revision < past->last) past->revision = past->last; /* each version was a change */
  state_txn_abort(txn);
  return found >= 0;
}

static bool has_record(struct registry *r, const char *space, const char *name) {
  struct state_txn *txn = state_txn_begin(r->state, space);
  const void *value;
  size_t size;
  bool is_there = state_txn_get_wait(txn, name, strlen(name), &value, &size, NULL) == 1;
  state_txn_abort(txn);
  return is_there;
}

/* --- changes ----------------------------------------------------------------------------------------------------- */

static double now_ms(clockid_t clock) { return (double)clock_ns(clock) / 1e6; }

/* `writing` held. */
static void drop_file(struct registry *r, const char *digest) {
  if (!digest[0] || digest_is_used(r, digest)) return;
  struct arena arena = {0};
  remove(module_path(r, &arena, digest));
  arena_clear(&arena);
}

/* Frees what a name meant before, with the files that nobody needs now. `writing` held. */
static void drop_entry(struct registry *r, struct entry *e) {
  for (size_t i = 0; e && i < e->n_versions; i++) drop_file(r, e->versions[i]->digest);
  entry_destroy(e);
}

/* Makes the changed entry durable and publishes it, or destroys it. `writing` held. */
static bool replace(struct registry *r, struct entry *e, struct gw_error *err) {
  e->revision++;
  if (!record_write(r, e, err)) {
    entry_destroy(e);
    return false;
  }
  drop_entry(r, table_replace(r, e->name, e));
  return true;
}

static bool no_function(const char *name, struct gw_error *err) {
  return error_set(err, GW_ERROR_NOT_FOUND, "no function is called %s", name);
}

static bool meets(const struct entry *e, const struct registry_condition *c) {
  if (!c || (!c->must_exist && !c->must_be_new && !c->n_revisions)) return true;
  if (c->must_be_new) return !e;
  bool is_one = c->must_exist && e;
  for (size_t i = 0; e && i < c->n_revisions; i++) is_one |= c->revisions[i] == e->revision;
  return is_one;
}

/* `e` is the entry as it is, or NULL. */
static bool check_condition(const struct entry *e, const struct registry_condition *c, const char *name, struct gw_error *err) {
  if (meets(e, c)) return true;
  if (!e) return error_set(err, GW_ERROR_PRECONDITION, "no function is called %s", name);
  return error_set(err, GW_ERROR_PRECONDITION, "function %s is at revision r%llu", name, (unsigned long long)e->revision);
}

static bool is_kept(struct registry *r, const char *name) { return has_record(r, KEPT_SPACE, name); }
static bool note_group(struct registry *r, const struct function *f, struct gw_error *err);

static struct function_config choose(const struct function_choice *choice, const struct function *old) {
  struct function_config config = choice->config;
  if (old && !choice->has_private) config.is_private = old->config.is_private;
  if (old && !choice->has_backtraces) config.shows_backtraces = old->config.shows_backtraces;
  return config;
}

static bool entry_may_write(const struct entry *e) {
  for (size_t i = 0; i < e->n_versions; i++)
    if (function_may_write(e->versions[i])) return true;
  return false;
}

/* The same bytes do the same again. */
static void inherit_quarantine(struct function *f, const struct entry *e) {
  for (size_t i = 0; i < e->n_versions; i++) {
    const struct function *old = e->versions[i];
    if (strcmp(old->digest, f->digest) != 0 || !function_quarantine(old)) continue;
    atomic_store(&f->quarantine, atomic_load(&old->quarantine));
    f->quarantine_ms = old->quarantine_ms;
  }
}

/* A damaged record has one version, which is none. */
static void remove_damaged(struct entry *e) {
  if (e->n_versions == 1 && !e->versions[0]->digest[0]) entry_remove(e, e->versions[0]->version);
}

/* The new version is what the alias and, if it is the first, the name leads to. */
static bool lead_to(struct entry *e, const struct function *f, const char *alias, struct gw_error *err) {
  struct entry_alias to = {.version = f->version};
  bool is_first = e->n_versions == 1;
  snprintf(to.name, sizeof to.name, "%s", *alias ? alias : ENTRY_LIVE);
  if (is_first) e->aliases->version = f->version;
  return entry_set_alias(e, &to, err);
}

/* What a new version has from the one that it follows on its alias, or else on the live one. NULL: there is none. */
static struct function *base_of(const struct entry *e, const char *alias) {
  const struct entry_alias *there = *alias ? entry_alias(e, alias) : NULL;
  return there ? entry_version(e, there->version) : entry_live(e);
}

/* Those of the version before, unless it has its own. */
static bool follow_settings(struct function *f, const struct function *base, struct gw_error *err) {
  if (f->settings || !base) return true;
  if (base->settings && base->settings->is_damaged)
    return error_set(err, GW_ERROR_IO, "%s; a deployment would be without them: set them again first", base->error.message);
  f->settings = settings_retain(base->settings);
  return true;
}

/* As the wish says. */
static bool change_settings(struct registry *r, struct function *f, const struct registry_wish *wish, struct gw_error *err) {
  if (!wish->settings) return true;
  struct settings *changed = settings_patch(f->name, f->settings, wish->settings, &r->key, err);
  if (!changed) return false;
  settings_release(f->settings);
  f->settings = changed;
  return true;
}

static bool drop(struct entry *e) {
  entry_destroy(e);
  return false;
}

/* Adds `f` to its name's entry as the next version, and to what the registry's records say. `e` is a copy of the entry, or NULL;
 * it is consumed. `writing` held. */
static bool publish(struct registry *r, struct function *f, struct entry *e, const struct registry_wish *wish,
                    struct registry_outcome *out, struct gw_error *err) {
  out->is_new = !e;
  bool was_kept = is_kept(r, f->name);
  struct past past = {0};
  if (!e) {
    e = entry_create(f->name);
    if (!past_find(r, f->name, &past, err)) return drop(e);
    e->last = past.last;
    e->revision = past.revision;
  }
  const struct function *base = base_of(e, wish->alias);
  if (!follow_settings(f, base, err) || !change_settings(r, f, wish, err) || !function_open_directories(f, err) ||
      !note_group(r, f, err))
    return drop(e);
  f->config = choose(&wish->choice, base);
  remove_damaged(e);
  inherit_quarantine(f, e);
  f->had_state = was_kept || entry_may_write(e);
  f->version = e->last + 1;
  function_seal_settings(f, &r->key);
  entry_add(e, function_retain(f));
  if (!lead_to(e, f, wish->alias, err)) return drop(e);
  entry_trim(e, r->limits->keep_versions);
  struct arena arena = {0};
  bool ok = !wish->bytes || file_write_durably(module_path(r, &arena, f->digest), wish->bytes, wish->size, 0600, err);
  arena_clear(&arena);
  ok = ok && (!wish->bytes || stored_module_keep(r->state, f->digest, wish->bytes, wish->size, err));
  if (!ok) entry_destroy(e);
  ok = ok && replace(r, e, err);
  if (ok)
    out->revision = e->revision; /* it is published, and nobody else changes it */
  else
    drop_file(r, f->digest);
  if (ok && was_kept) state_remove(r->state, KEPT_SPACE, f->name, strlen(f->name), NULL); /* it has a function again */
  return ok;
}

static bool is_own(struct registry *r, const struct artifact *a) {
  struct gw_cache *cache = engine_cache(r->engine);
  struct artifact *kept = cache ? cache_find(cache, a->key) : NULL;
  bool is_same = kept && kept->size == a->size && memcmp(kept->bytes, a->bytes, a->size) == 0;
  artifact_unmap(kept);
  return is_same;
}

/* Machine code from strangers is not data. What is admitted goes to the cache, where the module's code is looked for; code of
 * another optimisation level than this server's would never be found there, so it is refused. */
static bool admit_artifact(struct registry *r, const void *bytes, size_t size, struct artifact *a, struct gw_error *err) {
  const struct function_limits *limits = r->limits;
  struct gw_cache *cache = engine_cache(r->engine);
  if (!artifact_check(bytes, size, a, err)) return false;
  if (!artifact_verify(a, limits->trusted, limits->n_trusted) && !is_own(r, a))
    return error_set(err, GW_ERROR_FORBIDDEN,
                     "machine code is taken only when a key signed it that this server trusts: deploy the .wasm file");
  struct digest digest = digest_of(a->module, a->module_size);
  if (!digest_is(&digest, &a->key->module))
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact's code is of another module than it holds");
  if (!cache) return error_set(err, GW_ERROR_UNAVAILABLE, "this server keeps no compiled modules: deploy the .wasm file");
  return engine_accepts(r->engine, a, err) && cache_store(cache, a->key, bytes, size, err);
}

static bool put_locked(struct registry *r, struct function *f, const struct registry_wish *wish, struct registry_outcome *out,
                       struct gw_error *err) {
  struct entry *e = copy_entry(r, f->name);
  if (check_condition(e, &wish->condition, f->name, err)) return publish(r, f, e, wish, out, err);
  entry_destroy(e);
  return false;
}

/* The version whose settings a change or a deployment begins with, with a reference. NULL: there is none. */
static struct function *find_base(struct registry *r, const char *name, const char *alias) {
  pthread_rwlock_rdlock(&r->table_lock);
  const struct entry *e = table_find(r, name);
  struct function *base = e ? base_of(e, alias) : NULL;
  if (base) function_retain(base);
  pthread_rwlock_unlock(&r->table_lock);
  return base;
}

/* Of a version that will have the settings of the one before it. */
static enum tier_choice next_tier(struct registry *r, const char *name, const char *alias) {
  struct function *base = find_base(r, name, alias);
  enum tier_choice tier = base ? function_tier_choice(base) : r->limits->tier;
  function_release(base);
  return tier;
}

struct function *registry_put(struct registry *r, const char *name, const struct registry_wish *given,
                              struct registry_outcome *out, struct gw_error *err) {
  struct artifact artifact;
  struct registry_wish wish = *given;
  if (artifact_is(wish.bytes, wish.size)) {
    if (!admit_artifact(r, wish.bytes, wish.size, &artifact, err)) return NULL;
    wish.bytes = artifact.module;
    wish.size = artifact.module_size;
  }
  if (!file_is_module(wish.bytes, wish.size, err)) return NULL;
  struct function *f = function_create(name, r->limits, r->crashes);
  double begin = now_ms(CLOCK_MONOTONIC);
  bool ok = prepare_watched(r, f, next_tier(r, name, wish.alias), wish.bytes, wish.size, err) &&
            tool_read(wish.bytes, wish.size, &f->tool, err);
  if (ok) {
    f->compile_ms = now_ms(CLOCK_MONOTONIC) - begin;
    f->created_ms = (uint64_t)now_ms(CLOCK_REALTIME);
    f->size = wish.size;
    struct digest digest = digest_of(wish.bytes, wish.size);
    digest_print(&digest, f->digest);
    atomic_store(&f->load_state, LOAD_READY);
    function_touch(f, loops_now_ms());
    pthread_mutex_lock(&r->writing);
    ok = put_locked(r, f, &wish, out, err);
    pthread_mutex_unlock(&r->writing);
  }
  if (ok) compile_in_background(r, f);
  if (ok) registry_limit_code(r);
  if (ok) return f;
  function_release(f);
  return NULL;
}

static bool configure_locked(struct registry *r, struct function *f, const struct function *base,
                             const struct registry_wish *wish, struct registry_outcome *out, struct gw_error *err) {
  struct entry *e = copy_entry(r, f->name);
  bool ok = check_condition(e, &wish->condition, f->name, err);
  const struct function *now = e ? base_of(e, wish->alias) : NULL;
  if (ok && (!now || now->version != base->version))
    ok = error_set(err, GW_ERROR_PRECONDITION, "function %s was changed meanwhile", f->name);
  if (ok) return publish(r, f, e, wish, out, err);
  entry_destroy(e);
  return false;
}

/* A copy of `base` with other settings, loaded and tried. */
static struct function *make_configured(struct registry *r, const struct function *base, const cJSON *patch,
                                        struct gw_error *err) {
  struct settings *settings = settings_patch(base->name, base->settings, patch, &r->key, err);
  if (!settings) return NULL;
  struct function *f = function_copy(base);
  settings_release(f->settings);
  f->settings = settings;
  f->created_ms = (uint64_t)now_ms(CLOCK_REALTIME);
  if (registry_load(r, f)) return f;
  *err = f->error;
  function_release(f);
  return NULL;
}

struct function *registry_configure(struct registry *r, const char *name, const struct registry_wish *wish, const cJSON *patch,
                                    struct registry_outcome *out, struct gw_error *err) {
  struct function *base = find_base(r, name, wish->alias);
  struct function *f = base ? make_configured(r, base, patch, err) : NULL;
  bool ok = f || (!base && no_function(name, err));
  if (ok) {
    pthread_mutex_lock(&r->writing);
    ok = configure_locked(r, f, base, wish, out, err);
    pthread_mutex_unlock(&r->writing);
  }
  function_release(base);
  if (ok) return f;
  function_release(f);
  return NULL;
}

/* --- aliases and versions ---------------------------------------------------------------------------------------- */

/* So that who is called behind the change does not wait for its module. What cannot be loaded gets no calls. */
static bool load_version(struct registry *r, const char *name, uint64_t version, struct gw_error *err) {
  char address[FUNCTION_MAX_ADDRESS + 1];
  snprintf(address, sizeof address, "%s@%llu", name, (unsigned long long)version);
  struct function *f = registry_find(r, address);
  bool ok = !f || registry_load(r, f); /* none: said later */
  if (!ok) *err = f->error;
  function_release(f);
  return ok;
}

/* "The one before" becomes its number. */
static bool resolve(const struct entry *e, struct entry_alias *alias, struct gw_error *err) {
  if (alias->version != REGISTRY_PREVIOUS) return true;
  alias->version = e->previous;
  return alias->version || error_set(err, GW_ERROR_NOT_FOUND, "function %s has no version from before", e->name);
}

/* Between look and change, another change may have made another one the one before. */
static bool is_previous_still(const struct entry *e, const struct entry_alias *given, const struct entry_alias *alias,
                              struct gw_error *err) {
  if (given->version != REGISTRY_PREVIOUS || e->previous == alias->version) return true;
  return error_set(err, GW_ERROR_PRECONDITION, "function %s was changed meanwhile", e->name);
}

bool registry_set_alias(struct registry *r, const char *name, const struct entry_alias *given,
                        const struct registry_condition *condition, struct gw_error *err) {
  struct entry_alias alias = *given;
  struct entry *e = copy_entry(r, name);
  bool ok = e ? resolve(e, &alias, err) : no_function(name, err);
  entry_destroy(e);
  ok = ok && load_version(r, name, alias.version, err) && (!alias.share || load_version(r, name, alias.canary, err));
  if (!ok) return false;
  pthread_mutex_lock(&r->writing);
  e = copy_entry(r, name);
  ok = (e || no_function(name, err)) && check_condition(e, condition, name, err) && is_previous_still(e, given, &alias, err) &&
       entry_set_alias(e, &alias, err);
  if (ok) {
    entry_trim(e, r->limits->keep_versions);
    ok = replace(r, e, err);
  } else {
    entry_destroy(e);
  }
  pthread_mutex_unlock(&r->writing);
  return ok;
}

static bool remove_alias(struct entry *e, const char *alias, struct gw_error *err) {
  struct entry_alias *at = entry_alias(e, alias);
  if (!at) return error_set(err, GW_ERROR_NOT_FOUND, "function %s has no alias %s", e->name, alias);
  if (at == e->aliases)
    return error_set(err, GW_ERROR_IN_USE, "%s is what %s itself leads to: it can be changed, not deleted", alias, e->name);
  entry_remove_alias(e, at);
  return true;
}

static bool remove_version(struct entry *e, uint64_t version, struct gw_error *err) {
  if (!entry_version(e, version))
    return error_set(err, GW_ERROR_NOT_FOUND, "function %s has no version %llu", e->name, (unsigned long long)version);
  if (entry_is_led_to(e, version))
    return error_set(err, GW_ERROR_IN_USE, "an alias of function %s leads to version %llu", e->name, (unsigned long long)version);
  entry_remove(e, version);
  return true;
}

bool registry_remove(struct registry *r, const char *name, const char *word, const struct registry_condition *condition,
                     struct gw_error *err) {
  pthread_mutex_lock(&r->writing);
  struct entry *e = copy_entry(r, name);
  uint64_t version = entry_version_of(word);
  bool ok = (e || no_function(name, err)) && check_condition(e, condition, name, err) &&
            (version ? remove_version(e, version, err) : remove_alias(e, word, err));
  if (ok)
    ok = replace(r, e, err);
  else
    entry_destroy(e);
  pthread_mutex_unlock(&r->writing);
  return ok;
}

/* --- groups ------------------------------------------------------------------------------------------------------ */

/* Before a version is published that is in one: a group with state is always known. `writing` held. */
static bool note_group(struct registry *r, const struct function *f, struct gw_error *err) {
  const char *group = f->settings ? f->settings->group : NULL;
  return !group || has_record(r, GROUPS_SPACE, group) || state_put(r->state, GROUPS_SPACE, group, strlen(group), "", 0, err);
}

static bool version_is_in(const struct function *f, const char *group) {
  return f->settings && f->settings->group && strcmp(f->settings->group, group) == 0;
}

static bool entry_is_in(const struct entry *e, const char *group) {
  for (size_t i = 0; i < e->n_versions; i++)
    if (version_is_in(e->versions[i], group)) return true;
  return false;
}

/* Short names of those that are in it, with commas. */
static void list_members(struct registry *r, const char *group, struct buffer *out) {
  out->size = 0;
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_entries; i++)
    if (entry_is_in(r->entries[i], group))
      buffer_format(out, "%s%s", out->size ? "," : "", function_short_name(r->entries[i]->name));
  pthread_rwlock_unlock(&r->table_lock);
  buffer_append(out, "", 1);
}

struct groups {
  struct registry *registry;
  const char *tenant;
  void (*each)(void *arg, const char *name, const char *members);
  void *arg;
  struct buffer members;
};

static bool group_one(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct groups *g = arg;
  char name[FUNCTION_MAX_FULL_NAME + 1] = "";
  (void)value, (void)value_size;
  if (!function_full_name_is_valid(key, key_size)) return true;
  memcpy(name, key, key_size);
  if (g->tenant && !function_is_of(name, g->tenant)) return true;
  list_members(g->registry, name, &g->members);
  g->each(g->arg, name, (const char *)g->members.bytes);
  return true;
}

bool registry_each_group(struct registry *r, const char *tenant, void (*each)(void *arg, const char *name, const char *members),
                         void *arg, struct gw_error *err) {
  struct groups groups = {r, tenant, each, arg, {0}};
  bool ok = state_each(r->state, GROUPS_SPACE, group_one, &groups, err);
  buffer_clear(&groups.members);
  return ok;
}

/* Invocations under way write nothing behind it. `writing` held. */
static bool clear_group(struct registry *r, const char *group, struct gw_error *err) {
  char space[SETTINGS_SPACE_SIZE];
  return state_clear_and_remove(r->state, settings_group_space(group, space), GROUPS_SPACE, group, strlen(group), err);
}

static bool drop_group(struct registry *r, const char *group, struct gw_error *err) {
  struct buffer members = {0};
  list_members(r, group, &members);
  bool ok = members.size == 1 || error_set(err, GW_ERROR_IN_USE, "%.300s shares the state of group %s, in some version",
                                           (const char *)members.bytes, function_short_name(group));
  buffer_clear(&members);
  return ok && clear_group(r, group, err);
}

bool registry_drop_group(struct registry *r, const char *group, struct gw_error *err) {
  pthread_mutex_lock(&r->writing);
  bool ok = has_record(r, GROUPS_SPACE, group) ? drop_group(r, group, err)
                                               : error_set(err, GW_ERROR_NOT_FOUND, "no group is called %s", group);
  pthread_mutex_unlock(&r->writing);
  return ok;
}

/* Those that a deleted function was the last one of. */
static bool clear_groups_of(struct registry *r, const struct entry *e, struct gw_error *err) {
  bool ok = true;
  for (size_t i = 0; ok && i < e->n_versions; i++) {
    const struct settings *s = e->versions[i]->settings;
    struct gw_error in_use = {0};
    if (!s || !s->group || !has_record(r, GROUPS_SPACE, s->group)) continue;
    ok = drop_group(r, s->group, &in_use) || in_use.code == GW_ERROR_IN_USE;
    if (!ok) *err = in_use;
  }
  return ok;
}

/* --- deleting ---------------------------------------------------------------------------------------------------- */

static bool note_first(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  (void)key, (void)key_size, (void)value, (void)value_size;
  *(bool *)arg = true;
  return false;
}

static bool has_state(struct registry *r, const char *name) {
  char answers[FUNCTION_ANSWERS_SIZE];
  bool is_any = false;
  if (!state_each(r->state, name, note_first, &is_any, NULL)) return false;
  if (!is_any) state_each(r->state, function_answers(name, answers), note_first, &is_any, NULL);
  return is_any;
}

/* And what it answered. */
static bool clear_state(struct registry *r, const char *name, const char *record_space, struct gw_error *err) {
  char answers[FUNCTION_ANSWERS_SIZE];
  return state_clear(r->state, function_answers(name, answers), err) &&
         state_clear_and_remove(r->state, name, record_space, name, strlen(name), err);
}

/* State without a function. */
static bool delete_kept(struct registry *r, const char *name, struct gw_error *err) {
  if (!has_state(r, name) && !is_kept(r, name)) return no_function(name, err);
  return clear_state(r, name, KEPT_SPACE, err);
}

struct kept {
  struct registry *registry;
  void (*each)(void *arg, const char *name);
  void *arg;
};

static bool kept_one(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  const struct kept *kept = arg;
  char name[FUNCTION_MAX_FULL_NAME + 1] = "";
  (void)value, (void)value_size;
  if (!function_full_name_is_valid(key, key_size)) return true;
  memcpy(name, key, key_size);
  struct function *f = registry_find(kept->registry, name);
  if (!f) kept->each(kept->arg, name);
  function_release(f);
  return true;
}

bool registry_each_kept(struct registry *r, void (*each)(void *arg, const char *name), void *arg, struct gw_error *err) {
  struct kept kept = {r, each, arg};
  return state_each(r->state, KEPT_SPACE, kept_one, &kept, err);
}

static void mark_deleted(const struct entry *e, bool is_deleted) {
  atomic_store_explicit(&e->versions[0]->fate->is_deleted, is_deleted, memory_order_relaxed);
}

/* `e`: a copy of the entry. */
static bool delete_entry(struct registry *r, const struct entry *e, bool with_state, struct gw_error *err) {
  if (!past_keep(r, e, err)) return false;
  size_t size = strlen(e->name);
  bool has_any = entry_may_write(e) || has_state(r, e->name);
  if (!with_state && has_any && !state_put(r->state, KEPT_SPACE, e->name, size, "", 0, err)) return false;
  mark_deleted(e, true);
  struct entry *there = table_replace(r, e->name, NULL); /* before its state goes: nothing that begins later has its name */
  bool ok =
      with_state ? clear_state(r, e->name, REGISTRY_SPACE, err) : state_remove(r->state, REGISTRY_SPACE, e->name, size, err);
  if (ok) state_tell_others(r->state, &(struct gw_error){0}); /* else they hear of it later */
  if (ok) {
    drop_entry(r, there);
  } else {
    mark_deleted(e, false);
    table_replace(r, e->name, there);
  }
  return ok && (!with_state || clear_groups_of(r, e, err));
}

bool registry_delete(struct registry *r, const char *name, bool with_state, struct gw_error *err) {
  pthread_mutex_lock(&r->writing);
  struct entry *e = copy_entry(r, name);
  bool ok = e ? delete_entry(r, e, with_state, err) : with_state ? delete_kept(r, name, err) : no_function(name, err);
  pthread_mutex_unlock(&r->writing);
  entry_destroy(e);
  return ok;
}

/* --- modules that nobody deployed --------------------------------------------------------------------------------------- */

struct function *registry_make(struct registry *r, const struct registry_run *run, struct gw_error *err) {
  cJSON *patch = cJSON_CreateObject();
  cJSON_AddNumberToObject(patch, "gas_limit", (double)run->gas);
  cJSON_AddNumberToObject(patch, "max_memory", (double)run->memory);
  cJSON_AddNumberToObject(patch, "cpu_ms", (double)run->cpu_ms);
  struct settings *settings = settings_patch(run->name, NULL, patch, &r->key, err);
  cJSON_Delete(patch);
  if (!settings) return NULL;
  struct function *f = function_create(run->name, r->limits, r->crashes);
  f->settings = settings;
  f->is_loose = true;
  atomic_store(&f->fate->is_deleted, true); /* nobody could read a log of it */
  snprintf(f->digest, sizeof f->digest, "%s", run->digest);
  f->created_ms = (uint64_t)now_ms(CLOCK_REALTIME);
  f->given = *run->bytes;
  f->given_at = run->at;
  f->size = run->size;
  *run->bytes = (struct buffer){0};
  function_seal_settings(f, &r->key);
  return f;
}

struct sought {
  const char *digest;
  bool is_there;
};

static void look_for_digest(void *arg, const struct entry *e) {
  struct sought *sought = arg;
  sought->is_there |= has_digest(e, sought->digest);
}

bool registry_read_module_of(struct registry *r, const char *tenant, const char *digest, struct buffer *out,
                             struct gw_error *err) {
  struct sought sought = {.digest = digest};
  char found[DIGEST_HEX_SIZE];
  registry_each_of(r, tenant, look_for_digest, &sought);
  if (!sought.is_there) return error_set(err, GW_ERROR_NOT_FOUND, "no function of the tenant has a module with this digest");
  if (!registry_read_module(r, digest, out, err)) return false;
  struct digest read = digest_of(out->bytes, out->size);
  digest_print(&read, found);
  return strcmp(found, digest) == 0 || error_set(err, GW_ERROR_IO, "the stored module %.16s... is damaged", digest);
}

/* When a process died of a signal while this module ran. */
struct crashed {
  uint64_t time_ms; /* since 1970; the host's order */
  uint32_t signal, unused;
};

enum { CRASHED_MS = 24 * 60 * 60 * 1000 };

static bool note_crashed(struct registry *r, const struct crash_note *note, struct gw_error *err) {
  struct crashed crashed = {.time_ms = note->time_ms, .signal = note->signal};
  size_t size = strlen(note->digest);
  bool is_digest = note->is_complete && size == DIGEST_HEX_SIZE - 1;
  return !is_digest || state_put(r->state, CRASHED_SPACE, note->digest, size, &crashed, sizeof crashed, err);
}

/* A module that nobody deployed cannot be lifted by anybody: for a day nobody runs it again. */
static bool has_crashed(struct registry *r, const char *digest, struct gw_error *err) {
  const void *value;
  size_t size;
  struct crashed crashed = {0};
  struct state_txn *txn = state_txn_begin(r->state, CRASHED_SPACE);
  int found = state_txn_get_wait(txn, digest, strlen(digest), &value, &size, NULL);
  if (found == 1 && size == sizeof crashed) memcpy(&crashed, value, sizeof crashed);
  state_txn_abort(txn);
  if (!crashed.signal || (uint64_t)now_ms(CLOCK_REALTIME) - crashed.time_ms >= CRASHED_MS) return false;
  const char *name = sigabbrev_np((int)crashed.signal);
  error_set(err, GW_ERROR_UNAVAILABLE, "this module ran when the server died of SIG%s: it is not run again for a day",
            name ? name : "?");
  return true;
}

/* --- quarantine -------------------------------------------------------------------------------------------------- */

/* The signals of an entry's versions, to be put back. */
static bool lift(struct registry *r, struct entry *e, struct gw_error *err) {
  uint32_t *signals = heap_new(e->n_versions, sizeof *signals), any = 0;
  for (size_t i = 0; i < e->n_versions; i++) any |= signals[i] = atomic_exchange(&e->versions[i]->quarantine, 0);
  bool ok = any || error_set(err, GW_ERROR_NOT_FOUND, "function %s is not in quarantine", e->name);
  ok = ok && record_write(r, e, err);
  for (size_t i = 0; !ok && i < e->n_versions; i++) atomic_store(&e->versions[i]->quarantine, signals[i]);
  free(signals);
  return ok;
}

bool registry_lift(struct registry *r, const char *name, struct gw_error *err) {
  pthread_mutex_lock(&r->writing);
  struct entry *e = copy_entry(r, name);
  bool ok = e ? lift(r, e, err) : no_function(name, err);
  pthread_mutex_unlock(&r->writing);
  entry_destroy(e);
  return ok;
}

/* The versions whose code this was, if the function is there still. */
static bool put_in_quarantine(struct registry *r, const struct crash_note *note, struct gw_error *err) {
  if (!note_crashed(r, note, err)) return false;
  bool is_name = note->is_complete && function_full_name_is_valid(note->name, strlen(note->name)), is_any = false;
  struct entry *e = is_name ? copy_entry(r, note->name) : NULL;
  for (size_t i = 0; e && i < e->n_versions; i++) {
    struct function *f = e->versions[i];
    if (strcmp(f->digest, note->digest) != 0) continue;
    is_any = true;
    atomic_store(&f->quarantine, note->signal);
    f->quarantine_ms = note->time_ms;
  }
  bool ok = !is_any || record_write(r, e, err);
  entry_destroy(e);
  return ok;
}

/* At the start, before anything can be called. The notes go when what they led to is durable. */
static bool read_crashes(struct registry *r, struct gw_error *err) {
  const struct crash_note *note;
  bool ok = true;
  for (size_t i = 0; ok && (note = crash_note(r->crashes, i)); i++) ok = put_in_quarantine(r, note, err);
  if (ok) crash_clear(r->crashes);
  return ok;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

/* Keeps files that a record names. */
static bool file_is_wanted(void *arg, const char *file_name) {
  char digest[DIGEST_HEX_SIZE];
  if (strlen(file_name) != DIGEST_HEX_SIZE - 1 + 5) return false;
  memcpy(digest, file_name, DIGEST_HEX_SIZE - 1);
  digest[DIGEST_HEX_SIZE - 1] = 0;
  return digest_is_used(arg, digest);
}

struct registry *registry_open(const char *data_dir, struct gw_engine *engine, struct state_store *state,
                               const struct function_limits *limits, struct gw_error *err) {
  struct registry *r = heap_new(1, sizeof *r);
  r->engine = engine;
  r->state = state;
  r->limits = limits;
  pthread_mutex_init(&r->writing, NULL);
  pthread_mutex_init(&r->watching_lock, NULL);
  pthread_rwlock_init(&r->table_lock, NULL);
  struct arena arena = {0};
  r->directory = strdup(arena_format(&arena, "%s/modules", data_dir));
  arena_clear(&arena);
  r->crashes = crash_open(data_dir, err);
  bool ok = r->crashes && settings_open_key(data_dir, &r->key, err) &&
            (limits->tier != TIER_AUTO || (r->background = background_create(err))) && directory_make(r->directory, err) &&
            state_each(state, REGISTRY_SPACE, record_read, r, err);
  if (ok && read_crashes(r, err)) {
    directory_sweep(r->directory, file_is_wanted, r);
    return r;
  }
  registry_close(r);
  return NULL;
}

/* What other nodes have written: names in order, and those records that are new here. */
struct others {
  struct registry *registry;
  struct arena arena;
  struct other {
    const char *name, *text; /* text NULL: as it is here */
    size_t size;
  } * items;
  size_t n, capacity;
};

static bool note_other(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct others *o = arg;
  if (!function_full_name_is_valid(key, key_size)) return true;
  if (o->n == o->capacity) array_grow(o->items, o->capacity, 64);
  struct other *other = &o->items[o->n++];
  *other = (struct other){.name = arena_format(&o->arena, "%.*s", (int)key_size, (const char *)key), .size = value_size};
  const struct entry *mine = table_find(o->registry, other->name);
  if (!mine || mine->revision != record_revision(value, value_size)) other->text = arena_copy(&o->arena, value, value_size);
  return true;
}

static int other_order(const void *name, const void *other) { return strcmp(name, ((const struct other *)other)->name); }

/* `writing` held. */
static void drop_vanished(struct registry *r, const struct others *o) {
  for (size_t i = r->n_entries; i-- > 0;) {
    struct entry *e = r->entries[i];
    if (o->n && bsearch(e->name, o->items, o->n, sizeof *o->items, other_order)) continue;
    if (e->n_versions) mark_deleted(e, true);
    table_replace(r, e->name, NULL);
    drop_entry(r, e);
  }
}

bool registry_refresh(struct registry *r, struct gw_error *err) {
  struct others o = {.registry = r};
  pthread_mutex_lock(&r->writing);
  bool ok = state_each(r->state, REGISTRY_SPACE, note_other, &o, err);
  for (size_t i = 0; ok && i < o.n; i++) {
    const struct other *other = &o.items[i];
    if (!other->text) continue;
    drop_entry(r,
               table_replace(r, other->name, entry_parse(other->name, other->text, other->size, r->limits, r->crashes, &r->key)));
  }
  if (ok) drop_vanished(r, &o);
  pthread_mutex_unlock(&r->writing);
  arena_clear(&o.arena);
  free(o.items);
  return ok;
}

void registry_limit(struct registry *r, const struct function_limits *limits) { r->limits = limits; }

void registry_close(struct registry *r) {
  if (!r) return;
  if (r->background) gw_engine_stop_compiling(r->engine);
  background_destroy(r->background);
  for (size_t i = 0; i < r->n_entries; i++) entry_destroy(r->entries[i]);
  gw_engine_destroy(r->watching);
  crash_close(r->crashes);
  free(r->entries);
  free(r->directory);
  pthread_mutex_destroy(&r->writing);
  pthread_mutex_destroy(&r->watching_lock);
  pthread_rwlock_destroy(&r->table_lock);
  free(r);
}
