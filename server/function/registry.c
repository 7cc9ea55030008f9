/* The registry keeps two things: module bytes in files named by their digest, and one record per name in the state store under
 * a reserved space. A deployment is durable in this order: file (written aside, synced, renamed), record, publication.
 * So a record always points to a complete file, whatever instant the process dies at; files without a record are
 * removed at the next start.
 *
 * Locks: `writing` serialises deployments and deletions (held across disk writes, not across compilation); `table_lock` guards
 * the sorted table and is held for a few instructions. Order: writing, then table_lock. Event loops take table_lock only when the
 * epoch has moved. */
#include "server/function/registry.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "jit/artifact/cache.h"
#include "jit/artifact/file_kind.h"
#include "runtime/compile.h"
#include "server/function/crash.h"
#include "server/function/slot.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char REGISTRY_SPACE[] = "\x01registry";
static const char KEPT_SPACE[] = "\x01kept";         /* names of deleted functions whose state is still there */
static const char VERSIONS_SPACE[] = "\x01versions"; /* the last one of deleted functions: 8 bytes, the host's order */

enum { MAX_STORED_MODULE = 1 << 30 };

struct registry {
  struct gw_engine *engine;
  struct state_store *state;
  struct function_limits limits;
  char *directory; /* of the modules */
  _Atomic uint64_t epoch;
  pthread_mutex_t writing;
  pthread_rwlock_t table_lock;
  struct crash_file *crashes;
  struct background *background; /* TIER_AUTO: compiles; else NULL */
  struct function **functions;   /* sorted by name */
  size_t n_functions, capacity;
};

/* --- loading ----------------------------------------------------------------------------------------------------- */

/* Decode, validate, compile if calls are to wait for it, and one trial instance, which finds unknown imports and
 * start functions that trap. */
static bool prepare(struct registry *r, struct function *f, const void *bytes, size_t size, struct gw_error *err) {
  f->module = gw_module_create(r->engine, bytes, size, err);
  if (!f->module || !function_classify(f, err)) return false;
  if (r->limits.tier == TIER_FAST && !gw_module_compile(f->module, err)) return false;
  bool is_never = r->limits.tier == TIER_PRECISE || r->limits.tier == TIER_BASELINE;
  if (!is_never && module_is_compiled(f->module)) atomic_store(&f->code_state, CODE_READY);
  struct slot *trial = slot_create(r->engine, f, function_tier(f), &r->limits, err);
  bool ok = trial && slot_try_start(trial, &r->limits, err);
  slot_destroy(trial);
  return ok;
}

static bool prepare_watched(struct registry *r, struct function *f, const void *bytes, size_t size, struct gw_error *err) {
  const struct function *before = crash_enter(f);
  bool ok = prepare(r, f, bytes, size, err);
  crash_enter(before);
  return ok;
}

/* `f` can be called. */
static void compile_in_background(struct registry *r, struct function *f) {
  if (!r->background || function_code_state(f) == CODE_READY) return;
  atomic_store(&f->code_state, CODE_WAITING);
  background_compile(r->background, f);
}

struct background_totals registry_compilations(struct registry *r) {
  return r->background ? background_totals(r->background) : (struct background_totals){0};
}

static char *module_path(const struct registry *r, struct arena *arena, const char *digest) {
  return arena_format(arena, "%s/%s.wasm", r->directory, digest);
}

