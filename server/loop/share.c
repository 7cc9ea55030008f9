#include "server/loop/share.h"

#include "base/heap.h"
#include "server/loop/loop.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* --- tenants ------------------------------------------------------------------------------------------------------ */

static struct tenant **bucket_of(struct loop *loop, const char *name, size_t size) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)name[i]) * 16777619u;
  return &loop->tenants[hash % TENANT_BUCKETS];
}

static struct tenant *create(struct loop *loop, struct tenant **bucket, const char *name, size_t size) {
  struct tenant *t = heap_new(1, sizeof *t + size + 1);
  memcpy(t->name, name, size);
  fair_join(&t->flow, &loop->fair, &t->functions);
  t->next = *bucket;
  return *bucket = t;
}

struct tenant *share_join(struct loop *loop, const char *name, size_t size) {
  struct tenant **bucket = bucket_of(loop, name, size), *t = *bucket;
  while (t && (strncmp(t->name, name, size) != 0 || t->name[size])) t = t->next;
  if (!t) t = create(loop, bucket, name, size);
  t->n_pools++;
  return t;
}

void share_leave(struct tenant *tenant) { tenant->n_pools--; }

void share_trim(struct loop *loop, bool is_last) {
  for (int i = 0; i < TENANT_BUCKETS; i++) {
    for (struct tenant **at = &loop->tenants[i]; *at;) {
      struct tenant *t = *at;
      if (t->n_pools || (t->flow.is_listed && !is_last)) {
        at = &t->next;
        continue;
      }
      *at = t->next;
      free(t);
    }
  }
}

/* --- callers ------------------------------------------------------------------------------------------------------ */

static bool is_free(const struct caller *c) { return !c->n_running && !c->flow.is_listed; }

struct caller *share_caller(struct caller *table, struct fair *turns, uint64_t key) {
  struct caller *home = &table[key % SHARE_CALLERS], *empty = NULL;
  for (size_t i = 0; i < SHARE_CALLERS; i++) {
    struct caller *c = &table[(key + i) % SHARE_CALLERS];
    if (c->flow.of && c->key == key) return c;
    if (!empty && is_free(c)) empty = c;
  }
  if (!empty) return home;
  *empty = (struct caller){.key = key};
  fair_join(&empty->flow, turns, NULL);
  return empty;
}

uint64_t share_wait_ms(const struct caller *c, uint64_t usual, uint64_t rate) {
  uint64_t so_far = c->n_running ? c->burned / c->n_running : 0, each = so_far > usual ? so_far : usual;
  if (!c->flow.n_ready) return 0;
  unsigned __int128 work = (unsigned __int128)each * c->flow.n_ready * fair_parts(&c->flow), ms = work / rate / 1000;
  return ms > UINT32_MAX ? UINT32_MAX : (uint64_t)ms;
}

bool share_allows(uint64_t own, uint64_t taken, uint64_t most) {
  enum { TIMES = 3 };
  return taken < most && own <= TIMES * (most - taken);
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static uint8_t secret[crypto_shorthash_KEYBYTES];

static void make_secret(void) { randombytes_buf(secret, sizeof secret); }

/* Nobody can choose addresses that share a place with another's. */
uint64_t share_key(const void *address, unsigned size) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  uint64_t key;
  _Static_assert(sizeof key == crypto_shorthash_BYTES, "a hash is a key");
  pthread_once(&once, make_secret);
  crypto_shorthash((uint8_t *)&key, address, size, secret);
  return key;
}

uint64_t share_key_of_text(const char *address) {
  enum { NETWORK = 8 };
  uint8_t bytes[sizeof(struct in6_addr)];
  if (inet_pton(AF_INET6, address, bytes) == 1) return share_key(bytes, NETWORK);
  return share_key(address, (unsigned)strlen(address));
}
