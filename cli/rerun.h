/* What a verb needs to run again what a server ran: the leaf of its receipt, its inputs and its module, from the server, from its
 * data directory, or from one that `gasworks replay --save` made (docs/replay.md). */
#ifndef CLI_RERUN_H
#define CLI_RERUN_H

#include "cli/client.h"
#include "cli/evidence.h"
#include "cli/guest.h"
#include "server/inputs/store.h"
#include "server/replay/replay.h"

/* All zero but for `client`; rerun_clear frees it. */
struct rerun {
  /* What the user says. */
  struct client client;
  const char *from, *data, *module_path, *files_path;
  struct cli_list secrets;

  struct inputs_reader *reader; /* of `data`, once it was asked */
  struct evidence_id id;
  uint8_t leaf_bytes[LEAF_MAX];
  size_t leaf_size;
  struct leaf leaf;                 /* borrows from there */
  char function[LEAF_MAX_TEXT + 1]; /* its full name */
  struct buffer inputs_bytes, module;
  struct inputs inputs; /* likewise */
  int module_fd;        /* a file of the module, for a guest; 0: none */
  char module_name[32], *arguments[2];
  int files; /* a descriptor, if files_path; else -1 */
};

/* clang-format off */
#define RERUN_OPTIONS(r)                                                                                                     \
  CLIENT_OPTIONS(&(r)->client),                                                                                              \
  {"data", 'd', CLI_TEXT, &(r)->data, "DIR", "ask no server, but read its data directory"},                                  \
  {"from", 0, CLI_TEXT, &(r)->from, "DIR", "take leaf, inputs and module from here, as `replay --save` left them"},          \
  {"module", 0, CLI_TEXT, &(r)->module_path, "FILE.wasm", "the module, where the server has it no more"},                    \
  {"secret", 0, CLI_LIST, &(r)->secrets, "NAME=VALUE", "a secret that the function had: these are not kept"},                \
  {"files", 0, CLI_TEXT, &(r)->files_path, "DIR", "the files that the function had (`serve --bundles`)"}
/* clang-format on */

/* All of the receipt ID, checked against the leaf's digests; and the leaf against the ID's hash, if it has one. */
bool rerun_load(struct rerun *r, const char *id, struct gw_error *err);
/* The leaf alone; and then the rest. */
bool rerun_load_leaf(struct rerun *r, const char *id, struct gw_error *err);
bool rerun_load_rest(struct rerun *r, struct gw_error *err);
/* The rest by its parts: who runs many receipts of one module loads that once. */
bool rerun_load_inputs(struct rerun *r, struct gw_error *err);
bool rerun_load_module(struct rerun *r, struct gw_error *err);
/* Whether the leaf that this one names as its function's one before is that: of the function, and before it. Where it cannot be
 * had, because it was forgotten or there is no log, nothing is said against it. False: `what` says what is there. */
bool rerun_has_previous(const struct rerun *r, char *what, size_t size);
/* Into a directory, made if missing. */
bool rerun_save(const struct rerun *r, const char *directory, struct gw_error *err);
/* What of `replay` follows from this. */
void rerun_fill(const struct rerun *r, struct replay *replay);
void rerun_clear(struct rerun *r);

/* The same as a guest that can be watched: its next guest_run in the precise tier is the invocation, with what the host answered
 * then. `guest` has its watch. */
bool rerun_load_guest(struct rerun *r, const char *id, struct guest *guest, struct gw_error *err);

/* From receipt to receipt, the newest first. All zero but for what is wanted. */
struct rerun_walk {
  const char *function; /* NULL: of all, where there is a data directory */
  uint64_t not_before;  /* seconds since 1970 */

  bool has_begun;
  uint64_t at; /* the last index that was looked at */
  cJSON *page; /* of a server's list */
  int i;
};
/* Its leaf, as rerun_load_leaf; false: there are no more, or err is set. */
bool rerun_walk_next(struct rerun *r, struct rerun_walk *walk, struct gw_error *err);
void rerun_walk_clear(struct rerun_walk *walk);

#endif
