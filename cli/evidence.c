#include "cli/evidence.h"

#include "base/array.h"
#include "base/error.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is meant ------------------------------------------------------------------------------------------------ */

static bool read_hex(void *out, size_t size, const char *text, size_t text_size) {
  size_t n;
  const char *end;
  return sodium_hex2bin(out, size, text, text_size, NULL, &n, &end) == 0 && n == size && end == text + text_size;
}

/* Up to `end`, without zeros in front. */
static bool read_index(const char *text, const char *end, uint64_t *index) {
  size_t size = (size_t)(end - text);
  if (!size || size > 19 || strspn(text, "0123456789") < size || (size > 1 && *text == '0')) return false;
  *index = strtoull(text, NULL, 10);
  return true;
}

bool evidence_parse_id(struct evidence_id *id, const char *text, struct gw_error *err) {
  enum { LOG_SIZE = RECEIPT_ID_SIZE - 1 };
  uint8_t ignored[LOG_SIZE / 2];
  const char *first = strchr(text, '/'), *second = first ? strchr(first + 1, '/') : NULL;
  *id = (struct evidence_id){0};
  bool ok = first ? second && first - text == LOG_SIZE && read_hex(ignored, sizeof ignored, text, LOG_SIZE) &&
                        read_index(first + 1, second, &id->index) &&
                        read_hex(id->hash.bytes, TREE_HASH_SIZE, second + 1, strlen(second + 1))
                  : read_index(text, text + strlen(text), &id->index);
  id->has_hash = ok && first;
  if (id->has_hash) snprintf(id->log, sizeof id->log, "%.*s", LOG_SIZE, text);
  return ok || error_set(err, GW_ERROR_USAGE, "%.100s is no receipt: LOG/INDEX/HASH as Gasworks-Receipt says it, or INDEX", text);
}

