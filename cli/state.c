/* gasworks state: what functions keep, from outside of the server. Commands that read go beside a running server, as LMDB lets
 * other processes read; those that write need the data directory for themselves. */
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "cli/cli.h"
#include "runtime/state/state.h"
#include "server/function/function.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMPORT_BATCH = 1000, MAP_SIZE_LOG2 = 34 };

struct command {
  const char *data, *first, *end;
  uint64_t limit;
  bool is_backward, is_forced, wants_json, is_group;
  const char **operands; /* behind the command's name; NULL: not given */
  const char *space;     /* of the function or the group that is the first one */
  char *directory;       /* of the state */
  struct state_store *store;
};

/* --- keys and values as text -------------------------------------------------------------------------------------- */

static void print_text(const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] < ' ' || bytes[i] == '\\' || bytes[i] > '~')
      printf("\\x%02x", bytes[i]);
    else
      putchar(bytes[i]);
  }
}

static cJSON *pair_json(const void *key, size_t key_size, const void *value, size_t value_size) {
  cJSON *json = cJSON_CreateObject();
  cli_json_base64(json, "key", key, key_size);
  cli_json_base64(json, "value", value, value_size);
  return json;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool write_out(const void *bytes, size_t size, struct gw_error *err) {
  return fwrite(bytes, 1, size, stdout) == size || error_set(err, GW_ERROR_IO, "cannot write the value: %s", strerror(errno));
}

static bool print_part(const void *key, size_t key_size, uint64_t size, uint64_t offset, const void *bytes, size_t n) {
  cJSON *json = pair_json(key, key_size, bytes, n);
  cJSON_AddNumberToObject(json, "size", (double)size);
  cJSON_AddNumberToObject(json, "offset", (double)offset);
  return cli_print_json_line(json);
}

/* A large value is lines of its size and of pieces. Where nothing is stored there are none, but an empty one where it begins and
 * where it ends: a gibibyte may cost its function no more than a line. */
static bool print_piece(const void *key, size_t key_size, uint64_t size, uint64_t offset, const void *bytes, size_t n) {
  if (bytes) return print_part(key, key_size, size, offset, bytes, n);
  bool ok = offset || print_part(key, key_size, size, 0, "", 0);
  return ok && (offset + n < size || print_part(key, key_size, size, size, "", 0));
}

struct wanted {
  const struct command *command;
  const char *key;
  struct gw_error *err;
};

static bool get_piece(void *arg, const void *key, size_t key_size, uint64_t size, uint64_t offset, const void *bytes, size_t n) {
  const struct wanted *w = arg;
  if (key_size != strlen(w->key) || memcmp(key, w->key, key_size) != 0) return true;
  if (w->command->wants_json) return print_piece(key, key_size, size, offset, bytes, n);
  static const char zeros[STATE_CHUNK];
  bool ok = true;
  for (size_t i = 0; !bytes && ok && i < n; i += sizeof zeros)
    ok = write_out(zeros, n - i < sizeof zeros ? n - i : sizeof zeros, w->err);
  return bytes ? write_out(bytes, n, w->err) : ok;
}

static bool skip_one(void *arg, const void *key, size_t key_size, const void *value, size_t size) {
  (void)arg, (void)key, (void)key_size, (void)value, (void)size;
  return true;
}

static bool get_large(struct command *c, const char *key, struct gw_error *err) {
  struct wanted w = {c, key, err};
  return state_each_piece(c->store, c->space, skip_one, get_piece, &w, err);
}

static bool get(struct command *c, struct gw_error *err) {
  const char *key = c->operands[1];
  struct state_txn *txn = state_txn_begin(c->store, c->space);
  const void *value;
  size_t size;
  int found = state_txn_get_wait(txn, key, strlen(key), &value, &size, err);
  bool is_large = found > 0 && state_txn_found_large(txn);
  if (found == 0)
    error_set(err, GW_ERROR_NOT_FOUND, "%s %s has no key %s", c->is_group ? "group" : "function", c->operands[0], key);
  if (found > 0 && !is_large)
    found = c->wants_json ? cli_print_json_line(pair_json(key, strlen(key), value, size)) : write_out(value, size, err);
  state_txn_abort(txn);
  return is_large ? get_large(c, key, err) : found > 0;
}

struct each {
  struct command *command;
  cJSON *list; /* NULL: printed at once */
  bool is_export;
  uint64_t n, bytes;
};

static void show_pair(struct each *e, const void *key, size_t key_size, const void *value, size_t size) {
  if (e->list) {
    cJSON_AddItemToArray(e->list, pair_json(key, key_size, value, size));
  } else if (e->is_export) {
    cli_print_json_line(pair_json(key, key_size, value, size));
  } else {
    print_text(key, key_size);
    putchar('\t');
    print_text(value, size);
    putchar('\n');
  }
}

/* Of a large value a scan shows the size. */
static void show_large(struct each *e, const void *key, size_t key_size, uint32_t size) {
  if (e->list) {
    cJSON *json = cJSON_CreateObject();
    cli_json_base64(json, "key", key, key_size);
    cJSON_AddNumberToObject(json, "size", size);
    cJSON_AddItemToArray(e->list, json);
  } else {
    print_text(key, key_size);
    printf("\t(%u bytes)\n", size);
  }
}

/* A page of a scan; *last is set to its last key. */
static void show_page(struct each *e, const struct state_page *page, struct buffer *last) {
  for (const uint8_t *at = page->bytes; at < page->bytes + page->size;) {
    uint32_t sizes[2];
    memcpy(sizes, at, sizeof sizes);
    at += sizeof sizes;
    bool is_large = sizes[1] & STATE_LARGE_BIT;
    if (is_large)
      show_large(e, at, sizes[0], sizes[1] & ~STATE_LARGE_BIT);
    else
      show_pair(e, at, sizes[0], at + sizes[0], sizes[1]);
    if (is_large) sizes[1] = 0;
    last->size = 0;
    buffer_append(last, at, sizes[0]);
    e->n++;
    at += sizes[0] + sizes[1];
  }
}

static uint32_t still_wanted(const struct each *e) {
  uint64_t limit = e->command->limit, n = limit ? limit - e->n : 10000;
  return n < 10000 ? (uint32_t)n : 10000;
}

/* A few pages of one snapshot; false: failed, or there are no more. */
static bool scan_some(struct each *e, const struct state_range *range, struct buffer *last, struct gw_error *err) {
  struct state_page page = {0};
  uint64_t before = e->n;
  struct state_txn *txn = state_txn_begin(e->command->store, e->command->space);
  bool ok = state_txn_scan(txn, range, err);
  while (ok && !page.is_last && still_wanted(e) && e->n - before < 50000) {
    ok = state_txn_scan_next_wait(txn, still_wanted(e), SIZE_MAX, &page, err) == 1;
    if (ok) show_page(e, &page, last);
  }
  state_txn_abort(txn);
  return ok && !page.is_last && still_wanted(e);
}

static bool scan(struct command *c, struct gw_error *err) {
  struct each e = {.command = c, .list = c->wants_json ? cJSON_CreateArray() : NULL};
  struct buffer last = {0};
  struct state_range range = {.first = c->first, .end = c->end, .is_backward = c->is_backward};
  range.first_size = c->first ? strlen(c->first) : 0;
  range.end_size = c->end ? strlen(c->end) : 0;
  while (scan_some(&e, &range, &last, err)) {
    if (!c->is_backward) buffer_append(&last, "", 1); /* behind it */
    *(c->is_backward ? &range.end : &range.first) = last.bytes;
    *(c->is_backward ? &range.end_size : &range.first_size) = last.size;
  }
  buffer_clear(&last);
  if (e.list && !err->code)
    cli_print_json(e.list, false);
  else
    cJSON_Delete(e.list);
  return !err->code;
}

static bool export_one(void *arg, const void *key, size_t key_size, const void *value, size_t size) {
  struct each *e = arg;
  e->n++;
  e->bytes += key_size + (size & ~(size_t)STATE_LARGE_BIT);
  if (e->is_export && value && !(size & STATE_LARGE_BIT)) show_pair(e, key, key_size, value, size);
  return value || !e->is_export;
}

static bool export_piece(void *arg, const void *key, size_t key_size, uint64_t size, uint64_t offset, const void *bytes,
                         size_t n) {
  (void)arg;
  return print_piece(key, key_size, size, offset, bytes, n);
}

static bool export(struct command *c, struct gw_error *err) {
  struct each e = {.command = c, .is_export = true};
  return state_each_piece(c->store, c->space, export_one, export_piece, &e, err);
}

static bool stat_function(struct command *c, struct gw_error *err) {
  struct each e = {.command = c};
  if (!state_each(c->store, c->space, export_one, &e, err)) return false;
  if (!c->wants_json) {
    printf("%llu keys, %llu bytes\n", (unsigned long long)e.n, (unsigned long long)e.bytes);
    return true;
  }
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "keys", (double)e.n);
  cJSON_AddNumberToObject(json, "bytes", (double)e.bytes);
  return cli_print_json_line(json);
}

