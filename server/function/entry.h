/* What a name means: its versions, and which of them each of its addresses leads to. An entry that the registry has published
 * does not change: whoever changes something makes a copy, writes it down, and publishes that. */
#ifndef SERVER_FUNCTION_ENTRY_H
#define SERVER_FUNCTION_ENTRY_H

#include "server/function/function.h"

/* ENTRY_WHOLE: all calls of an alias, of which a canary gets a share. */
enum { ENTRY_MAX_ALIASES = 32, ENTRY_WHOLE = 10000 };

/* The alias of NAME alone. */
#define ENTRY_LIVE "live"

struct entry_alias {
  char name[FUNCTION_MAX_NAME + 1];
  uint64_t version;
  uint64_t canary; /* another version that gets `share` of ENTRY_WHOLE calls; 0: none */
  uint32_t share;
};

struct entry {
  char name[FUNCTION_MAX_FULL_NAME + 1]; /* full */
  uint64_t revision;                     /* counts what was published of the name, from 1 */
  uint64_t last;                         /* version deployed last, which may be gone */
  uint64_t previous;                     /* that was live before this one; 0: none */
  size_t n_aliases, n_versions;
  struct entry_alias *aliases; /* by name, but the live one first: there always is one */
  struct function **versions;  /* ascending, one at least; the entry holds references */
};

/* Without a version yet. */
struct entry *entry_create(const char *name);
/* The record of it, or NULL where memory is out; free it. */
char *entry_print(const struct entry *entry);
/* From a record, of this format or of the one before versions. One that cannot be understood gives a version whose calls are
 * answered by the reason. `limits` and `crashes`: as for function_create. */
struct entry *entry_parse(const char *name, const void *record, size_t size, const struct function_limits *limits,
                          struct crash_file *crashes, const struct settings_key *key);
/* With references of its own. */
struct entry *entry_copy(const struct entry *entry);
void entry_destroy(struct entry *entry); /* NULL: nothing */

/* NULL: there is none. */
struct function *entry_version(const struct entry *entry, uint64_t version);
struct entry_alias *entry_alias(const struct entry *entry, const char *name);
/* The version of NAME alone. */
struct function *entry_live(const struct entry *entry);
/* Whether an alias leads to the version. */
bool entry_is_led_to(const struct entry *entry, uint64_t version);

/* Adds the newest version, taking over the caller's reference. */
void entry_add(struct entry *entry, struct function *function);
/* Of a version that is there. */
void entry_remove(struct entry *entry, uint64_t version);
/* Takes versions away that no alias leads to until `keep` are left, the oldest first and the previous one last; and the modules
 * of others that no alias leads to. */
void entry_trim(struct entry *entry, size_t keep);
/* Changes or adds an alias. GW_ERROR_NOT_FOUND for versions that are not there, GW_ERROR_LIMIT for one alias too many. */
bool entry_set_alias(struct entry *entry, const struct entry_alias *alias, struct gw_error *err);
void entry_remove_alias(struct entry *entry, struct entry_alias *alias);

/* What NAME@WORD leads to: an alias, [a-z][a-z0-9_-]{0,62}, or a version, in decimal digits. */
bool entry_alias_is_valid(const char *name, size_t size);
/* 0: the text is no version. */
uint64_t entry_version_of(const char *text);

#endif
