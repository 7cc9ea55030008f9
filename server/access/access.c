/* The table is immutable: a change makes the next one, under `changing`, and puts it in its place after it is durable. So what
 * was acknowledged is in force, and what is in force survives. Readers hold `lock` while they look; writers only to swap.
 *
 * A token is looked up by its digest, so the time that takes tells nothing about secrets: who does not know one cannot choose
 * its digest. The token that a connection showed last is compared with what it shows now, all of it always. */
#include "server/access/access.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "runtime/state/state.h"
#include "server/access/record.h"

#include <cjson/cJSON.h>
#include <sodium.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char SPACE[] = "\x01"
                            "access";
static const char TOKEN_KEY[] = "token/", TENANT_KEY[] = "tenant/";

enum { SECRET_BYTES = 32, ID_BYTES = 6, MAX_KEY = 96, TENURE_TEXT = 64 };

struct tenant {
  char name[ACCESS_MAX_NAME + 1];
  struct tenure tenure;
};

/* A digest that is good. */
struct key {
  struct digest digest;
  uint32_t token; /* in the table */
  bool is_old;
};

struct table {
  struct token_record *tokens; /* by id */
  struct tenant *tenants;      /* by name */
  struct key *keys;            /* by digest */
  size_t n_tokens, n_tenants, n_keys;
};

struct access {
  struct state_store *state;
  char *file; /* of the admin token */
  _Atomic uint64_t epoch;
  pthread_mutex_t changing;
  pthread_rwlock_t lock; /* of `table` */
  struct table *table;
};

static uint64_t now_ms(void) { return clock_ns(CLOCK_REALTIME_COARSE) / 1000000; }

/* --- the table --------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b) {
  return memcmp(&((const struct key *)a)->digest, &((const struct key *)b)->digest, sizeof(struct digest));
}

static int compare_tokens(const void *a, const void *b) {
  return strcmp(((const struct token_record *)a)->token.id, ((const struct token_record *)b)->token.id);
}

static int compare_tenants(const void *a, const void *b) {
  return strcmp(((const struct tenant *)a)->name, ((const struct tenant *)b)->name);
}

static void table_destroy(struct table *t) {
  if (!t) return;
  free(t->tokens);
  free(t->tenants);
  free(t->keys);
  free(t);
}

/* With room for one more of each. */
static struct table *table_copy(const struct table *t) {
  struct table *copy = heap_new(1, sizeof *copy);
  copy->tokens = heap_new(t->n_tokens + 1, sizeof *copy->tokens);
  copy->tenants = heap_new(t->n_tenants + 1, sizeof *copy->tenants);
  copy->n_tokens = t->n_tokens;
  copy->n_tenants = t->n_tenants;
  if (t->n_tokens) memcpy(copy->tokens, t->tokens, t->n_tokens * sizeof *t->tokens);
  if (t->n_tenants) memcpy(copy->tenants, t->tenants, t->n_tenants * sizeof *t->tenants);
  return copy;
}

/* Sorts what was added, and makes the keys. */
static void table_finish(struct table *t) {
  if (t->n_tokens) qsort(t->tokens, t->n_tokens, sizeof *t->tokens, compare_tokens);
  if (t->n_tenants) qsort(t->tenants, t->n_tenants, sizeof *t->tenants, compare_tenants);
  free(t->keys);
  t->keys = heap_new(2 * t->n_tokens + 1, sizeof *t->keys);
  t->n_keys = 0;
  for (uint32_t i = 0; i < t->n_tokens; i++) {
    const struct token_record *r = &t->tokens[i];
    t->keys[t->n_keys++] = (struct key){r->digest, i, false};
    if (r->old_until_ms) t->keys[t->n_keys++] = (struct key){r->old_digest, i, true};
  }
  qsort(t->keys, t->n_keys, sizeof *t->keys, compare_keys);
}

