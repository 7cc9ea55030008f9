/* A directory of artifacts, named by the digest of their key (artifact_key_hex) with .gwa. Shared by any number of processes and
 * threads: files appear by rename, complete, and are never written again; those used least recently go when the directory grows
 * beyond its bound. What is damaged is removed when it is met. Whoever may write into the directory may run code as this user, so
 * it must belong to the user and be writable by nobody else. */
#ifndef JIT_ARTIFACT_CACHE_H
#define JIT_ARTIFACT_CACHE_H

#include "jit/artifact/artifact.h"

struct gw_cache; /* opened and closed by include/gasworks.h */

/* The artifact for `key`, or NULL: there is none, or none that is whole. The caller unmaps it. Thread-safe. */
struct artifact *cache_find(struct gw_cache *cache, const struct artifact_key *key);

/* Keeps `bytes`, a whole artifact, under its key; then drops what is too much. Thread-safe. When it fails, a full disk for
 * instance, the entries that were there are as before. */
bool cache_store(struct gw_cache *cache, const struct artifact_key *key, const void *bytes, size_t size, struct gw_error *err);

/* Whether this process may fill the cache behind everybody's back: one at a time may, until it closes the cache. */
bool cache_claim(struct gw_cache *cache);

struct cache_entry {
  char name[DIGEST_HEX_SIZE];
  uint64_t size;
  int64_t used_s; /* last use, since 1970 */
};

/* All entries, the least recently used first, malloc'd. */
struct cache_entry *cache_list(struct gw_cache *cache, size_t *n, struct gw_error *err);
/* Opens an entry to look at it; NULL with `err` set. */
struct artifact *cache_open_entry(struct gw_cache *cache, const struct cache_entry *entry, struct gw_error *err);
/* Removes entries until at most `max_bytes` are left, and what processes that died left behind. Adds what went to *n and *bytes.
 */
bool cache_prune(struct gw_cache *cache, uint64_t max_bytes, size_t *n, uint64_t *bytes, struct gw_error *err);

const char *cache_directory(const struct gw_cache *cache);

#endif