static bool show_stat(struct command *c, struct gw_error *err) {
  struct buffer path = {0};
  struct stat st;
  if (c->operands[0]) return stat_function(c, err);
  buffer_format(&path, "%s/data.mdb", c->directory);
  buffer_append(&path, "", 1);
  bool ok = stat((const char *)path.bytes, &st) == 0 || error_set(err, GW_ERROR_IO, "cannot read %s", (const char *)path.bytes);
  buffer_clear(&path);
  if (ok && !c->wants_json) printf("%lld bytes in the file\n", (long long)st.st_size);
  if (!ok || !c->wants_json) return ok;
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "file_bytes", (double)st.st_size);
  return cli_print_json_line(json);
}

/* A file that was not there, synced; it is removed if that fails. */
static bool copy_to(struct command *c, const char *path, struct gw_error *err) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
  bool ok = state_store_copy(c->store, fd, err);
  if (ok && fsync(fd)) ok = error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
  close(fd);
  if (!ok) unlink(path);
  return ok;
}

static bool backup(struct command *c, struct gw_error *err) { return copy_to(c, c->operands[0], err); }

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bool put(struct command *c, struct gw_error *err) {
  return state_put(c->store, c->space, c->operands[1], strlen(c->operands[1]), c->operands[2], strlen(c->operands[2]), err);
}

