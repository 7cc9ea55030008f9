#define _GNU_SOURCE /* memfd_create */
#include "cli/rerun.h"

#include "base/error.h"
#include "base/files.h"
#include "cli/fetch.h"
#include "jit/artifact/file_kind.h"
#include "server/access/access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 30, PATH = 4096 };

/* --- from a directory ---------------------------------------------------------------------------------------------- */

static bool read_from(const struct rerun *r, const char *name, struct buffer *out, struct gw_error *err) {
  char path[PATH];
  snprintf(path, sizeof path, "%s/%s", r->from, name);
  return buffer_read_file(out, path, MAX_FILE, err);
}

static bool write_to(const char *directory, const char *name, const void *bytes, size_t size, struct gw_error *err) {
  char path[PATH];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return file_write_named(path, bytes, size, 0600, err);
}

bool rerun_save(const struct rerun *r, const char *directory, struct gw_error *err) {
  return directory_make(directory, err) && write_to(directory, "leaf", r->leaf_bytes, r->leaf_size, err) &&
         write_to(directory, "inputs", r->inputs_bytes.bytes, r->inputs_bytes.size, err) &&
         write_to(directory, "module.wasm", r->module.bytes, r->module.size, err);
}

/* --- from a data directory ----------------------------------------------------------------------------------------- */

static bool read_data_leaf(struct rerun *r, struct gw_error *err) {
  char path[PATH];
  struct buffer bytes = {0};
  snprintf(path, sizeof path, "%s/receipts", r->data);
  bool ok = files_read_leaf(path, r->id.index, &bytes) == FILES_FOUND && bytes.size <= LEAF_MAX;
  if (ok) memcpy(r->leaf_bytes, bytes.bytes, r->leaf_size = bytes.size);
  buffer_clear(&bytes);
  return ok || error_set(err, GW_ERROR_NOT_FOUND, "there is no leaf %" PRIu64 " in %s, or not any more", r->id.index, path);
}

static bool read_data_inputs(struct rerun *r, struct gw_error *err) {
  char path[PATH];
  struct inputs in;
  snprintf(path, sizeof path, "%s/receipts/inputs", r->data);
  if (!r->reader) r->reader = inputs_reader_open(path);
  switch (inputs_reader_find(r->reader, r->id.index, &in)) {
  case INPUTS_FOUND: inputs_print(&in, &r->inputs_bytes); return true;
  case INPUTS_NONE:
    return error_set(err, GW_ERROR_NOT_FOUND, "the inputs of invocation %" PRIu64 " are not kept, or not any more", r->id.index);
  case INPUTS_DAMAGED: break;
  }
  return error_set(err, GW_ERROR_INVALID, "the file with the inputs of invocation %" PRIu64 " is damaged", r->id.index);
}

static bool read_data_module(struct rerun *r, struct gw_error *err) {
  char path[PATH], digest[DIGEST_HEX_SIZE] = "";
  const struct leaf_value *module = &r->leaf.fields[FIELD_MODULE];
  if (module->size == DIGEST_SIZE) digest_print((const struct digest *)module->bytes, digest);
  snprintf(path, sizeof path, "%s/modules/%s.wasm", r->data, digest);
  if (access(path, F_OK) && errno == ENOENT)
    return error_set(err, GW_ERROR_NOT_FOUND,
                     "the module %.16s... is not kept, as no version has it any more: --module FILE.wasm", digest);
  return buffer_read_file(&r->module, path, MAX_FILE, err);
}

/* --- from a server ------------------------------------------------------------------------------------------------- */

static bool fetch_part(const struct rerun *r, const char *part, struct buffer *out, struct gw_error *err) {
  char path[64];
  struct client_reply reply = {0};
  snprintf(path, sizeof path, "/v1/receipts/%" PRIu64 "/%s", r->id.index, part);
  struct client_request request = {.client = &r->client, .method = "GET", .path = path, .max_reply = MAX_FILE};
  bool ok = client_ask(&request, &reply, err);
  if (ok && reply.body.size) buffer_append(out, reply.body.bytes, reply.body.size);
  client_reply_clear(&reply);
  return ok;
}

static bool fetch_leaf_bytes(struct rerun *r, struct gw_error *err) {
  const char *proof;
  cJSON *json = fetch_receipt(&r->client, r->id.index, false, err);
  if (!json) return false;
  bool is_log = !*r->id.log || strcmp(r->id.log, client_text(json, "log")) == 0;
  bool ok = is_log && fetch_leaf(json, r->leaf_bytes, &r->leaf_size, &proof);
  if (!is_log)
    error_set(err, GW_ERROR_NOT_FOUND, "the server's log is %.40s, not that of the receipt", client_text(json, "log"));
  else if (!ok)
    error_set(err, GW_ERROR_UNAVAILABLE, "the server's answer is no receipt");
  cJSON_Delete(json);
  return ok;
}

