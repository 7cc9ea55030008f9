/* How a version's invocations run, as its owner says: limits, environment, secrets, headers of replies, state. Immutable and
 * counted; shared between versions that differ in other things. */
#ifndef SERVER_FUNCTION_SETTINGS_H
#define SERVER_FUNCTION_SETTINGS_H

#include "base/buffer.h"
#include "gasworks/error.h"
#include "server/tier.h"

#include <cjson/cJSON.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SETTINGS_MAX_DIRECTORIES = 8, SETTINGS_MAX_VARIABLES = 64, SETTINGS_MAX_BYTES = 32 << 10, SETTINGS_KEY_SIZE = 32 };

/* Encrypts secrets in records; of a data directory. */
struct settings_key {
  uint8_t bytes[SETTINGS_KEY_SIZE];
};

struct settings {
  _Atomic uint32_t refs;
  uint64_t gas_limit, max_memory; /* of an invocation; 0: the server's, which are never exceeded */
  uint32_t cpu_ms, max_running;   /* likewise; max_running: of this version, on all loops together */
  uint32_t deadline_ms;           /* from the request to its answer; 0: none */
  enum tier_choice tier;          /* TIER_UNTOLD: the server's */
  const char **env;               /* "NAME=VALUE", secrets too; NULL-terminated */
  struct buffer headers;          /* "Name: value\r\n" lines that replies have unless the function gives its own */
  const cJSON *directories;       /* of the record: names of directories that the operator allows, by where they are; or NULL */
  cJSON *record;                  /* what is stored: secrets are encrypted */
  char *group, *space;            /* of state that it shares: full name, and the space's; NULL: its state is its own */
  bool is_get_read_only;          /* GET and HEAD may write no state */
  bool is_damaged;                /* the record, or it is encrypted with another key: nothing may run with this */
};

/* Reads DIR/secret-key, or makes it (mode 0600, durable). */
bool settings_open_key(const char *data_dir, struct settings_key *key, struct gw_error *err);

/* Of a record (NULL: none, so `*out` is NULL). `full_name` is the function's: a secret can be read as that function's only.
 * False, with the reason, for what is no such record, or is encrypted with another key; `*out` then holds the record, and is
 * damaged. */
bool settings_parse(const char *full_name, const cJSON *record, const struct settings_key *key, struct settings **out,
                    struct gw_error *err);
/* `old` (NULL: none) changed by a merge patch (RFC 7396): {"env": {"NAME": "VALUE" or null}, "secrets": ..., "headers": ...,
 * "gas_limit": N or null, ...}. NULL, with GW_ERROR_REQUEST or GW_ERROR_LIMIT, for what is none. */
struct settings *settings_patch(const char *full_name, const struct settings *old, const cJSON *patch,
                                const struct settings_key *key, struct gw_error *err);
/* Of a group's full name, which is one of a function: the space where its state is. */
enum { SETTINGS_SPACE_SIZE = 160 };
const char *settings_group_space(const char *group, char out[SETTINGS_SPACE_SIZE]);
/* What may be shown: of secrets their names. */
cJSON *settings_json(const struct settings *settings);

/* Whose they are, for the text below. */
struct settings_owner {
  const char *full_name;
  uint64_t version;
  bool is_private, shows_backtraces; /* as function_config has it */
};
/* Appends what receipts have a digest of (docs/receipts.md). It begins with a salt of this version, which is made of the key: who
 * has only the digest cannot find the text by guessing. Of secrets there are digests that take the key. NULL: there are none. */
void settings_print(const struct settings *settings, const struct settings_owner *owner, const struct settings_key *key,
                    struct buffer *out);
/* The environment that such a text tells of, in its order. `value` is NULL of a secret. False: it is no such text, or `each` said
 * so, which ends it. */
typedef bool (*settings_variable_fn)(void *arg, const char *name, const char *value);
bool settings_read_environment(const char *text, size_t size, settings_variable_fn each, void *arg);

struct settings *settings_retain(struct settings *settings); /* NULL stays NULL */
void settings_release(struct settings *settings);

/* The smaller of the version's limit and the server's, where 0 is none. */
static inline uint64_t settings_limit(uint64_t own, uint64_t of_server) {
  return own && (!of_server || own < of_server) ? own : of_server;
}

#endif
