/* Secrets are encrypted with XChaCha20-Poly1305 under a key beside the state, not in it: who has a copy of the state has no
 * secret. Function and name are authenticated, so that a record cannot show a secret under another one. */
#include "server/function/settings.h"

#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "runtime/host/header.h"
#include "server/function/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert((int)SETTINGS_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "libsodium's size of keys");
enum { NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES };

/* --- the key ------------------------------------------------------------------------------------------------------ */

static bool make_key(const char *path, struct settings_key *key, struct gw_error *err) {
  randombytes_buf(key->bytes, sizeof key->bytes);
  return file_write_durably(path, key->bytes, sizeof key->bytes, 0600, err);
}

static bool read_key(int fd, const char *path, struct settings_key *key, struct gw_error *err) {
  struct stat s;
  bool is_private = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && (s.st_mode & 077) == 0;
  if (!is_private) return error_set(err, GW_ERROR_IO, "%s is for its owner only: it wants the mode 0600", path);
  bool is_whole = s.st_size == sizeof key->bytes && read(fd, key->bytes, sizeof key->bytes) == sizeof key->bytes;
  return is_whole ||
         error_set(err, GW_ERROR_IO, "%s is damaged: it has %lld bytes, not %d", path, (long long)s.st_size, SETTINGS_KEY_SIZE);
}

bool settings_open_key(const char *data_dir, struct settings_key *key, struct gw_error *err) {
  struct buffer path = {0};
  if (sodium_init() < 0) return error_set(err, GW_ERROR_IO, "libsodium does not begin");
  buffer_format(&path, "%s/secret-key", data_dir);
  *buffer_reserve(&path, 1) = 0;
  const char *name = (const char *)path.bytes;
  int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  bool ok = fd >= 0           ? read_key(fd, name, key, err)
            : errno == ENOENT ? make_key(name, key, err)
                              : error_set(err, GW_ERROR_IO, "cannot read %s: %s", name, strerror(errno));
  if (fd >= 0) close(fd);
  buffer_clear(&path);
  return ok;
}

/* --- secrets ------------------------------------------------------------------------------------------------------ */

/* What a secret belongs to: "FUNCTION", NUL, "NAME". */
static void belong(struct buffer *out, const char *full_name, const char *name) {
  buffer_append(out, full_name, strlen(full_name) + 1);
  buffer_append(out, name, strlen(name));
}

/* In base64: nonce and ciphertext. */
static cJSON *encrypt(const char *full_name, const char *name, const char *value, const struct settings_key *key) {
  size_t size = strlen(value), total = NONCE + size + TAG;
  struct buffer box = {0}, of = {0};
  uint8_t *bytes = buffer_reserve(&box, total);
  belong(&of, full_name, name);
  randombytes_buf(bytes, NONCE);
  crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE, NULL, (const uint8_t *)value, size, of.bytes, of.size, NULL, bytes,
                                             key->bytes);
  size_t room = sodium_base64_ENCODED_LEN(total, sodium_base64_VARIANT_ORIGINAL);
  char *text = heap_new(room, 1);
  sodium_bin2base64(text, room, bytes, total, sodium_base64_VARIANT_ORIGINAL);
  cJSON *json = cJSON_CreateString(text);
  free(text);
  buffer_clear(&box);
  buffer_clear(&of);
  return json;
}