static bool load_stored(struct registry *r, struct function *f, struct gw_error *err) {
  struct arena arena = {0};
  struct buffer bytes = {0};
  char found[DIGEST_HEX_SIZE];
  bool ok = buffer_read_file(&bytes, module_path(r, &arena, f->digest), MAX_STORED_MODULE, err);
  if (ok) {
    struct digest digest = digest_of(bytes.bytes, bytes.size);
    digest_print(&digest, found);
    if (strcmp(found, f->digest) != 0)
      ok = error_set(err, GW_ERROR_IO, "the stored module of function %s is damaged: its digest is not %.16s...", f->name,
                     f->digest);
  }
  ok = ok && prepare_watched(r, f, bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  arena_clear(&arena);
  return ok;
}

bool registry_load(struct registry *r, struct function *f) {
  pthread_mutex_lock(&f->lock);
  if (function_load_state(f) == LOAD_PENDING) {
    bool ok = load_stored(r, f, &f->error);
    if (ok) compile_in_background(r, f);
    atomic_store_explicit(&f->load_state, ok ? LOAD_READY : LOAD_FAILED, memory_order_release);
  }
  pthread_mutex_unlock(&f->lock);
  return function_load_state(f) == LOAD_READY;
}

/* --- the table --------------------------------------------------------------------------------------------------- */

/* Index of the first name that is not less; table_lock held. */
static size_t table_position(const struct registry *r, const char *name, bool *is_there) {
  size_t low = 0, high = r->n_functions;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(r->functions[middle]->name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *is_there = low < r->n_functions && strcmp(r->functions[low]->name, name) == 0;
  return low;
}

/* Publishes `f` under its name, or removes the name when f is NULL; returns what was there. */
static struct function *table_replace(struct registry *r, const char *name, struct function *f) {
  pthread_rwlock_wrlock(&r->table_lock);
  bool is_there;
  size_t at = table_position(r, name, &is_there);
  struct function *old = is_there ? r->functions[at] : NULL;
  size_t behind = (r->n_functions - at) * sizeof(void *);
  if (f && !is_there && r->n_functions == r->capacity) {
    r->capacity = r->capacity ? 2 * r->capacity : 16;
    r->functions = heap_resize(r->functions, r->capacity, sizeof(void *));
  }
  if (f && !is_there) {
    memmove(r->functions + at + 1, r->functions + at, behind);
    r->n_functions++;
  } else if (!f && is_there) {
    memmove(r->functions + at, r->functions + at + 1, behind - sizeof(void *));
    r->n_functions--;
  }
  if (f) r->functions[at] = f;
  pthread_rwlock_unlock(&r->table_lock);
  atomic_fetch_add(&r->epoch, 1);
  return old;
}

uint64_t registry_epoch(const struct registry *r) { return atomic_load_explicit(&r->epoch, memory_order_acquire); }

struct function *registry_find(struct registry *r, const char *name) {
  pthread_rwlock_rdlock(&r->table_lock);
  bool is_there;
  size_t at = table_position(r, name, &is_there);
  struct function *f = is_there ? function_retain(r->functions[at]) : NULL;
  pthread_rwlock_unlock(&r->table_lock);
  return f;
}

void registry_each(struct registry *r, void (*each)(void *arg, const struct function *function), void *arg) {
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_functions; i++) each(arg, r->functions[i]);
  pthread_rwlock_unlock(&r->table_lock);
}

static bool digest_is_used(struct registry *r, const char *digest) {
  bool is_used = false;
  pthread_rwlock_rdlock(&r->table_lock);
  for (size_t i = 0; i < r->n_functions && !is_used; i++) is_used = strcmp(r->functions[i]->digest, digest) == 0;
  pthread_rwlock_unlock(&r->table_lock);
  return is_used;
}

/* --- records ----------------------------------------------------------------------------------------------------- */

static const char *interface_name(enum interface i) { return i == INTERFACE_HANDLE ? "handle" : "cgi"; }

static bool record_write(struct registry *r, const struct function *f, struct gw_error *err) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "digest", f->digest);
  cJSON_AddNumberToObject(json, "version", (double)f->version);
  cJSON_AddNumberToObject(json, "size", (double)f->size);
  cJSON_AddNumberToObject(json, "created_ms", (double)f->created_ms);
  cJSON_AddNumberToObject(json, "compile_ms", f->compile_ms);
  cJSON_AddStringToObject(json, "interface", interface_name(f->interface));
  if (f->config.is_private) cJSON_AddTrueToObject(json, "private");
  if (f->config.shows_backtraces) cJSON_AddTrueToObject(json, "backtraces");
  if (function_quarantine(f)) {
    cJSON_AddNumberToObject(json, "quarantine", function_quarantine(f));
    cJSON_AddNumberToObject(json, "quarantine_ms", (double)f->quarantine_ms);
  }
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  bool ok = text && state_put(r->state, REGISTRY_SPACE, f->name, strlen(f->name), text, strlen(text), err);
  if (!ok) error_set(err, GW_ERROR_STATE, "the record of function %s cannot be written", f->name);
  cJSON_free(text);
  return ok;
}