static bool delete (struct command *c, struct gw_error *err) {
  if (c->operands[1]) return state_remove(c->store, c->space, c->operands[1], strlen(c->operands[1]), err);
  return state_clear(c->store, c->space, err);
}

/* The bytes of a member in base64; malloc'd. */
static uint8_t *take_base64(const cJSON *json, const char *name, size_t *size) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
  if (!text) return NULL;
  for (const char *c = text; *c; c++)
    if ((unsigned char)*c > '~') return NULL; /* which libsodium takes as a slash */
  uint8_t *bytes = heap_new(1, strlen(text) + 1);
  if (!sodium_base642bin(bytes, strlen(text) + 1, text, strlen(text), NULL, size, NULL, sodium_base64_VARIANT_ORIGINAL))
    return bytes;
  free(bytes);
  return NULL;
}

static bool import_piece(struct state_txn *txn, const void *key, size_t key_size, uint64_t whole, uint64_t offset,
                         const void *bytes, size_t n, struct gw_error *err) {
  struct state_large *large;
  bool ok =
      offset ? state_large_open(txn, key, key_size, true, &large, err) > 0 : state_large_create(txn, key, key_size, &large, err);
  return ok && state_large_write(txn, large, offset, bytes, n, err) &&
         (offset + n < whole || state_large_resize(txn, large, whole, err));
}

static bool import_line(struct state_txn *txn, const char *line, uint64_t number, struct gw_error *err) {
  cJSON *json = cJSON_Parse(line);
  size_t key_size = 0, size = 0;
  uint8_t *key = take_base64(json, "key", &key_size), *value = take_base64(json, "value", &size);
  bool ok = key && value;
  if (!ok) error_set(err, GW_ERROR_USAGE, "line %llu is none that export prints", (unsigned long long)number);
  const cJSON *offset = cJSON_GetObjectItemCaseSensitive(json, "offset"), *whole = cJSON_GetObjectItemCaseSensitive(json, "size");
  if (ok && cJSON_IsNumber(offset) && cJSON_IsNumber(whole))
    ok = import_piece(txn, key, key_size, (uint64_t)whole->valuedouble, (uint64_t)offset->valuedouble, value, size, err);
  else
    ok = ok && state_txn_set(txn, key, key_size, value, size, err);
  free(key);
  free(value);
  cJSON_Delete(json);
  return ok;
}