/* Appends the value; false for what was encrypted otherwise. */
static bool decrypt(struct buffer *out, const char *full_name, const char *name, const char *text,
                    const struct settings_key *key) {
  size_t room = strlen(text), size = 0;
  struct buffer of = {0};
  uint8_t *box = heap_new(room + 1, 1);
  bool ok =
      sodium_base642bin(box, room, text, room, NULL, &size, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 && size >= NONCE + TAG;
  belong(&of, full_name, name);
  if (ok) {
    uint8_t *value = buffer_reserve(out, size - NONCE - TAG);
    ok = crypto_aead_xchacha20poly1305_ietf_decrypt(value, NULL, NULL, box + NONCE, size - NONCE, of.bytes, of.size, box,
                                                    key->bytes) == 0;
    if (ok) out->size += size - NONCE - TAG;
  }
  free(box);
  buffer_clear(&of);
  return ok;
}

/* --- what may be said --------------------------------------------------------------------------------------------- */

/* Those of a request, which no variable may take the place of. */
static bool is_of_request(const char *name) {
  static const char *const taken[] = {"AUTH_TYPE",       "CONTENT_LENGTH",  "CONTENT_TYPE",   "GATEWAY_INTERFACE", "PATH_INFO",
                                      "PATH_TRANSLATED", "QUERY_STRING",    "REMOTE_ADDR",    "REMOTE_HOST",       "REMOTE_IDENT",
                                      "REMOTE_USER",     "REQUEST_METHOD",  "REQUEST_URI",    "SCRIPT_NAME",       "SERVER_NAME",
                                      "SERVER_PORT",     "SERVER_PROTOCOL", "SERVER_SOFTWARE"};
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (strcmp(name, taken[i]) == 0) return true;
  return strncmp(name, "HTTP_", 5) == 0;
}

static bool check_variable(const char *name, struct gw_error *err) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  bool is_name = *name && strlen(name) <= 128 && !(*name >= '0' && *name <= '9') && strspn(name, letters) == strlen(name);
  if (!is_name) return error_set(err, GW_ERROR_REQUEST, "%.64s is no name for a variable: letters, digits and _", name);
  return !is_of_request(name) || error_set(err, GW_ERROR_REQUEST, "%.64s is of the request, and cannot be set", name);
}

static bool check_header(const char *name, const char *value, struct gw_error *err) {
  size_t size = strlen(name);
  if (!header_name_is_valid(name, size) || !header_value_is_valid(value, strlen(value)))
    return error_set(err, GW_ERROR_REQUEST, "%.64s is no header, or has a value that is none", name);
  return !header_is_reserved(name, size) || error_set(err, GW_ERROR_REQUEST, "the header %.64s is the server's", name);
}

/* As a function's name is (function_name_is_valid). */
static bool is_group_name(const char *name) {
  static const char letters[] = "_-abcdefghijklmnopqrstuvwxyz0123456789";
  size_t size = strlen(name);
  return size && size <= 63 && !strchr("_-", *name) && strspn(name, letters) == size;
}

/* Whether a segment of a path, up to a slash or the end, is one that leads nowhere else. */
static bool is_plain_segment(const char *at, size_t size) {
  return size && !(size == 1 && at[0] == '.') && !(size == 2 && at[0] == '.' && at[1] == '.');
}

/* Where a program finds a directory. The root is the bundle's, and state is at /state. */
static bool is_guest_path(const char *path) {
  static const char letters[] = "/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  bool is_plain = path[0] == '/' && strlen(path) <= 128 && strspn(path, letters) == strlen(path);
  bool is_state = strcmp(path, "/state") == 0 || strncmp(path, "/state/", 7) == 0;
  for (const char *at = path; is_plain && *at; at += strcspn(at, "/")) {
    at++;
    is_plain = is_plain_segment(at, strcspn(at, "/"));
  }
  return is_plain && !is_state;
}

static bool check_directory(const char *path, const char *name, struct gw_error *err) {
  if (!is_guest_path(path))
    return error_set(err, GW_ERROR_REQUEST,
                     "%.64s is no place for a directory: a path from / on, without . and .., and not / or /state", path);
  return !name || is_group_name(name) ||
         error_set(err, GW_ERROR_REQUEST, "%.64s is no name of a directory that the operator allows", name);
}

/* The members of a record and of a patch. */
static const struct limit {
  const char *name;
  double most;
} limits[] = {
    {"gas_limit", 9e15}, {"max_memory", 9e15}, {"cpu_ms", UINT32_MAX}, {"max_running", UINT32_MAX}, {"deadline_ms", UINT32_MAX}};

static const char *const maps[] = {"env", "secrets", "headers", "directories"};
static const char GROUP[] = "state_group", READ_ONLY_GET[] = "read_only_get", TIER[] = "tier", TOOL[] = "tool";
enum {
  N_LIMITS = sizeof limits / sizeof *limits,
  N_MAPS = sizeof maps / sizeof *maps,
  ENV = 0,
  SECRETS = 1,
  HEADERS = 2,
  DIRECTORIES = 3
};

static const cJSON *member(const cJSON *json, const char *name) { return cJSON_GetObjectItemCaseSensitive(json, name); }

static uint64_t limit_of(const cJSON *record, size_t i) {
  double n = cJSON_GetNumberValue(member(record, limits[i].name));
  return n >= 1 && n <= limits[i].most ? (uint64_t)n : 0;
}