static double record_number(const cJSON *json, const char *key) {
  double n = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, key));
  return n >= 0 && n < 9e15 ? n : 0;
}

/* One record at start. A record that cannot be understood gives a function that answers with the reason. */
static bool record_read(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct registry *r = arg;
  char name[FUNCTION_MAX_FULL_NAME + 1];
  if (!function_full_name_is_valid(key, key_size)) return true;
  memcpy(name, key, key_size);
  name[key_size] = 0;
  struct function *f = function_create(name, &r->limits, r->crashes);
  cJSON *json = cJSON_ParseWithLength(value, value_size);
  const char *digest = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "digest"));
  const char *interface = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "interface"));
  if (digest && digest_is_hex(digest) && interface) {
    snprintf(f->digest, sizeof f->digest, "%s", digest);
    f->interface = strcmp(interface, "handle") == 0 ? INTERFACE_HANDLE : INTERFACE_CGI;
  } else {
    error_set(&f->error, GW_ERROR_IO, "the stored record of function %s is damaged", name);
    atomic_store(&f->load_state, LOAD_FAILED);
  }
  f->config.is_private =
      !digest || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "private")); /* of a damaged one, nobody knows */
  f->config.shows_backtraces = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "backtraces"));
  f->version = (uint64_t)record_number(json, "version");
  f->size = (uint64_t)record_number(json, "size");
  f->created_ms = (uint64_t)record_number(json, "created_ms");
  f->compile_ms = record_number(json, "compile_ms");
  atomic_store(&f->quarantine, (uint32_t)fmin(record_number(json, "quarantine"), 64));
  f->quarantine_ms = (uint64_t)record_number(json, "quarantine_ms");
  cJSON_Delete(json);
  function_release(table_replace(r, name, f));
  return true;
}

/* So that versions go on counting: a function's last one outlives it. */
static bool version_keep(struct registry *r, const struct function *f, struct gw_error *err) {
  return state_put(r->state, VERSIONS_SPACE, f->name, strlen(f->name), &f->version, sizeof f->version, err);
}