static bool import(struct command *c, struct gw_error *err) {
  char *line = NULL;
  size_t capacity = 0;
  uint64_t n = 0;
  bool ok = true, is_more = true;
  while (ok && is_more) {
    struct state_txn *txn = state_txn_begin(c->store, c->space);
    int in_batch = 0;
    while (ok && in_batch < IMPORT_BATCH && (is_more = getline(&line, &capacity, stdin) >= 0)) {
      ok = import_line(txn, line, ++n, err);
      in_batch += line && strlen(line) > STATE_MAX_VALUE / 64 ? IMPORT_BATCH / 32 : 1;
    }
    if (ok)
      ok = state_txn_commit_wait(txn, err);
    else
      state_txn_abort(txn);
  }
  free(line);
  return ok;
}

static char *path_in(const struct command *c, const char *name) {
  size_t size = strlen(c->directory) + strlen(name) + 2;
  char *path = heap_new(1, size);
  snprintf(path, size, "%s/%s", c->directory, name);
  return path;
}

static bool move(const char *from, const char *to, struct gw_error *err) {
  return rename(from, to) == 0 || error_set(err, GW_ERROR_IO, "cannot rename %s: %s", from, strerror(errno));
}

static bool compact(struct command *c, struct gw_error *err) {
  char *fresh = path_in(c, "compact.mdb"), *file = path_in(c, "data.mdb");
  unlink(fresh);
  bool ok = copy_to(c, fresh, err);
  state_store_close(c->store);
  c->store = NULL;
  ok = ok && move(fresh, file, err);
  free(fresh);
  free(file);
  return ok;
}

static bool copy_file(const char *from, const char *to, struct gw_error *err) {
  static uint8_t bytes[1 << 20];
  int in = open(from, O_RDONLY | O_CLOEXEC), out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ssize_t n = -1;
  bool ok = out >= 0;
  while (ok && (n = read(in, bytes, sizeof bytes)) > 0) ok = fd_write_all(out, bytes, (size_t)n);
  ok = ok && n == 0 && fsync(out) == 0;
  if (!ok) error_set(err, GW_ERROR_IO, "cannot copy %s: %s", from, strerror(errno));
  if (in >= 0) close(in);
  if (out >= 0) close(out);
  return ok;
}