static enum tier_choice tier_of(const cJSON *record) {
  static const char *const names[] = {[TIER_FAST] = "fast", [TIER_PRECISE] = "precise", [TIER_BASELINE] = "baseline"};
  const char *name = cJSON_GetStringValue(member(record, TIER));
  for (int i = 0; name && i < TIER_UNTOLD; i++)
    if (names[i] && strcmp(name, names[i]) == 0) return (enum tier_choice)i;
  return TIER_UNTOLD;
}

/* --- from a record ------------------------------------------------------------------------------------------------ */

static void add_env(struct settings *s, size_t *n, const struct buffer *text) {
  char *copy = heap_new(text->size + 1, 1);
  memcpy(copy, text->bytes, text->size);
  s->env[(*n)++] = copy;
}

/* A value of a record, as it is, or decrypted. */
static bool add_variable(struct settings *s, size_t *n, const cJSON *item, bool is_secret, const char *full_name,
                         const struct settings_key *key, struct gw_error *err) {
  struct buffer text = {0};
  const char *value = cJSON_GetStringValue(item);
  bool ok = value && check_variable(item->string, err);
  buffer_format(&text, "%s=", item->string);
  if (ok && is_secret)
    ok = decrypt(&text, full_name, item->string, value, key) ||
         error_set(err, GW_ERROR_IO, "the secret %s of function %s cannot be read: its key is not here", item->string, full_name);
  else if (ok)
    buffer_append(&text, value, strlen(value));
  if (ok) add_env(s, n, &text);
  if (text.bytes) sodium_memzero(text.bytes, text.size);
  buffer_clear(&text);
  return ok;
}

static bool add_header(struct settings *s, const cJSON *item, struct gw_error *err) {
  const char *value = cJSON_GetStringValue(item);
  if (!value || !check_header(item->string, value, err)) return false;
  header_append(&s->headers, item->string, strlen(item->string), value, strlen(value));
  return true;
}

static bool is_small(const cJSON *record, struct gw_error *err) {
  size_t bytes = 0, n = 0;
  const cJSON *item;
  for (size_t i = 0; i < N_MAPS; i++) cJSON_ArrayForEach(item, member(record, maps[i])) {
      n++;
      bytes += strlen(item->string) + (cJSON_IsString(item) ? strlen(item->valuestring) : 0);
    }
  if (cJSON_GetArraySize(member(record, maps[DIRECTORIES])) > SETTINGS_MAX_DIRECTORIES)
    return error_set(err, GW_ERROR_LIMIT, "a function has at most %d directories", SETTINGS_MAX_DIRECTORIES);
  if (n <= SETTINGS_MAX_VARIABLES && bytes <= SETTINGS_MAX_BYTES) return true;
  return error_set(err, GW_ERROR_LIMIT,
                   "variables, secrets, headers and directories are at most %d, and %d bytes with their names",
                   SETTINGS_MAX_VARIABLES, SETTINGS_MAX_BYTES);
}

static bool read_maps(struct settings *s, const char *full_name, const cJSON *record, const struct settings_key *key,
                      struct gw_error *err) {
  const cJSON *item;
  size_t n = 0;
  bool ok = is_small(record, err);
  s->env = heap_new(SETTINGS_MAX_VARIABLES + 1, sizeof *s->env);
  cJSON_ArrayForEach(item, member(record, maps[ENV])) ok = ok && add_variable(s, &n, item, false, full_name, key, err);
  cJSON_ArrayForEach(item, member(record, maps[SECRETS])) ok = ok && add_variable(s, &n, item, true, full_name, key, err);
  cJSON_ArrayForEach(item, member(record, maps[HEADERS])) ok = ok && add_header(s, item, err);
  s->directories = member(s->record, maps[DIRECTORIES]);
  cJSON_ArrayForEach(item, s->directories) ok =
      ok && cJSON_IsString(item) && check_directory(item->string, item->valuestring, err);
  return ok;
}

const char *settings_group_space(const char *group, char out[SETTINGS_SPACE_SIZE]) {
  snprintf(out, SETTINGS_SPACE_SIZE, "%s#group", group); /* no function is called so */
  return out;
}

