/* Who may do what: tenants, and tokens with scopes. A token is of one tenant, or of the server, and then good for all of them.
 *
 * What is kept of a token is a digest, so neither the store nor its backup holds one. Loops look tokens up in a table that is
 * replaced as a whole when something changes; a connection remembers its last one (struct pass) as long as the table is the same.
 */
#ifndef SERVER_ACCESS_ACCESS_H
#define SERVER_ACCESS_ACCESS_H

#include "gasworks/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access;
struct state_store; /* runtime/state/state.h */

/* ACCESS_MAX_TOKENS: of one tenant, or of the server. */
enum { ACCESS_MAX_NAME = 63, ACCESS_MAX_TOKENS = 1000, TOKEN_SIZE = 64, TOKEN_ID_SIZE = 16, TENURE_LOG_SIZE = 17 };

/* Begins every token, so that people and programs that look for leaked ones know it. */
#define TOKEN_PREFIX "gw_"

/* The token that the data directory's file holds, and the file. */
#define ADMIN_TOKEN_ID "admin"
#define ADMIN_TOKEN_FILE "admin-token"

/* The tenant that functions are of whose path names none. */
#define DEFAULT_TENANT "default"

enum scope {
#define SCOPE(id, bit, text, help) SCOPE_##id = (bit),
#include "server/access/scope.def"
#undef SCOPE
};

/* NULL: no such bit. Its place in the table, from 0, counts. */
const char *access_scope_text(unsigned place, uint32_t *bit);
/* The bit of a word, or 0. */
uint32_t access_scope_find(const char *text);

/* Whom a token speaks for. */
struct identity {
  char tenant[ACCESS_MAX_NAME + 1]; /* "": the server */
  uint32_t scopes;
};

struct token {
  char id[TOKEN_ID_SIZE]; /* no secret */
  char name[ACCESS_MAX_NAME + 1];
  struct identity who;
  uint64_t created_ms, expires_ms; /* since 1970; never: 0 */
};

/* Since when a tenant has its name. A log of receipts goes by names, and who had this one before has leaves in it, too. */
struct tenure {
  uint64_t created_ms;       /* since 1970; 0: since ever, as the default tenant */
  char log[TENURE_LOG_SIZE]; /* by its id the log that there was; "": there was none */
  uint64_t first;            /* leaf of that log that can be the tenant's */
};

/* What a connection remembers of the token that it showed last; zero at first. */
struct pass {
  uint64_t epoch;
  uint64_t expires_ms;
  char text[TOKEN_SIZE]; /* behind its end zeros */
  struct identity who;
};

/* Reads tenants and tokens. Where the file of the admin token in `data_dir` is missing or no longer good, makes both; NULL:
 * there is to be none. `state` must outlive it. NULL on failure. */
struct access *access_open(const char *data_dir, struct state_store *state, struct gw_error *err);
/* Reads all records again, which another process may have changed. Blocks. */
bool access_refresh(struct access *access, struct gw_error *err);
void access_close(struct access *access);

/* Whether the token is good now; then `pass->who` is whom it speaks for. Takes the same time whatever is wrong with it. Any
 * thread; `pass` is one thread's. */
bool access_check(struct access *access, const char *token, struct pass *pass);

/* Whether it has the scope in the tenant (`size` bytes; "": at the server itself). Admins have all. */
bool access_allows(const struct identity *who, const char *tenant, size_t size, enum scope scope);

/* Whether the tenant is there. Any thread. */
bool access_has_tenant(struct access *access, const char *name);
/* Since when it has its name; of a tenant that is not there, since now. Any thread. */
struct tenure access_tenure(struct access *access, const char *name);
/* Whether a leaf of a log, that ended at `time` in seconds, can be the tenant's: by its index in the log that there was when the
 * tenant was made, by time in another. In doubt, which is a second long, it is not. */
bool access_is_within(const struct tenure *tenure, const char *log, uint64_t index, uint64_t time);
/* Calls `each` with a reader lock held, in the order of names and of ids: it must not call `access`. Any thread. */
void access_each_tenant(struct access *access, void (*each)(void *arg, const char *name, uint64_t created_ms), void *arg);
void access_each_token(struct access *access, void (*each)(void *arg, const struct token *token), void *arg);

/* Those below are durable and in force when they return; they block on disk, so worker threads only. */

/* `*is_new`: there was none of that name; then it gets `tenure`, but for the time, which is now. */
bool access_create_tenant(struct access *access, const char *name, const struct tenure *tenure, bool *is_new,
                          struct gw_error *err);
/* With its tokens. GW_ERROR_NOT_FOUND when there is none. */
bool access_delete_tenant(struct access *access, const char *name, struct gw_error *err);

/* `token` has who, name and expires_ms; gets the rest. `text` is the token itself, which nobody can read again. */
bool access_create_token(struct access *access, struct token *token, char text[TOKEN_SIZE], struct gw_error *err);
/* `tenant`: only of this one; NULL: of any. The id stays; the secret before is good for another `grace_ms`. GW_ERROR_NOT_FOUND
 * when there is none; `token` gets what it is. */
bool access_rotate_token(struct access *access, const char *tenant, const char *id, uint64_t grace_ms, struct token *token,
                         char text[TOKEN_SIZE], struct gw_error *err);
bool access_revoke_token(struct access *access, const char *tenant, const char *id, struct gw_error *err);

#endif