/* --- all of it ----------------------------------------------------------------------------------------------------- */

static bool read_leaf_file(struct rerun *r, struct gw_error *err) {
  struct buffer bytes = {0};
  bool ok = read_from(r, "leaf", &bytes, err);
  if (ok && bytes.size > LEAF_MAX) ok = error_set(err, GW_ERROR_INVALID, "%s/leaf is no leaf", r->from);
  if (ok) memcpy(r->leaf_bytes, bytes.bytes, r->leaf_size = bytes.size);
  buffer_clear(&bytes);
  return ok;
}

static bool check_leaf(struct rerun *r, struct gw_error *err) {
  struct tree_hash hash = tree_leaf(r->leaf_bytes, r->leaf_size);
  const struct leaf_value *name = &r->leaf.fields[FIELD_FUNCTION];
  const struct leaf_value *semantics = &r->leaf.fields[FIELD_SEMANTICS]; /* void leaves have none */
  if (r->id.has_hash && !tree_hash_is(&hash, &r->id.hash))
    return error_set(err, GW_ERROR_INVALID, "the leaf is not the one that the receipt names: its hash is another");
  if (!leaf_decode(&r->leaf, r->leaf_bytes, r->leaf_size, err)) return false;
  if (semantics->is_there && semantics->number != LEAF_SEMANTICS)
    return error_set(err, GW_ERROR_UNSUPPORTED, "the invocation was one of semantics %" PRIu64 ", and this program has %d",
                     semantics->number, LEAF_SEMANTICS);
  snprintf(r->function, sizeof r->function, "%.*s", (int)name->size, name->size ? (const char *)name->bytes : "");
  return true;
}

static bool read_leaf(struct rerun *r, struct gw_error *err) {
  return r->from ? read_leaf_file(r, err) : r->data ? read_data_leaf(r, err) : fetch_leaf_bytes(r, err);
}

static bool read_inputs(struct rerun *r, struct gw_error *err) {
  buffer_clear(&r->inputs_bytes);
  if (r->from) return read_from(r, "inputs", &r->inputs_bytes, err);
  return r->data ? read_data_inputs(r, err) : fetch_part(r, "inputs", &r->inputs_bytes, err);
}

bool rerun_load_leaf(struct rerun *r, const char *id, struct gw_error *err) {
  return evidence_parse_id(&r->id, id, err) && read_leaf(r, err) && check_leaf(r, err);
}

/* A leaf of the same log; false: it is not to be had. */
static bool read_other(const struct rerun *r, uint64_t index, struct buffer *bytes) {
  struct gw_error ignored = {0};
  char path[PATH];
  const char *proof;
  size_t size = 0;
  if (r->from) return false;
  snprintf(path, sizeof path, "%s/receipts", r->data ? r->data : "");
  if (r->data) return files_read_leaf(path, index, bytes) == FILES_FOUND;
  cJSON *json = fetch_receipt(&r->client, index, false, &ignored);
  bool ok = json && fetch_leaf(json, buffer_reserve(bytes, LEAF_MAX), &size, &proof);
  bytes->size = size;
  cJSON_Delete(json);
  return ok;
}

bool rerun_has_previous(const struct rerun *r, char *what, size_t size) {
  const struct leaf_value *previous = &r->leaf.fields[FIELD_PREVIOUS];
  struct buffer bytes = {0};
  struct leaf leaf;
  struct gw_error err = {0};
  bool ok = !previous->is_there || previous->number < r->id.index;
  snprintf(what, size, "what is not before it");
  if (ok && previous->is_there && read_other(r, previous->number, &bytes)) {
    ok = leaf_decode(&leaf, bytes.bytes, bytes.size, &err);
    const struct leaf_value *name = &leaf.fields[FIELD_FUNCTION];
    if (ok && name->is_there) { /* a void one tells nothing */
      ok = name->size == strlen(r->function) && memcmp(name->bytes, r->function, name->size) == 0;
      snprintf(what, size, "a leaf of function %.*s", (int)name->size, (const char *)name->bytes);
    } else if (!ok) {
      snprintf(what, size, "no leaf");
    }
  }
  buffer_clear(&bytes);
  return ok;
}