/* A group is of the function's tenant, whatever it is called. */
static bool read_state(struct settings *s, const char *full_name, const cJSON *record) {
  char space[SETTINGS_SPACE_SIZE];
  const cJSON *item = member(record, GROUP);
  const char *name = cJSON_GetStringValue(item);
  s->is_get_read_only = cJSON_IsTrue(member(record, READ_ONLY_GET));
  if (!item) return true;
  if (!name || !is_group_name(name)) return false;
  const char *slash = strchr(full_name, '/');
  size_t tenant = slash ? (size_t)(slash + 1 - full_name) : 0;
  s->group = heap_new(tenant + strlen(name) + 1, 1);
  memcpy(s->group, full_name, tenant);
  memcpy(s->group + tenant, name, strlen(name) + 1);
  s->space = strdup(settings_group_space(s->group, space));
  return s->space;
}

bool settings_parse(const char *full_name, const cJSON *record, const struct settings_key *key, struct settings **out,
                    struct gw_error *err) {
  *out = NULL;
  if (!record) return true;
  struct settings *s = *out = heap_new(1, sizeof *s);
  atomic_init(&s->refs, 1);
  s->record = cJSON_Duplicate(record, true);
  s->gas_limit = limit_of(record, 0);
  s->max_memory = limit_of(record, 1);
  s->cpu_ms = (uint32_t)limit_of(record, 2);
  s->max_running = (uint32_t)limit_of(record, 3);
  s->deadline_ms = (uint32_t)limit_of(record, 4);
  s->tier = tier_of(record);
  if (cJSON_IsObject(record) && read_state(s, full_name, record) && read_maps(s, full_name, record, key, err)) return true;
  s->is_damaged = true;
  return error_set(err, GW_ERROR_IO, "the stored settings of function %s are damaged", full_name);
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

static bool patch_limit(cJSON *record, const cJSON *item, const struct limit *limit, struct gw_error *err) {
  double n = cJSON_IsNumber(item) ? item->valuedouble : 0;
  cJSON_DeleteItemFromObjectCaseSensitive(record, limit->name);
  if (cJSON_IsNull(item)) return true;
  if (!(n >= 1 && n <= limit->most && n == floor(n)))
    return error_set(err, GW_ERROR_REQUEST, "%s is a whole number from 1 on, or null", limit->name);
  cJSON_AddNumberToObject(record, limit->name, n);
  return true;
}

static bool patch_group(cJSON *record, const cJSON *item, struct gw_error *err) {
  const char *name = cJSON_GetStringValue(item);
  cJSON_DeleteItemFromObjectCaseSensitive(record, GROUP);
  if (cJSON_IsNull(item)) return true;
  if (!name || !is_group_name(name))
    return error_set(err, GW_ERROR_REQUEST, "%s is a name such as functions have, or null", GROUP);
  cJSON_AddStringToObject(record, GROUP, name);
  return true;
}

static bool patch_tier(cJSON *record, const cJSON *item, struct gw_error *err) {
  cJSON_DeleteItemFromObjectCaseSensitive(record, TIER);
  if (cJSON_IsNull(item)) return true;
  cJSON_AddItemToObject(record, TIER, cJSON_Duplicate(item, true));
  return tier_of(record) != TIER_UNTOLD ||
         error_set(err, GW_ERROR_REQUEST, "%s is \"fast\", \"baseline\", \"precise\" or null", TIER);
}

static bool patch_read_only_get(cJSON *record, const cJSON *item, struct gw_error *err) {
  cJSON_DeleteItemFromObjectCaseSensitive(record, READ_ONLY_GET);
  if (cJSON_IsTrue(item)) cJSON_AddTrueToObject(record, READ_ONLY_GET);
  if (cJSON_IsBool(item) || cJSON_IsNull(item)) return true;
  return error_set(err, GW_ERROR_REQUEST, "%s is true, false or null", READ_ONLY_GET);
}

/* False: none, whatever the module says. */
static bool patch_tool(cJSON *record, const cJSON *item, struct gw_error *err) {
  cJSON_DeleteItemFromObjectCaseSensitive(record, TOOL);
  if (cJSON_IsNull(item)) return true;
  cJSON_AddItemToObject(record, TOOL, cJSON_Duplicate(item, true));
  return cJSON_IsFalse(item) || tool_check(item, err);
}

struct patching {
  const char *full_name;
  const struct settings_key *key;
  struct gw_error *err;
};

static bool patch_pair(cJSON *to, const cJSON *item, size_t map, const struct patching *p) {
  const char *name = item->string, *value = cJSON_GetStringValue(item);
  if (!value && !cJSON_IsNull(item)) return error_set(p->err, GW_ERROR_REQUEST, "%.64s wants a text, or null", name);
  bool ok = map == HEADERS       ? check_header(name, value ? value : "", p->err)
            : map == DIRECTORIES ? check_directory(name, value, p->err)
                                 : check_variable(name, p->err);
  if (map == HEADERS) /* whose names have no case */
    cJSON_DeleteItemFromObject(to, name);
  else
    cJSON_DeleteItemFromObjectCaseSensitive(to, name);
  if (!ok || !value) return ok;
  cJSON_AddItemToObject(to, name, map == SECRETS ? encrypt(p->full_name, name, value, p->key) : cJSON_CreateString(value));
  return true;
}

static cJSON *map_of(cJSON *record, const char *name) {
  cJSON *map = cJSON_GetObjectItemCaseSensitive(record, name);
  return map ? map : cJSON_AddObjectToObject(record, name);
}

static bool patch_map(cJSON *record, const cJSON *patch, size_t map, const struct patching *p) {
  const cJSON *item;
  bool ok = true;
  if (cJSON_IsNull(patch)) cJSON_DeleteItemFromObjectCaseSensitive(record, maps[map]);
  if (cJSON_IsNull(patch)) return true;
  if (!cJSON_IsObject(patch)) return error_set(p->err, GW_ERROR_REQUEST, "%s wants an object, or null", maps[map]);
  cJSON *to = map_of(record, maps[map]);
  cJSON_ArrayForEach(item, patch) ok = ok && patch_pair(to, item, map, p);
  return ok;
}

static bool patch_member(cJSON *record, const cJSON *item, const struct patching *p) {
  for (size_t i = 0; i < N_LIMITS; i++)
    if (strcmp(item->string, limits[i].name) == 0) return patch_limit(record, item, &limits[i], p->err);
  for (size_t i = 0; i < N_MAPS; i++)
    if (strcmp(item->string, maps[i]) == 0) return patch_map(record, item, i, p);
  if (strcmp(item->string, GROUP) == 0) return patch_group(record, item, p->err);
  if (strcmp(item->string, TIER) == 0) return patch_tier(record, item, p->err);
  if (strcmp(item->string, TOOL) == 0) return patch_tool(record, item, p->err);
  if (strcmp(item->string, READ_ONLY_GET) == 0) return patch_read_only_get(record, item, p->err);
  return error_set(p->err, GW_ERROR_REQUEST, "%.64s is nothing that can be set", item->string);
}

/* One name cannot be both. */
static bool is_clear(const cJSON *record, struct gw_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, member(record, maps[SECRETS])) {
    if (member(member(record, maps[ENV]), item->string))
      return error_set(err, GW_ERROR_REQUEST, "%.64s is a variable and a secret", item->string);
  }
  return true;
}