static struct token_record *find_token(const struct table *t, const char *id) {
  struct token_record wanted = {0};
  if ((size_t)snprintf(wanted.token.id, sizeof wanted.token.id, "%s", id) >= sizeof wanted.token.id || !t->n_tokens) return NULL;
  return bsearch(&wanted, t->tokens, t->n_tokens, sizeof wanted, compare_tokens);
}

static struct tenant *find_tenant(const struct table *t, const char *name) {
  struct tenant wanted = {0};
  if ((size_t)snprintf(wanted.name, sizeof wanted.name, "%s", name) >= sizeof wanted.name || !t->n_tenants) return NULL;
  return bsearch(&wanted, t->tenants, t->n_tenants, sizeof wanted, compare_tenants);
}

/* From now on loops see it. `changing` held, or nobody else there yet. */
static void publish(struct access *a, struct table *next) {
  table_finish(next);
  pthread_rwlock_wrlock(&a->lock);
  struct table *old = a->table;
  a->table = next;
  atomic_fetch_add_explicit(&a->epoch, 1, memory_order_release);
  pthread_rwlock_unlock(&a->lock);
  table_destroy(old);
}

/* --- checking ---------------------------------------------------------------------------------------------------- */

/* All of both, whatever they hold. */
static bool is_same_text(const char a[TOKEN_SIZE], const char b[TOKEN_SIZE]) {
  uint64_t difference = 0;
  for (size_t i = 0; i < TOKEN_SIZE; i += sizeof(uint64_t)) {
    uint64_t x, y;
    memcpy(&x, a + i, sizeof x);
    memcpy(&y, b + i, sizeof y);
    difference |= x ^ y;
    __asm__("" : "+r"(difference)); /* no way out of the loop before its end */
  }
  return difference == 0;
}

static bool look_up(struct access *a, const char text[TOKEN_SIZE], struct pass *pass) {
  struct key wanted = {.digest = digest_of(text, TOKEN_SIZE)};
  pthread_rwlock_rdlock(&a->lock);
  const struct table *t = a->table;
  const struct key *key = bsearch(&wanted, t->keys, t->n_keys, sizeof wanted, compare_keys);
  if (key) {
    const struct token_record *r = &t->tokens[key->token];
    bool ends_earlier = key->is_old && (!r->token.expires_ms || r->old_until_ms < r->token.expires_ms);
    pass->who = r->token.who;
    pass->expires_ms = ends_earlier ? r->old_until_ms : r->token.expires_ms;
    pass->epoch = atomic_load_explicit(&a->epoch, memory_order_relaxed);
    memcpy(pass->text, text, TOKEN_SIZE);
  }
  pthread_rwlock_unlock(&a->lock);
  return key != NULL;
}

bool access_check(struct access *a, const char *token, struct pass *pass) {
  char text[TOKEN_SIZE] = "";
  size_t size = strnlen(token, TOKEN_SIZE);
  if (size < TOKEN_SIZE) memcpy(text, token, size); /* what is longer is nobody's, like the empty one */
  bool is_known = pass->epoch == atomic_load_explicit(&a->epoch, memory_order_acquire) && is_same_text(pass->text, text);
  if (!is_known && !look_up(a, text, pass)) return false;
  return !pass->expires_ms || now_ms() < pass->expires_ms;
}

bool access_allows(const struct identity *who, const char *tenant, size_t size, enum scope scope) {
  bool is_of_it = !who->tenant[0] || (strlen(who->tenant) == size && memcmp(who->tenant, tenant, size) == 0);
  return is_of_it && (who->scopes & (SCOPE_ADMIN | scope));
}

bool access_has_tenant(struct access *a, const char *name) {
  if (strcmp(name, DEFAULT_TENANT) == 0) return true;
  pthread_rwlock_rdlock(&a->lock);
  bool is_there = find_tenant(a->table, name) != NULL;
  pthread_rwlock_unlock(&a->lock);
  return is_there;
}

struct tenure access_tenure(struct access *a, const char *name) {
  struct tenure tenure = {0};
  if (strcmp(name, DEFAULT_TENANT) == 0) return tenure;
  pthread_rwlock_rdlock(&a->lock);
  const struct tenant *tenant = find_tenant(a->table, name);
  tenure = tenant ? tenant->tenure : (struct tenure){.created_ms = now_ms()};
  pthread_rwlock_unlock(&a->lock);
  return tenure;
}