static bool check_module(const struct rerun *r, struct gw_error *err) {
  struct digest digest = digest_of(r->module.bytes, r->module.size);
  const struct leaf_value *wanted = &r->leaf.fields[FIELD_MODULE];
  if (wanted->size != DIGEST_SIZE || memcmp(wanted->bytes, digest.bytes, DIGEST_SIZE) != 0)
    return error_set(err, GW_ERROR_INVALID, "the module is not the one that the receipt names: its digest is another");
  return file_is_module(r->module.bytes, r->module.size, err);
}

static bool load_module(struct rerun *r, struct gw_error *err) {
  buffer_clear(&r->module);
  if (r->module_path) return buffer_read_file(&r->module, r->module_path, MAX_FILE, err);
  if (r->from) return read_from(r, "module.wasm", &r->module, err);
  return r->data ? read_data_module(r, err) : fetch_part(r, "module", &r->module, err);
}

static bool check_inputs(struct rerun *r, struct gw_error *err) {
  if (!inputs_parse(&r->inputs, r->inputs_bytes.bytes, r->inputs_bytes.size, err)) return false;
  if (r->inputs.fields[INPUT_INDEX].number != r->id.index)
    return error_set(err, GW_ERROR_INVALID, "the inputs are those of leaf %" PRIu64, r->inputs.fields[INPUT_INDEX].number);
  return replay_check(&r->inputs, &r->leaf, err);
}

bool rerun_load_inputs(struct rerun *r, struct gw_error *err) {
  if (!read_inputs(r, err) || !check_inputs(r, err)) return false;
  if (!r->files_path || r->files >= 0) return true;
  r->files = open(r->files_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return r->files >= 0 || error_set(err, GW_ERROR_IO, "cannot open the directory %s: %s", r->files_path, strerror(errno));
}

bool rerun_load_module(struct rerun *r, struct gw_error *err) { return load_module(r, err) && check_module(r, err); }

bool rerun_load_rest(struct rerun *r, struct gw_error *err) { return rerun_load_inputs(r, err) && rerun_load_module(r, err); }

bool rerun_load(struct rerun *r, const char *id, struct gw_error *err) {
  return rerun_load_leaf(r, id, err) && rerun_load_rest(r, err);
}

void rerun_fill(const struct rerun *r, struct replay *replay) {
  replay->function = r->function;
  replay->inputs = &r->inputs;
  replay->secrets = r->secrets.items;
  replay->files = r->files;
}

void rerun_clear(struct rerun *r) {
  if (r->files >= 0) close(r->files);
  if (r->module_fd > 0) close(r->module_fd);
  inputs_reader_close(r->reader);
  buffer_clear(&r->inputs_bytes);
  buffer_clear(&r->module);
  cli_list_clear(&r->secrets);
}

/* --- one behind the other ------------------------------------------------------------------------------------------ */

/* Its name as the receipt has it; or the tenant's function of the name, where one is told. */
static bool is_wanted(const struct rerun *r, const struct rerun_walk *w) {
  const char *tenant = r->client.tenant, *name = r->function;
  if (!w->function) return true;
  if (!tenant || strchr(w->function, '/')) return strcmp(name, w->function) == 0;
  size_t size = strcmp(tenant, DEFAULT_TENANT) == 0 ? 0 : strlen(tenant);
  bool is_of_it = !size || (strncmp(name, tenant, size) == 0 && name[size] == '/');
  return is_of_it && strcmp(name + size + (size != 0), w->function) == 0;
}

/* Behind the last leaf. */
static uint64_t count_leaves(const char *directory) {
  struct buffer head = {0}, bytes = {0};
  struct note_checkpoint checkpoint;
  struct gw_error ignored = {0};
  uint64_t n = 0;
  if (files_read_checkpoint(directory, &head, &ignored) && note_parse_checkpoint(&checkpoint, head.bytes, head.size, &ignored))
    n = checkpoint.size;
  while (files_read_leaf(directory, n, &bytes) == FILES_FOUND) n++;
  buffer_clear(&head);
  buffer_clear(&bytes);
  return n;
}

static bool step_in_data(struct rerun *r, struct rerun_walk *w, struct gw_error *err) {
  char path[PATH];
  struct gw_error none = {0};
  snprintf(path, sizeof path, "%s/receipts", r->data);
  if (!w->has_begun) w->at = count_leaves(path);
  w->has_begun = true;
  while (w->at-- > 0) {
    r->id = (struct evidence_id){.index = w->at};
    if (!read_data_leaf(r, &none)) return false; /* what is older was forgotten */
    if (!check_leaf(r, err)) return false;
    if (is_wanted(r, w)) return true;
  }
  w->at = 0;
  return false;
}

static bool take_item(struct rerun *r, struct rerun_walk *w, const cJSON *item, struct gw_error *err) {
  const char *proof;
  r->id = (struct evidence_id){.index = (uint64_t)client_number(item, "index")};
  w->at = r->id.index;
  return fetch_leaf(item, r->leaf_bytes, &r->leaf_size, &proof)
             ? check_leaf(r, err)
             : error_set(err, GW_ERROR_UNAVAILABLE, "the server's answer is no receipt");
}

static bool step_at_server(struct rerun *r, struct rerun_walk *w, struct gw_error *err) {
  enum { PAGE = 100 };
  const cJSON *item = w->page ? cJSON_GetArrayItem(cJSON_GetObjectItem(w->page, "receipts"), w->i++) : NULL;
  if (item) return take_item(r, w, item, err);
  if (w->has_begun && (!w->at || !cJSON_GetObjectItem(w->page, "next"))) return false;
  cJSON_Delete(w->page);
  w->page = fetch_receipts(&r->client, w->function, PAGE, w->has_begun ? w->at : 0, err);
  w->has_begun = true;
  w->i = 1;
  item = w->page ? cJSON_GetArrayItem(cJSON_GetObjectItem(w->page, "receipts"), 0) : NULL;
  return item && take_item(r, w, item, err);
}

bool rerun_walk_next(struct rerun *r, struct rerun_walk *w, struct gw_error *err) {
  bool ok = r->data ? step_in_data(r, w, err) : step_at_server(r, w, err);
  const struct leaf_value *time = &r->leaf.fields[FIELD_TIME];
  return ok && (!time->is_there || time->number >= w->not_before);
}

void rerun_walk_clear(struct rerun_walk *w) { cJSON_Delete(w->page); }

/* --- stopping inside ------------------------------------------------------------------------------------------------ */

/* All that the host answered, from a first run whose instructions nobody sees. */
static bool record_all(struct rerun *r, struct guest *g, struct gw_error *err) {
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.gas = true, .schedule = &g->schedule}, err);
  struct gw_module *module = engine ? gw_module_create(engine, r->module.bytes, r->module.size, err) : NULL;
  struct replay replay = {.engine = engine, .module = module, .tier = GW_TIER_PRECISE, .all = &g->record};
  struct replay_result result = {0};
  rerun_fill(r, &replay);
  bool ok = module && replay_run(&replay, &result, err);
  replay_result_clear(&result);
  gw_module_release(module);
  gw_engine_destroy(engine);
  if (ok && g->record.is_full) ok = error_set(err, GW_ERROR_LIMIT, "the host answered too much to be kept for a debugger");
  return ok;
}