struct settings *settings_patch(const char *full_name, const struct settings *old, const cJSON *patch,
                                const struct settings_key *key, struct gw_error *err) {
  struct patching p = {full_name, key, err};
  const cJSON *item;
  cJSON *record = old ? cJSON_Duplicate(old->record, true) : cJSON_CreateObject();
  bool ok = true;
  cJSON_ArrayForEach(item, patch) ok = ok && patch_member(record, item, &p);
  struct settings *s = NULL;
  ok = ok && is_clear(record, err) && is_small(record, err) && settings_parse(full_name, record, key, &s, err);
  cJSON_Delete(record);
  if (ok) return s;
  settings_release(s);
  return NULL;
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

cJSON *settings_json(const struct settings *s) {
  cJSON *json = s ? cJSON_Duplicate(s->record, true) : cJSON_CreateObject();
  const cJSON *item;
  cJSON *names = cJSON_CreateArray(), *secrets = cJSON_DetachItemFromObjectCaseSensitive(json, maps[SECRETS]);
  cJSON_ArrayForEach(item, secrets) cJSON_AddItemToArray(names, cJSON_CreateString(item->string));
  cJSON_Delete(secrets);
  cJSON_AddItemToObject(json, maps[SECRETS], names);
  return json;
}

/* Of something that only who has the key can make a digest of. */
static void add_keyed(struct buffer *out, const char *what, const struct settings_key *key) {
  uint8_t digest[crypto_generichash_BYTES];
  char hex[2 * sizeof digest + 1];
  crypto_generichash(digest, sizeof digest, (const uint8_t *)what, strlen(what), key->bytes, sizeof key->bytes);
  sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
  buffer_append(out, hex, sizeof hex - 1);
}

/* "NAME=VALUE" of the environment. */
static const char *variable(const struct settings *s, const char *name) {
  size_t size = strlen(name);
  for (const char **at = s->env; at && *at; at++)
    if (strncmp(*at, name, size) == 0 && (*at)[size] == '=') return *at;
  return name;
}

/* The function's name is in it: nobody sees that two functions have the same secret. */
static void print_secret(const struct settings *s, const struct settings_owner *owner, const char *name,
                         const struct settings_key *key, struct buffer *out) {
  struct buffer text = {0};
  buffer_format(&text, "gasworks secret\n%s\n%s", owner->full_name, variable(s, name));
  *buffer_reserve(&text, 1) = 0;
  buffer_format(out, "secret %s ", name);
  add_keyed(out, (const char *)text.bytes, key);
  buffer_append(out, "\n", 1);
  sodium_memzero(text.bytes, text.size);
  buffer_clear(&text);
}

static void print_salt(const struct settings_owner *owner, const struct settings_key *key, struct buffer *out) {
  char what[256];
  snprintf(what, sizeof what, "gasworks salt\n%s\n%llu", owner->full_name, (unsigned long long)owner->version);
  buffer_format(out, "gasworks-settings 1\nsalt ");
  add_keyed(out, what, key);
  buffer_append(out, "\n", 1);
}

void settings_print(const struct settings *s, const struct settings_owner *owner, const struct settings_key *key,
                    struct buffer *out) {
  cJSON *json = s ? cJSON_Duplicate(s->record, true) : cJSON_CreateObject();
  cJSON *secrets = cJSON_DetachItemFromObjectCaseSensitive(json, maps[SECRETS]);
  const cJSON *item;
  print_salt(owner, key, out);
  buffer_format(out, "access %s\nbacktraces %s\n", owner->is_private ? "private" : "public",
                owner->shows_backtraces ? "on" : "off");
  cJSON_ArrayForEach(item, secrets) {
    if (item->string) print_secret(s, owner, item->string, key, out); /* else the record is damaged */
  }
  char *text = cJSON_PrintUnformatted(json);
  buffer_format(out, "settings ");
  buffer_append(out, text, strlen(text));
  buffer_append(out, "\n", 1);
  free(text);
  cJSON_Delete(secrets);
  cJSON_Delete(json);
}

static bool each_secret(char *text, settings_variable_fn each, void *arg) {
  static const char word[] = "secret ";
  for (char *line = text; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, word, sizeof word - 1) != 0) continue;
    char *name = line + sizeof word - 1, *end = strpbrk(name, " \n");
    if (!end || *end != ' ') return false;
    *end = 0;
    if (!each(arg, name, NULL)) return false;
    *end = ' ';
  }
  return true;
}