bool access_is_within(const struct tenure *tenure, const char *log, uint64_t index, uint64_t time) {
  if (!tenure->created_ms) return true;
  return strcmp(tenure->log, log) == 0 ? index >= tenure->first : time > tenure->created_ms / 1000;
}

void access_each_tenant(struct access *a, void (*each)(void *arg, const char *name, uint64_t created_ms), void *arg) {
  pthread_rwlock_rdlock(&a->lock);
  for (size_t i = 0; i < a->table->n_tenants; i++) each(arg, a->table->tenants[i].name, a->table->tenants[i].tenure.created_ms);
  pthread_rwlock_unlock(&a->lock);
}

void access_each_token(struct access *a, void (*each)(void *arg, const struct token *token), void *arg) {
  pthread_rwlock_rdlock(&a->lock);
  for (size_t i = 0; i < a->table->n_tokens; i++) each(arg, &a->table->tokens[i].token);
  pthread_rwlock_unlock(&a->lock);
}

/* --- tenants ----------------------------------------------------------------------------------------------------- */

static size_t key_of(char key[MAX_KEY], const char *kind, const char *name) {
  return (size_t)snprintf(key, MAX_KEY, "%s%s", kind, name);
}

/* "CREATED_MS LOG FIRST"; where there was no log, "CREATED_MS". */
static size_t print_tenure(const struct tenure *tenure, char out[TENURE_TEXT]) {
  int size = snprintf(out, TENURE_TEXT, "%" PRIu64, tenure->created_ms);
  if (*tenure->log) size += snprintf(out + size, TENURE_TEXT - (size_t)size, " %s %" PRIu64, tenure->log, tenure->first);
  return (size_t)size;
}

static struct tenure read_tenure(const void *value, size_t size) {
  char text[TENURE_TEXT] = "";
  struct tenure tenure = {0};
  memcpy(text, value, size < sizeof text ? size : sizeof text - 1);
  if (sscanf(text, "%" SCNu64 " %16[0-9a-f] %" SCNu64, &tenure.created_ms, tenure.log, &tenure.first) != 3) *tenure.log = 0;
  if (!tenure.created_ms) tenure.created_ms = now_ms(); /* damaged: in doubt it has nothing of before */
  return tenure;
}

bool access_create_tenant(struct access *a, const char *name, const struct tenure *tenure, bool *is_new, struct gw_error *err) {
  char key[MAX_KEY], text[TENURE_TEXT];
  bool ok = true;
  pthread_mutex_lock(&a->changing);
  *is_new = !access_has_tenant(a, name);
  if (*is_new) {
    struct tenant tenant = {.tenure = *tenure};
    tenant.tenure.created_ms = now_ms();
    snprintf(tenant.name, sizeof tenant.name, "%s", name);
    ok = state_put_for_all(a->state, SPACE, key, key_of(key, TENANT_KEY, name), text, print_tenure(&tenant.tenure, text), err);
    struct table *next = ok ? table_copy(a->table) : NULL;
    if (next) next->tenants[next->n_tenants++] = tenant;
    if (next) publish(a, next);
  }
  pthread_mutex_unlock(&a->changing);
  return ok;
}

static bool is_of(const struct token_record *r, const char *tenant) { return strcmp(r->token.who.tenant, tenant) == 0; }