/* A module that has no file. */
static bool write_module(struct rerun *r, struct gw_error *err) {
  r->module_fd = memfd_create("module.wasm", MFD_CLOEXEC);
  bool ok = r->module_fd >= 0 && fd_write_all(r->module_fd, r->module.bytes, r->module.size);
  snprintf(r->module_name, sizeof r->module_name, "/proc/self/fd/%d", r->module_fd);
  return ok || error_set(err, GW_ERROR_IO, "cannot keep the module: %s", strerror(errno));
}

/* One that was cancelled is over where it was. */
static void set_limits(struct rerun *r, struct guest *g) {
  struct input_value *limit = &r->inputs.fields[INPUT_GAS_LIMIT];
  if (r->leaf.fields[FIELD_OUTCOME].number == OUTCOME_CANCELLED) {
    uint64_t gas = 0;
    for (int i = FIELD_COMPUTE; i <= FIELD_STORAGE; i++) gas += r->leaf.fields[i].number;
    limit->number = gas ? gas : 1;
  }
  g->gas_limit = limit->number;
  g->max_memory = r->inputs.fields[INPUT_MAX_MEMORY].number;
}

bool rerun_load_guest(struct rerun *r, const char *id, struct guest *g, struct gw_error *err) {
  static const char *none[] = {NULL};
  r->arguments[0] = r->module_name;
  if (!rerun_load(r, id, err) || !write_module(r, err)) return false;
  set_limits(r, g);
  g->gas = true;
  g->tier = TIER_PRECISE;
  g->stdin_fd = -1;
  g->env.items = none;
  bool ok = guest_load(g, 1, r->arguments, err) && record_all(r, g, err);
  g->env.items = NULL;
  if (ok) record_replay(&g->record, RECORD_ENDS);
  return ok;
}