/* The backup is opened in a directory of its own, and copied from there, before anything is replaced. */
static bool restore(struct command *c, struct gw_error *err) {
  char *aside = path_in(c, "restore"), *copy = path_in(c, "restore/data.mdb"), *lock = path_in(c, "restore/lock.mdb");
  char *file = path_in(c, "data.mdb");
  bool ok = directory_make(c->directory, err) && directory_make(aside, err);
  if (ok && !c->is_forced && access(file, F_OK) == 0)
    ok = error_set(err, GW_ERROR_USAGE, "there is state in %s already; --force replaces it", c->directory);
  ok = ok && copy_file(c->operands[0], copy, err);
  struct state_store *store = ok ? state_store_open(aside, (size_t)1 << MAP_SIZE_LOG2, true, err) : NULL;
  state_store_close(store);
  ok = store && move(copy, file, err);
  if (!ok) unlink(copy);
  unlink(lock);
  rmdir(aside);
  free(aside), free(copy), free(lock), free(file);
  return ok;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

enum opens { OPENS_NOTHING, OPENS_TO_READ, OPENS_TO_WRITE };

static const struct {
  const char *name;
  int min_operands, max_operands;
  enum opens opens;
  bool has_function; /* or a group as its first operand, if that is given */
  bool (*run)(struct command *c, struct gw_error *err);
} commands[] = {
    {"get", 2, 2, OPENS_TO_READ, true, get},           {"scan", 1, 1, OPENS_TO_READ, true, scan},
    {"export", 1, 1, OPENS_TO_READ, true, export},     {"stat", 0, 1, OPENS_TO_READ, true, show_stat},
    {"backup", 1, 1, OPENS_TO_READ, false, backup},    {"put", 3, 3, OPENS_TO_WRITE, true, put},
    {"delete", 1, 2, OPENS_TO_WRITE, true, delete},    {"import", 1, 1, OPENS_TO_WRITE, true, import},
    {"compact", 0, 0, OPENS_TO_WRITE, false, compact}, {"restore", 1, 1, OPENS_NOTHING, false, restore},
};

/* Whoever writes, or replaces the file, has the directory for itself. */
static bool run(struct command *c, size_t which, struct gw_error *err) {
  enum opens opens = commands[which].opens;
  int lock = -1;
  if (opens != OPENS_TO_READ && (lock = directory_lock(c->data, err)) < 0) return false;
  if (opens == OPENS_TO_READ) c->store = state_store_open_to_read(c->directory, err);
  if (opens == OPENS_TO_WRITE) c->store = state_store_open(c->directory, (size_t)1 << MAP_SIZE_LOG2, true, err);
  bool ok = (opens == OPENS_NOTHING || c->store) && commands[which].run(c, err);
  state_store_close(c->store);
  if (lock >= 0) close(lock);
  if (ok && fflush(stdout)) ok = error_set(err, GW_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
  return ok;
}

static int find_and_run(struct command *c, int argc, char **argv) {
  const char *operands[4] = {0};
  struct gw_error err = {0};
  size_t which = 0, n = sizeof commands / sizeof *commands;
  while (which < n && strcmp(commands[which].name, argv[0]) != 0) which++;
  if (which == n) return cli_misuse("state", "there is no command %s", argv[0]);
  if (argc - 1 < commands[which].min_operands || argc - 1 > commands[which].max_operands)
    return cli_misuse("state", "%s does not take %d arguments", argv[0], argc - 1);
  for (int i = 1; i < argc; i++) operands[i - 1] = argv[i];
  c->operands = operands;
  if (commands[which].has_function && operands[0] && !function_full_name_is_valid(operands[0], strlen(operands[0])))
    return cli_misuse("state", "%s is no name of a function or group", operands[0]);
  if (c->is_group && !(commands[which].has_function && operands[0])) return cli_misuse("state", "%s takes no --group", argv[0]);
  char space[SETTINGS_SPACE_SIZE];
  c->space = c->is_group ? settings_group_space(operands[0], space) : operands[0];
  size_t size = strlen(c->data) + sizeof "/state";
  c->directory = heap_new(1, size);
  snprintf(c->directory, size, "%s/state", c->data);
  bool ok = run(c, which, &err);
  free(c->directory);
  return ok ? 0 : cli_fail(&err);
}

int cli_state(int argc, char **argv) {
  struct command c = {.data = "gasworks-data"};
  const struct cli_option options[] = {
      {"data", 'd', CLI_TEXT, &c.data, "DIR", "the data directory; gasworks-data unless told"},
      {"group", 0, CLI_FLAG, &c.is_group, NULL, "FUNCTION is the name of a group, whose functions share state"},
      {"first", 0, CLI_TEXT, &c.first, "KEY", "scan: from this key on"},
      {"end", 0, CLI_TEXT, &c.end, "KEY", "scan: up to this key, without it"},
      {"limit", 0, CLI_NUMBER, &c.limit, "N", "scan: so many at most; 0, any number, unless told"},
      {"backward", 0, CLI_FLAG, &c.is_backward, NULL, "scan: the last ones first"},
      {"force", 0, CLI_FLAG, &c.is_forced, NULL, "restore: over state that is there"},
      {"json", 0, CLI_FLAG, &c.wants_json, NULL, "as JSON; keys and values in base64"},
  };
  const struct cli_command command = {
      .name = "state",
      .arguments = "COMMAND [ARGUMENTS]",
      .description =
          "Reads, also beside a running server: get FUNCTION KEY, scan FUNCTION, export FUNCTION, stat [FUNCTION], backup FILE.\n"
          "Writes, without one: put FUNCTION KEY VALUE, delete FUNCTION [KEY], import FUNCTION, compact, restore FILE.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 4,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  return find_and_run(&c, argc, argv);
}