bool settings_read_environment(const char *text, size_t size, settings_variable_fn each, void *arg) {
  static const char word[] = "\nsettings ";
  char *copy = heap_new(size + 1, 1);
  memcpy(copy, text, size);
  char *at = strlen(copy) == size ? strstr(copy, word) : NULL;
  cJSON *json = at ? cJSON_Parse(at + sizeof word - 1) : NULL;
  if (at) at[1] = 0; /* secrets are in front of it */
  bool ok = json != NULL;
  const cJSON *item;
  cJSON_ArrayForEach(item, member(json, maps[ENV])) ok = ok && cJSON_IsString(item) && each(arg, item->string, item->valuestring);
  ok = ok && each_secret(copy, each, arg);
  cJSON_Delete(json);
  free(copy);
  return ok;
}

/* --- holding ------------------------------------------------------------------------------------------------------ */

struct settings *settings_retain(struct settings *s) {
  if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
  return s;
}

static void forget(const char *text) {
  size_t size = strlen(text);
  char *bytes = (char *)text;
  sodium_memzero(bytes, size);
  free(bytes);
}

void settings_release(struct settings *s) {
  if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
  for (const char **at = s->env; at && *at; at++) forget(*at);
  free(s->env);
  buffer_clear(&s->headers);
  free(s->group);
  free(s->space);
  cJSON_Delete(s->record);
  free(s);
}
