#include "cli/fetch.h"

#include "base/error.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PROOF_TRIES = 50, PROOF_WAIT_US = 100000 };

bool fetch_get(const struct client *client, const char *path, struct client_reply *reply, struct gw_error *err) {
  struct client_request request = {.client = client, .method = "GET", .path = path, .max_reply = FETCH_MAX_REPLY};
  return client_ask(&request, reply, err);
}

/* NULL: err says why. */
static cJSON *get_json(const struct client *client, const char *path, struct gw_error *err) {
  struct client_reply reply = {0};
  cJSON *json = fetch_get(client, path, &reply, err) ? cJSON_Parse((const char *)reply.body.bytes) : NULL;
  if (!json) error_set(err, GW_ERROR_UNAVAILABLE, "the server's answer is no JSON");
  client_reply_clear(&reply);
  return json;
}

cJSON *fetch_receipt(const struct client *client, uint64_t index, bool needs_proof, struct gw_error *err) {
  char path[64];
  snprintf(path, sizeof path, "/v1/receipts/%" PRIu64, index);
  for (int i = 0; i < PROOF_TRIES; i++) {
    cJSON *json = get_json(client, path, err);
    if (!json || !needs_proof || cJSON_GetObjectItem(json, "proof")) return json;
    cJSON_Delete(json);
    usleep(PROOF_WAIT_US);
  }
  error_set(err, GW_ERROR_UNAVAILABLE, "no checkpoint covers leaf %" PRIu64 " yet", index);
  return NULL;
}

cJSON *fetch_receipts(const struct client *client, const char *function, uint32_t limit, uint64_t before, struct gw_error *err) {
  char path[400], since[32] = "";
  if (!client_check_name(function, false, err)) return NULL;
  if (before) snprintf(since, sizeof since, "&before=%" PRIu64, before);
  snprintf(path, sizeof path, "/v1/functions/%.255s/receipts?limit=%u%s", function, limit, since);
  return get_json(client, path, err);
}

bool fetch_leaf(const cJSON *receipt, uint8_t leaf[LEAF_MAX], size_t *size, const char **proof) {
  const char *hex = cJSON_GetStringValue(cJSON_GetObjectItem(receipt, "leaf")), *end;
  *proof = cJSON_GetStringValue(cJSON_GetObjectItem(receipt, "proof"));
  return hex && sodium_hex2bin(leaf, LEAF_MAX, hex, strlen(hex), NULL, size, &end) == 0 && !*end;
}

/* --- tiles -------------------------------------------------------------------------------------------------------- */

/* As wide as a log of this size has it, so that any server of tlog-tiles knows it. */
static bool load(struct fetch_tiles *t, unsigned level, uint64_t n, struct buffer *out) {
  char path[FILES_PATH], name[FILES_TILE_PATH];
  uint64_t count = t->size >> (8 * level);
  struct files_tile tile = {.level = level, .n = n, .width = n < count / TREE_TILE ? TREE_TILE : count % TREE_TILE};
  if (!tile.width) return false;
  files_print_tile(&tile, name);
  if (t->directory) {
    snprintf(path, sizeof path, "%s/tile%s", t->directory, name);
    return buffer_read_file(out, path, TREE_TILE * TREE_HASH_SIZE, t->err);
  }
  struct client_reply reply = {0};
  snprintf(path, sizeof path, "/v1/log/tile%s", name);
  bool ok = fetch_get(t->client, path, &reply, t->err);
  if (ok) buffer_append(out, reply.body.bytes, reply.body.size);
  client_reply_clear(&reply);
  return ok;
}

bool fetch_hashes(void *arg, unsigned level, uint64_t first, size_t n, struct tree_hash *out) {
  struct fetch_tiles *t = arg;
  struct buffer bytes = {0};
  uint64_t number = first / TREE_TILE;
  size_t at = first % TREE_TILE;
  if (level >= TREE_LEVELS || at + n > TREE_TILE) return false;
  if (!t->last[level].is_there || t->last[level].n != number) {
    t->last[level].is_there = load(t, level, number, &bytes) && bytes.size <= sizeof t->last[level].hashes;
    t->last[level].n = number;
    t->last[level].width = bytes.size / TREE_HASH_SIZE;
    if (t->last[level].is_there && bytes.size) memcpy(t->last[level].hashes, bytes.bytes, bytes.size);
    buffer_clear(&bytes);
  }
  if (!t->last[level].is_there || at + n > t->last[level].width) return false;
  memcpy(out, t->last[level].hashes + at, n * sizeof *out);
  return true;
}