/* The tenant and its tokens, in one transaction. */
static bool remove_tenant(struct access *a, const char *name, struct gw_error *err) {
  char key[MAX_KEY];
  const struct table *t = a->table;
  struct state_txn *txn = state_txn_begin(a->state, SPACE);
  bool ok = state_txn_delete(txn, key, key_of(key, TENANT_KEY, name), err);
  for (size_t i = 0; i < t->n_tokens && ok; i++)
    if (is_of(&t->tokens[i], name)) ok = state_txn_delete(txn, key, key_of(key, TOKEN_KEY, t->tokens[i].token.id), err);
  if (ok && state_txn_tell_others(txn, err)) return state_txn_commit_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

bool access_delete_tenant(struct access *a, const char *name, struct gw_error *err) {
  pthread_mutex_lock(&a->changing);
  struct tenant *tenant = find_tenant(a->table, name);
  bool ok = tenant ? remove_tenant(a, name, err) : error_set(err, GW_ERROR_NOT_FOUND, "no tenant is called %s", name);
  if (ok) {
    struct table *next = table_copy(a->table);
    size_t at = (size_t)(tenant - a->table->tenants), kept = 0;
    memmove(next->tenants + at, next->tenants + at + 1, (--next->n_tenants - at) * sizeof *next->tenants);
    for (size_t i = 0; i < next->n_tokens; i++)
      if (!is_of(&next->tokens[i], name)) next->tokens[kept++] = next->tokens[i];
    next->n_tokens = kept;
    publish(a, next);
  }
  pthread_mutex_unlock(&a->changing);
  return ok;
}

/* --- tokens ------------------------------------------------------------------------------------------------------ */

static void make_text(const char *id, char text[TOKEN_SIZE]) {
  uint8_t secret[SECRET_BYTES];
  char encoded[sodium_base64_ENCODED_LEN(SECRET_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
  randombytes_buf(secret, sizeof secret);
  sodium_bin2base64(encoded, sizeof encoded, secret, sizeof secret, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  memset(text, 0, TOKEN_SIZE);
  snprintf(text, TOKEN_SIZE, TOKEN_PREFIX "%s_%s", id, encoded);
  sodium_memzero(secret, sizeof secret);
  sodium_memzero(encoded, sizeof encoded);
}

/* Durable, then in the table, in the place of what had its id. `changing` held. */
static bool keep_token(struct access *a, const struct token_record *r, struct gw_error *err) {
  char key[MAX_KEY], *text = access_record_print(r);
  bool ok = text && state_put_for_all(a->state, SPACE, key, key_of(key, TOKEN_KEY, r->token.id), text, strlen(text), err);
  cJSON_free(text);
  if (!ok) return false;
  struct table *next = table_copy(a->table);
  struct token_record *before = find_token(next, r->token.id);
  *(before ? before : &next->tokens[next->n_tokens++]) = *r;
  publish(a, next);
  return true;
}

static bool has_expired(const struct token_record *r) { return r->token.expires_ms && r->token.expires_ms <= now_ms(); }

/* Those of the tenant that are good no more, in one transaction. `changing` held. */
static bool drop_expired(struct access *a, const char *tenant, struct gw_error *err) {
  char key[MAX_KEY];
  struct table *next = table_copy(a->table);
  struct state_txn *txn = state_txn_begin(a->state, SPACE);
  size_t kept = 0;
  bool ok = true;
  for (size_t i = 0; i < next->n_tokens && ok; i++) {
    const struct token_record *r = &next->tokens[i];
    if (is_of(r, tenant) && has_expired(r))
      ok = state_txn_delete(txn, key, key_of(key, TOKEN_KEY, r->token.id), err);
    else
      next->tokens[kept++] = *r;
  }
  next->n_tokens = kept;
  ok = ok && state_txn_tell_others(txn, err);
  if (ok) {
    ok = state_txn_commit_wait(txn, err);
  } else {
    state_txn_abort(txn);
  }
  if (ok)
    publish(a, next);
  else
    table_destroy(next);
  return ok;
}

/* No tenant's administrator takes what others need. `changing` held. */
static bool make_room(struct access *a, const char *tenant, struct gw_error *err) {
  size_t n = 0, n_expired = 0;
  for (size_t i = 0; i < a->table->n_tokens; i++) {
    const struct token_record *r = &a->table->tokens[i];
    n += is_of(r, tenant);
    n_expired += is_of(r, tenant) && has_expired(r);
  }
  if (n < ACCESS_MAX_TOKENS) return true;
  if (n_expired) return drop_expired(a, tenant, err);
  return error_set(err, GW_ERROR_LIMIT, "a tenant has at most %d tokens: revoke some first", ACCESS_MAX_TOKENS);
}

bool access_create_token(struct access *a, struct token *token, char text[TOKEN_SIZE], struct gw_error *err) {
  uint8_t id[ID_BYTES];
  randombytes_buf(id, sizeof id);
  sodium_bin2hex(token->id, sizeof token->id, id, sizeof id);
  token->created_ms = now_ms();
  make_text(token->id, text);
  struct token_record r = {.token = *token, .digest = digest_of(text, TOKEN_SIZE)};
  pthread_mutex_lock(&a->changing);
  const char *tenant = token->who.tenant;
  bool ok = make_room(a, tenant, err);
  if (ok && *tenant && !access_has_tenant(a, tenant)) ok = error_set(err, GW_ERROR_NOT_FOUND, "no tenant is called %s", tenant);
  ok = ok && keep_token(a, &r, err);
  pthread_mutex_unlock(&a->changing);
  return ok;
}

static bool no_token(struct gw_error *err, const char *id) {
  return error_set(err, GW_ERROR_NOT_FOUND, "no token has the id %.32s", id);
}

static const struct token_record *find_of(const struct access *a, const char *tenant, const char *id) {
  const struct token_record *r = find_token(a->table, id);
  return r && (!tenant || is_of(r, tenant)) ? r : NULL;
}

static bool write_file(struct access *a, const char *text, struct gw_error *err) {
  char line[TOKEN_SIZE + 1];
  int size = snprintf(line, sizeof line, "%s\n", text);
  bool ok = file_write_durably(a->file, line, (size_t)size, 0600, err);
  sodium_memzero(line, sizeof line);
  return ok;
}

bool access_rotate_token(struct access *a, const char *tenant, const char *id, uint64_t grace_ms, struct token *token,
                         char text[TOKEN_SIZE], struct gw_error *err) {
  pthread_mutex_lock(&a->changing);
  const struct token_record *before = find_of(a, tenant, id);
  bool ok = before || no_token(err, id);
  if (ok) {
    struct token_record old = *before, r = old;
    r.old_digest = r.digest;
    r.old_until_ms = grace_ms ? now_ms() + grace_ms : 0;
    make_text(id, text);
    r.digest = digest_of(text, TOKEN_SIZE);
    *token = r.token;
    ok = keep_token(a, &r, err);
    if (ok && strcmp(id, ADMIN_TOKEN_ID) == 0 && !write_file(a, text, err)) {
      keep_token(a, &old, &(struct gw_error){0}); /* nobody has heard of the new secret */
      ok = false;
    }
  }
  pthread_mutex_unlock(&a->changing);
  return ok;
}

bool access_revoke_token(struct access *a, const char *tenant, const char *id, struct gw_error *err) {
  char key[MAX_KEY];
  pthread_mutex_lock(&a->changing);
  const struct token_record *r = find_of(a, tenant, id);
  bool ok = r ? state_remove_for_all(a->state, SPACE, key, key_of(key, TOKEN_KEY, id), err) : no_token(err, id);
  if (ok) {
    struct table *next = table_copy(a->table);
    size_t at = (size_t)(r - a->table->tokens);
    memmove(next->tokens + at, next->tokens + at + 1, (--next->n_tokens - at) * sizeof *next->tokens);
    publish(a, next);
    if (strcmp(id, ADMIN_TOKEN_ID) == 0) unlink(a->file);
  }
  pthread_mutex_unlock(&a->changing);
  return ok;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static bool read_record(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct table **t = arg, *next;
  size_t token = sizeof TOKEN_KEY - 1, tenant = sizeof TENANT_KEY - 1;
  struct token_record r;
  bool is_token = key_size > token && memcmp(key, TOKEN_KEY, token) == 0 && access_record_parse(value, value_size, &r);
  bool is_tenant = key_size > tenant && key_size - tenant <= ACCESS_MAX_NAME && memcmp(key, TENANT_KEY, tenant) == 0 && value;
  if (!is_token && !is_tenant) return true;
  next = *t;
  if (((next->n_tokens + next->n_tenants) & (next->n_tokens + next->n_tenants + 1)) == 0) {
    size_t room = 2 * (next->n_tokens + next->n_tenants) + 2;
    next->tokens = heap_resize(next->tokens, room, sizeof *next->tokens);
    next->tenants = heap_resize(next->tenants, room, sizeof *next->tenants);
  }
  if (is_token) {
    next->tokens[next->n_tokens++] = r;
    return true;
  }
  struct tenant *to = &next->tenants[next->n_tenants++];
  *to = (struct tenant){.tenure = read_tenure(value, value_size)};
  memcpy(to->name, (const char *)key + tenant, key_size - tenant);
  return true;
}

static bool file_is_good(struct access *a) {
  struct buffer file = {0};
  struct pass pass = {0};
  struct gw_error ignored = {0};
  struct stat s;
  bool ok = stat(a->file, &s) == 0 && S_ISREG(s.st_mode) && !(s.st_mode & (S_IWGRP | S_IRWXO)) &&
            buffer_read_file(&file, a->file, 4096, &ignored);
  buffer_append(&file, "", 1);
  file.bytes[strcspn((char *)file.bytes, "\r\n")] = 0;
  ok = ok && access_check(a, (const char *)file.bytes, &pass) && access_allows(&pass.who, "", 0, SCOPE_ADMIN) &&
       !pass.who.tenant[0];
  buffer_clear(&file);
  sodium_memzero(&pass, sizeof pass);
  return ok;
}

/* Whoever may read the file may read all of the data directory, so a new one gives nobody more than he had. */
static bool make_admin_token(struct access *a, struct gw_error *err) {
  char text[TOKEN_SIZE];
  struct token_record r = {.token = {.id = ADMIN_TOKEN_ID,
                                     .name = "made by the server, in its data directory",
                                     .who = {.scopes = SCOPE_ADMIN},
                                     .created_ms = now_ms()}};
  if (!a->file || file_is_good(a)) return true;
  if (state_store_is_shared(a->state) && find_token(a->table, ADMIN_TOKEN_ID)) return true; /* another node has its file */
  make_text(ADMIN_TOKEN_ID, text);
  r.digest = digest_of(text, TOKEN_SIZE);
  bool ok = keep_token(a, &r, err) && write_file(a, text, err);
  sodium_memzero(text, sizeof text);
  return ok;
}

bool access_refresh(struct access *a, struct gw_error *err) {
  struct table *table = heap_new(1, sizeof *table);
  pthread_mutex_lock(&a->changing);
  bool ok = state_each(a->state, SPACE, read_record, &table, err);
  if (ok)
    publish(a, table);
  else
    table_destroy(table);
  pthread_mutex_unlock(&a->changing);
  return ok;
}

struct access *access_open(const char *data_dir, struct state_store *state, struct gw_error *err) {
  struct access *a = heap_new(1, sizeof *a);
  struct arena arena = {0};
  struct table *table = heap_new(1, sizeof *table);
  a->state = state;
  a->file = data_dir ? strdup(arena_format(&arena, "%s/" ADMIN_TOKEN_FILE, data_dir)) : NULL;
  arena_clear(&arena);
  pthread_mutex_init(&a->changing, NULL);
  pthread_rwlock_init(&a->lock, NULL);
  bool ok = sodium_init() >= 0 || error_set(err, GW_ERROR_IO, "libsodium does not begin");
  ok = ok && state_each(state, SPACE, read_record, &table, err);
  publish(a, table);
  if (ok && make_admin_token(a, err)) return a;
  access_close(a);
  return NULL;
}

void access_close(struct access *a) {
  if (!a) return;
  table_destroy(a->table);
  free(a->file);
  pthread_mutex_destroy(&a->changing);
  pthread_rwlock_destroy(&a->lock);
  free(a);
}
