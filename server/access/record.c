#include "server/access/record.h"

#include <cjson/cJSON.h>
#include <sodium.h>

#include <stdio.h>
#include <string.h>

static const struct {
  uint32_t bit;
  const char *text;
} scopes[] = {
#define SCOPE(id, bit, text, help) {bit, text},
#include "server/access/scope.def"
#undef SCOPE
};

enum { N_SCOPES = sizeof scopes / sizeof *scopes };

const char *access_scope_text(unsigned place, uint32_t *bit) {
  if (place >= N_SCOPES) return NULL;
  *bit = scopes[place].bit;
  return scopes[place].text;
}

uint32_t access_scope_find(const char *text) {
  for (size_t i = 0; i < N_SCOPES; i++)
    if (strcmp(scopes[i].text, text) == 0) return scopes[i].bit;
  return 0;
}

static void add_digest(cJSON *json, const char *key, const struct digest *digest) {
  char hex[DIGEST_HEX_SIZE];
  digest_print(digest, hex);
  cJSON_AddStringToObject(json, key, hex);
}

char *access_record_print(const struct token_record *r) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "id", r->token.id);
  cJSON_AddStringToObject(json, "name", r->token.name);
  cJSON_AddStringToObject(json, "tenant", r->token.who.tenant);
  cJSON_AddNumberToObject(json, "scopes", r->token.who.scopes);
  cJSON_AddNumberToObject(json, "created_ms", (double)r->token.created_ms);
  cJSON_AddNumberToObject(json, "expires_ms", (double)r->token.expires_ms);
  add_digest(json, "digest", &r->digest);
  add_digest(json, "old_digest", &r->old_digest);
  cJSON_AddNumberToObject(json, "old_until_ms", (double)r->old_until_ms);
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  return text;
}

static bool take_text(const cJSON *json, const char *key, char *out, size_t size) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
  return text && (size_t)snprintf(out, size, "%s", text) < size;
}

static bool take_number(const cJSON *json, const char *key, uint64_t *out) {
  double n = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, key));
  if (!(n >= 0 && n < 9e15)) return false;
  *out = (uint64_t)n;
  return true;
}

static bool take_digest(const cJSON *json, const char *key, struct digest *out) {
  char hex[DIGEST_HEX_SIZE];
  return take_text(json, key, hex, sizeof hex) && digest_is_hex(hex) &&
         sodium_hex2bin(out->bytes, sizeof out->bytes, hex, DIGEST_HEX_SIZE - 1, NULL, NULL, NULL) == 0;
}

bool access_record_parse(const void *text, size_t size, struct token_record *r) {
  cJSON *json = text ? cJSON_ParseWithLength(text, size) : NULL;
  uint64_t bits = 0;
  *r = (struct token_record){0};
  bool ok = json && take_text(json, "id", r->token.id, sizeof r->token.id) &&
            take_text(json, "name", r->token.name, sizeof r->token.name) &&
            take_text(json, "tenant", r->token.who.tenant, sizeof r->token.who.tenant) && take_number(json, "scopes", &bits) &&
            take_number(json, "created_ms", &r->token.created_ms) && take_number(json, "expires_ms", &r->token.expires_ms) &&
            take_digest(json, "digest", &r->digest) && take_digest(json, "old_digest", &r->old_digest) &&
            take_number(json, "old_until_ms", &r->old_until_ms);
  r->token.who.scopes = (uint32_t)bits;
  cJSON_Delete(json);
  return ok;
}