bool evidence_add_keys(struct evidence_keys *keys, char *text, struct gw_error *err) {
  size_t n = files_parse_keys(text, keys->keys + keys->n, FILES_MAX_KEYS - keys->n, err);
  keys->n += n;
  return n > 0;
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* Those whose name is the log's: others may have signed it as witnesses, which does not make it the log's word. */
static size_t keys_of(const struct evidence_keys *keys, const char *origin, struct note_key out[FILES_MAX_KEYS]) {
  size_t n = 0;
  for (size_t i = 0; i < keys->n; i++)
    if (strcmp(keys->keys[i].name, origin) == 0) out[n++] = keys->keys[i];
  return n;
}

bool evidence_check_head(const void *text, size_t size, const struct evidence_keys *keys, struct note_checkpoint *head,
                         struct gw_error *err) {
  struct note_key own[FILES_MAX_KEYS];
  if (!note_parse_checkpoint(head, text, size, err)) return false;
  if (!note_name_is_valid(head->origin)) return error_set(err, GW_ERROR_INVALID, "the checkpoint's origin is no name of a log");
  size_t n = keys_of(keys, head->origin, own);
  if (!n) return error_set(err, GW_ERROR_INVALID, "the checkpoint is of the log %s, which none of the keys is for", head->origin);
  return note_check(text, size, own, n, err);
}

/* Of no leaves there is one root only; tree_check_consistency asks for none. */
static bool is_empty_tree(const struct note_checkpoint *head) {
  struct tree_hash root;
  tree_root(NULL, 0, &root);
  return tree_hash_is(&root, &head->root);
}

bool evidence_check_growth(const struct tree_source *source, const struct note_checkpoint *old, const struct note_checkpoint *new,
                           struct gw_error *err) {
  struct tree_proof proof;
  if (strcmp(old->origin, new->origin) != 0)
    return error_set(err, GW_ERROR_INVALID, "the checkpoints are of two logs: %.100s and %.100s", old->origin, new->origin);
  if (old->size > new->size)
    return error_set(err, GW_ERROR_INVALID,
                     "the old checkpoint has %" PRIu64 " leaves and the new one %" PRIu64 ", so it is no later one", old->size,
                     new->size);
  if (old->size < new->size && !tree_prove_consistency(source, old->size, new->size, &proof))
    return error_set(err, GW_ERROR_UNAVAILABLE, "the log's hashes that would prove it cannot be had");
  if (old->size == new->size || !old->size) proof.n = 0;
  bool ok = tree_check_consistency(&proof, old->size, new->size, &old->root, &new->root) && (old->size || is_empty_tree(old));
  return ok ||
         error_set(err, GW_ERROR_INVALID,
                   "the checkpoint of %" PRIu64 " leaves does not continue that of %" PRIu64 ": leaves were changed, or the "
                   "hashes are of another tree",
                   new->size, old->size);
}

bool evidence_heads_add(struct evidence_heads *heads, const struct note_checkpoint *head, struct gw_error *err) {
  size_t at = heads->n;
  while (at && heads->items[at - 1].size > head->size) at--;
  const struct note_checkpoint *same = at && heads->items[at - 1].size == head->size ? &heads->items[at - 1] : NULL;
  if (heads->n && strcmp(heads->items[0].origin, head->origin) != 0)
    return error_set(err, GW_ERROR_INVALID, "the checkpoints are of two logs: %.100s and %.100s", heads->items[0].origin,
                     head->origin);
  if (same)
    return tree_hash_is(&same->root, &head->root) ||
           error_set(err, GW_ERROR_INVALID, "the log has signed two different trees of %" PRIu64 " leaves", head->size);
  if (heads->n == heads->capacity) array_grow(heads->items, heads->capacity, 16);
  memmove(heads->items + at + 1, heads->items + at, (heads->n - at) * sizeof *head);
  heads->items[at] = *head;
  heads->n++;
  return true;
}

bool evidence_heads_check(const struct evidence_heads *heads, const struct tree_source *source, struct gw_error *err) {
  bool ok = true;
  for (size_t i = 0; ok && i + 1 < heads->n; i++)
    ok = evidence_check_growth(source, &heads->items[i], &heads->items[heads->n - 1], err);
  return ok;
}

void evidence_heads_clear(struct evidence_heads *heads) {
  free(heads->items);
  *heads = (struct evidence_heads){0};
}

/* --- receipts ----------------------------------------------------------------------------------------------------- */

bool evidence_gas(const struct leaf *leaf, uint64_t *gas) {
  *gas = 0;
  for (int i = FIELD_COMPUTE; i <= FIELD_STORAGE; i++)
    if (__builtin_add_overflow(*gas, leaf->fields[i].number, gas)) return false;
  return true;
}

bool evidence_check_receipt(const struct evidence *e, const struct evidence_keys *keys, struct evidence_receipt *out,
                            struct gw_error *err) {
  struct tree_proof proof;
  const char *head;
  size_t head_size;
  if (!leaf_decode(&out->leaf, e->leaf, e->leaf_size, err)) return false;
  if (!leaf_outcome_word(out->leaf.fields[FIELD_OUTCOME].number))
    return error_set(err, GW_ERROR_INVALID, "the leaf has an outcome that is not known");
  if (!evidence_gas(&out->leaf, &out->gas)) return error_set(err, GW_ERROR_INVALID, "the leaf has more gas than there is");
  if (!note_parse_proof(&out->index, &proof, &head, &head_size, e->proof, e->proof_size, err)) return false;
  if (!evidence_check_head(head, head_size, keys, &out->head, err)) return false;
  out->hash = tree_leaf(e->leaf, e->leaf_size);
  if (out->index >= out->head.size)
    return error_set(err, GW_ERROR_INVALID, "the proof is of leaf %" PRIu64 ", and the checkpoint has %" PRIu64 " leaves",
                     out->index, out->head.size);
  return tree_check_inclusion(&proof, out->index, out->head.size, &out->hash, &out->head.root) ||
         error_set(err, GW_ERROR_INVALID,
                   "the leaf is not leaf %" PRIu64 " of the checkpoint's tree: the proof leads to another root", out->index);
}

bool evidence_check_id(const struct evidence_receipt *receipt, const struct evidence_id *id, struct gw_error *err) {
  char log[RECEIPT_ID_SIZE];
  receipt_log_id_of(receipt->head.origin, log);
  if (receipt->index != id->index)
    return error_set(err, GW_ERROR_INVALID, "the proof is of leaf %" PRIu64 ", not of %" PRIu64, receipt->index, id->index);
  if (!id->has_hash) return true;
  if (sodium_memcmp(log, id->log, sizeof log) != 0)
    return error_set(err, GW_ERROR_INVALID, "the receipt is of the log %s, and the checkpoint of %s", id->log, log);
  return tree_hash_is(&receipt->hash, &id->hash) ||
         error_set(err, GW_ERROR_INVALID, "the leaf is not the one that the receipt names: its hash is another");
}

/* --- chains ------------------------------------------------------------------------------------------------------- */

/* The first receipt may say the tenant that was left out. */
static bool is_of_function(const struct evidence_chain *chain, const char *name) {
  size_t size = strlen(chain->function), n = strlen(name);
  if (strcmp(chain->function, name) == 0) return true;
  return !chain->n && n > size && name[n - size - 1] == '/' && strcmp(name + n - size, chain->function) == 0;
}

static bool follows(const struct evidence_chain *chain, uint64_t index, struct gw_error *err) {
  if (!chain->n) return true;
  if (chain->is_gap && index < chain->oldest) return true;
  if (!chain->is_gap && chain->has_previous && chain->previous == index) return true;
  if (chain->is_gap || !chain->has_previous)
    return error_set(err, GW_ERROR_INVALID, "leaf %" PRIu64 " names no leaf before it, and leaf %" PRIu64 " was shown",
                     chain->oldest, index);
  return error_set(err, GW_ERROR_INVALID,
                   "the chain is broken: leaf %" PRIu64 " names leaf %" PRIu64 " before it, and leaf %" PRIu64 " was shown",
                   chain->oldest, chain->previous, index);
}

bool evidence_chain_add(struct evidence_chain *chain, const struct evidence_receipt *receipt, struct gw_error *err) {
  char name[LEAF_MAX_TEXT + 1] = "";
  const struct leaf_value *function = &receipt->leaf.fields[FIELD_FUNCTION], *previous = &receipt->leaf.fields[FIELD_PREVIOUS];
  bool is_gap = !function->is_there && receipt->leaf.fields[FIELD_OUTCOME].number == OUTCOME_VOID;
  if (function->is_there) snprintf(name, sizeof name, "%.*s", (int)function->size, (const char *)function->bytes);
  if (!is_gap && !is_of_function(chain, name))
    return error_set(err, GW_ERROR_INVALID, "leaf %" PRIu64 " is not of %.100s", receipt->index, chain->function);
  if (previous->is_there && previous->number >= receipt->index)
    return error_set(err, GW_ERROR_INVALID, "leaf %" PRIu64 " names leaf %" PRIu64 " as one before it", receipt->index,
                     previous->number);
  if (!follows(chain, receipt->index, err)) return false;
  if (!is_gap) memcpy(chain->function, name, sizeof name);
  if (!chain->n++) chain->newest = receipt->index;
  chain->oldest = receipt->index;
  chain->has_previous = previous->is_there;
  chain->previous = previous->number;
  chain->is_gap = is_gap;
  return true;
}