/* 0: there never was a function of this name. */
static bool version_find(struct registry *r, const char *name, uint64_t *version, struct gw_error *err) {
  const void *value;
  size_t size;
  struct state_txn *txn = state_txn_begin(r->state, VERSIONS_SPACE);
  int found = state_txn_get_wait(txn, name, strlen(name), &value, &size, err);
  *version = 0;
  if (found == 1 && size == sizeof *version) memcpy(version, value, size);
  state_txn_abort(txn);
  return found >= 0;
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

static bool is_kept(struct registry *r, const char *name);

static struct function_config choose(const struct function_choice *choice, const struct function *old) {
  struct function_config config = choice->config;
  if (old && !choice->has_private) config.is_private = old->config.is_private;
  if (old && !choice->has_backtraces) config.shows_backtraces = old->config.shows_backtraces;
  return config;
}

/* Whether invocations may write state of this name, after it is deleted, too: what they leave must be found. */
static bool may_write(const struct function *f) {
  return f->had_state || (function_load_state(f) == LOAD_READY && f->uses_state);
}

/* Makes the prepared `f` durable and publishes it, consuming the caller's reference on success. `writing` held. */
static bool publish(struct registry *r, struct function *f, const struct function_choice *choice, const void *bytes, size_t size,
                    bool *is_new, struct gw_error *err) {
  struct function *old = registry_find(r, f->name);
  *is_new = !old;
  uint64_t last = old ? old->version : 0;
  f->config = choose(choice, old);
  if (old && strcmp(old->digest, f->digest) == 0) { /* the same bytes do the same again */
    atomic_store(&f->quarantine, atomic_load(&old->quarantine));
    f->quarantine_ms = old->quarantine_ms;
  }
  bool was_kept = is_kept(r, f->name);
  f->had_state = was_kept || (old && may_write(old));
  function_release(old);
  struct arena arena = {0};
  bool ok = !*is_new || version_find(r, f->name, &last, err);
  f->version = last + 1;
  ok = ok && file_write_durably(module_path(r, &arena, f->digest), bytes, size, 0600, err) && record_write(r, f, err);
  arena_clear(&arena);
  if (!ok) {
    drop_file(r, f->digest);
    return false;
  }
  if (was_kept) state_remove(r->state, KEPT_SPACE, f->name, strlen(f->name), NULL); /* it has a function again */
  old = table_replace(r, f->name, f);
  if (old) drop_file(r, old->digest);
  function_release(old);
  return true;
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
  struct gw_cache *cache = engine_cache(r->engine);
  if (!artifact_check(bytes, size, a, err)) return false;
  if (!artifact_verify(a, r->limits.trusted, r->limits.n_trusted) && !is_own(r, a))
    return error_set(err, GW_ERROR_FORBIDDEN,
                     "machine code is taken only when a key signed it that this server trusts: deploy the .wasm file");
  struct digest digest = digest_of(a->module, a->module_size);
  if (!digest_is(&digest, &a->key->module))
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact's code is of another module than it holds");
  if (!cache) return error_set(err, GW_ERROR_UNAVAILABLE, "this server keeps no compiled modules: deploy the .wasm file");
  return engine_accepts(r->engine, a, err) && cache_store(cache, a->key, bytes, size, err);
}

struct function *registry_put(struct registry *r, const char *name, const struct function_choice *choice, const void *bytes,
                              size_t size, bool *is_new, struct gw_error *err) {
  struct artifact artifact;
  if (artifact_is(bytes, size)) {
    if (!admit_artifact(r, bytes, size, &artifact, err)) return NULL;
    bytes = artifact.module;
    size = artifact.module_size;
  }
  if (!file_is_module(bytes, size, err)) return NULL;
  struct function *f = function_create(name, &r->limits, r->crashes);
  double begin = now_ms(CLOCK_MONOTONIC);
  bool ok = prepare_watched(r, f, bytes, size, err);
  if (ok) {
    f->compile_ms = now_ms(CLOCK_MONOTONIC) - begin;
    f->created_ms = (uint64_t)now_ms(CLOCK_REALTIME);
    f->size = size;
    struct digest digest = digest_of(bytes, size);
    digest_print(&digest, f->digest);
    atomic_store(&f->load_state, LOAD_READY);
    function_retain(f); /* for the table */
    pthread_mutex_lock(&r->writing);
    ok = publish(r, f, choice, bytes, size, is_new, err);
    pthread_mutex_unlock(&r->writing);
    if (!ok) function_release(f);
  }
  if (ok) compile_in_background(r, f);
  if (ok) return f;
  function_release(f);
  return NULL;
}

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

static bool is_kept(struct registry *r, const char *name) {
  struct state_txn *txn = state_txn_begin(r->state, KEPT_SPACE);
  const void *value;
  size_t size;
  bool is_there = state_txn_get_wait(txn, name, strlen(name), &value, &size, NULL) == 1;
  state_txn_abort(txn);
  return is_there;
}

/* And what it answered. */
static bool clear_state(struct registry *r, const char *name, const char *record_space, struct gw_error *err) {
  char answers[FUNCTION_ANSWERS_SIZE];
  return state_clear(r->state, function_answers(name, answers), err) &&
         state_clear_and_remove(r->state, name, record_space, name, strlen(name), err);
}

/* State without a function. */
static bool delete_kept(struct registry *r, const char *name, struct gw_error *err) {
  if (!has_state(r, name) && !is_kept(r, name)) return error_set(err, GW_ERROR_NOT_FOUND, "no function is called %s", name);
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

static bool delete_locked(struct registry *r, struct function *f, bool with_state, struct gw_error *err) {
  if (!version_keep(r, f, err)) return false;
  size_t size = strlen(f->name);
  if (!with_state && (may_write(f) || has_state(r, f->name)) && !state_put(r->state, KEPT_SPACE, f->name, size, "", 0, err))
    return false;
  struct function *there = table_replace(r, f->name, NULL); /* before its state goes: nothing that begins later has its name */
  bool ok =
      with_state ? clear_state(r, f->name, REGISTRY_SPACE, err) : state_remove(r->state, REGISTRY_SPACE, f->name, size, err);
  if (!ok) {
    table_replace(r, f->name, there);
    return false;
  }
  function_release(there);
  drop_file(r, f->digest);
  return true;
}

bool registry_delete(struct registry *r, const char *name, bool with_state, struct gw_error *err) {
  pthread_mutex_lock(&r->writing);
  struct function *f = registry_find(r, name);
  bool ok = f            ? delete_locked(r, f, with_state, err)
            : with_state ? delete_kept(r, name, err)
                         : error_set(err, GW_ERROR_NOT_FOUND, "no function is called %s", name);
  pthread_mutex_unlock(&r->writing);
  function_release(f);
  return ok;
}

/* --- quarantine -------------------------------------------------------------------------------------------------- */

bool registry_lift(struct registry *r, const char *name, struct gw_error *err) {
  pthread_mutex_lock(&r->writing);
  struct function *f = registry_find(r, name);
  int signal = f ? function_quarantine(f) : 0;
  bool ok = signal != 0;
  if (!ok) error_set(err, GW_ERROR_NOT_FOUND, f ? "function %s is not in quarantine" : "no function is called %s", name);
  if (ok) {
    atomic_store(&f->quarantine, 0);
    ok = record_write(r, f, err);
    if (!ok) atomic_store(&f->quarantine, (uint32_t)signal);
  }
  pthread_mutex_unlock(&r->writing);
  function_release(f);
  return ok;
}

/* The function whose code this was, if it has that name still, and no other code. */
static bool put_in_quarantine(struct registry *r, const struct crash_note *note, struct gw_error *err) {
  bool ok = true;
  struct function *f = function_full_name_is_valid(note->name, strlen(note->name)) ? registry_find(r, note->name) : NULL;
  if (f && note->is_complete && strcmp(f->digest, note->digest) == 0) {
    atomic_store(&f->quarantine, note->signal);
    f->quarantine_ms = note->time_ms;
    ok = record_write(r, f, err);
  }
  function_release(f);
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
  r->limits = *limits;
  pthread_mutex_init(&r->writing, NULL);
  pthread_rwlock_init(&r->table_lock, NULL);
  struct arena arena = {0};
  r->directory = strdup(arena_format(&arena, "%s/modules", data_dir));
  arena_clear(&arena);
  r->crashes = crash_open(data_dir, err);
  bool ok = r->crashes && (limits->tier != TIER_AUTO || (r->background = background_create(err))) &&
            directory_make(r->directory, err) && state_each(state, REGISTRY_SPACE, record_read, r, err);
  if (ok && read_crashes(r, err)) {
    directory_sweep(r->directory, file_is_wanted, r);
    return r;
  }
  registry_close(r);
  return NULL;
}

void registry_close(struct registry *r) {
  if (!r) return;
  if (r->background) gw_engine_stop_compiling(r->engine);
  background_destroy(r->background);
  for (size_t i = 0; i < r->n_functions; i++) function_release(r->functions[i]);
  crash_close(r->crashes);
  free(r->functions);
  free(r->directory);
  pthread_mutex_destroy(&r->writing);
  pthread_rwlock_destroy(&r->table_lock);
  free(r);
}
