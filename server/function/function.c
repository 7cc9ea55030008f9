#define _GNU_SOURCE /* sigabbrev_np */
#include "server/function/function.h"

#include "base/error.h"
#include "base/heap.h"
#include "frontend/module.h"
#include "server/access/access.h"
#include "server/function/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool function_name_is_valid(const char *name, size_t size) {
  if (size == 0 || size > FUNCTION_MAX_NAME || name[0] == '-' || name[0] == '_') return false;
  for (size_t i = 0; i < size; i++) {
    char c = name[i];
    bool is_ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!is_ok) return false;
  }
  return true;
}

bool function_full_name_is_valid(const char *name, size_t size) {
  const char *slash = memchr(name, '/', size);
  if (!slash) return function_name_is_valid(name, size);
  size_t tenant = (size_t)(slash - name);
  return function_name_is_valid(name, tenant) && function_name_is_valid(slash + 1, size - tenant - 1);
}

void function_full_name(const char *tenant, const char *name, char out[FUNCTION_MAX_FULL_NAME + 1]) {
  size_t n = strcmp(tenant, DEFAULT_TENANT) == 0 ? 0 : strlen(tenant);
  if (n) {
    memcpy(out, tenant, n);
    out[n++] = '/';
  }
  memcpy(out + n, name, strlen(name) + 1); /* not by printf: it is on every request's way */
}

const char *function_short_name(const char *full_name) {
  const char *slash = strchr(full_name, '/');
  return slash ? slash + 1 : full_name;
}

bool function_is_of(const char *full_name, const char *tenant) {
  const char *slash = strchr(full_name, '/');
  if (!slash) return strcmp(tenant, DEFAULT_TENANT) == 0;
  size_t size = strlen(tenant);
  return size == (size_t)(slash - full_name) && memcmp(full_name, tenant, size) == 0;
}

const char *function_space(const struct function *f) { return f->settings && f->settings->space ? f->settings->space : f->name; }

const char *function_answers(const char *full_name, char out[FUNCTION_ANSWERS_SIZE]) {
  snprintf(out, FUNCTION_ANSWERS_SIZE, "%s#answers", full_name);
  return out;
}

const char *function_path(const char *address, char out[FUNCTION_PATH_SIZE]) {
  const char *name = function_short_name(address);
  int tenant = name > address ? (int)(name - 1 - address) : 0;
  snprintf(out, FUNCTION_PATH_SIZE, "%s%.*s/f/%s", tenant ? "/t/" : "", tenant, address, name);
  return out;
}

const char *function_split_address(const char *address, char name[FUNCTION_MAX_FULL_NAME + 1]) {
  size_t size = strcspn(address, "@");
  memcpy(name, address, size);
  name[size] = 0;
  return address[size] ? address + size + 1 : NULL;
}

static struct fate *fate_retain(struct fate *fate) {
  atomic_fetch_add_explicit(&fate->refs, 1, memory_order_relaxed);
  return fate;
}

static void fate_release(struct fate *fate) {
  if (atomic_fetch_sub_explicit(&fate->refs, 1, memory_order_acq_rel) != 1) return;
  tally_destroy(fate->tally);
  free(fate);
}

static struct fate *fate_create(void) {
  struct fate *fate = heap_new(1, sizeof *fate);
  atomic_init(&fate->refs, 1);
  fate->tally = tally_create();
  return fate;
}

void function_share_fate(struct function *f, const struct function *other) {
  fate_release(f->fate);
  f->fate = fate_retain(other->fate);
}

/* A module's bytes stay with what is decoded of them. The baseline tier has 16 bytes of code for one of a function's body at
 * most in real programs, the interpreter as much. */
void function_count_code(struct function *f, struct code_room *room, uint64_t module_bytes) {
  enum { FOR_EACH_BYTE = 20 };
  f->code_bytes = module_bytes * FOR_EACH_BYTE;
  f->code_room = room;
  atomic_fetch_add_explicit(&room->bytes, f->code_bytes, memory_order_relaxed);
}

void function_let_go(struct function *f) {
  if (!f->code_room) return;
  f->is_going = true;
  atomic_fetch_add_explicit(&f->code_room->going, f->code_bytes, memory_order_relaxed);
}

struct function *function_create(const char *name, const struct function_limits *limits, struct crash_file *crashes) {
  struct function *f = heap_new(1, sizeof *f);
  atomic_init(&f->refs, 1);
  atomic_init(&f->load_state, LOAD_PENDING);
  snprintf(f->name, sizeof f->name, "%s", name);
  f->limits = limits;
  f->crashes = crashes;
  f->fate = fate_create();
  f->bundle = (struct wasi_preopen){.guest_path = "/", .host_fd = -1, .is_readonly = true};
  pthread_mutex_init(&f->lock, NULL);
  return f;
}

void function_print_settings(const struct function *f, const struct settings_key *key, struct buffer *out) {
  struct settings_owner owner = {f->name, f->version, f->config.is_private, f->config.shows_backtraces};
  settings_print(f->settings, &owner, key, out);
}

void function_seal_settings(struct function *f, const struct settings_key *key) {
  struct buffer text = {0};
  struct sha256 s;
  function_print_settings(f, key, &text);
  sha256_begin(&s);
  sha256_add(&s, text.bytes, text.size);
  sha256_end(&s, f->settings_digest);
  buffer_clear(&text);
}

struct function *function_copy(const struct function *f) {
  struct function *copy = function_create(f->name, f->limits, f->crashes);
  memcpy(copy->digest, f->digest, sizeof copy->digest);
  function_share_fate(copy, f);
  copy->config = f->config;
  copy->settings = settings_retain(f->settings);
  copy->version = f->version;
  memcpy(copy->settings_digest, f->settings_digest, sizeof copy->settings_digest);
  copy->size = f->size;
  copy->created_ms = f->created_ms;
  copy->compile_ms = f->compile_ms;
  copy->interface = f->interface;
  copy->tool = f->tool ? strdup(f->tool) : NULL;
  copy->had_state = function_may_write(f);
  copy->quarantine_ms = f->quarantine_ms;
  atomic_init(&copy->quarantine, atomic_load(&f->quarantine));
  return copy;
}

void function_keep_usage(struct function *f, const struct function *other) {
  for (int tier = 0; tier < N_TIERS; tier++) {
    atomic_init(&f->usage[tier].gas, atomic_load(&other->usage[tier].gas));
    atomic_init(&f->usage[tier].cpu_ns, atomic_load(&other->usage[tier].cpu_ns));
  }
}

struct function *function_retain(struct function *f) {
  atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
  return f;
}

void function_release(struct function *f) {
  if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1) return;
  gw_module_release(f->module);
  if (f->code_room) atomic_fetch_sub_explicit(&f->code_room->bytes, f->code_bytes, memory_order_relaxed);
  if (f->is_going) atomic_fetch_sub_explicit(&f->code_room->going, f->code_bytes, memory_order_relaxed);
  buffer_clear(&f->given);
  free(f->tool);
  fate_release(f->fate);
  settings_release(f->settings);
  if (f->bundle.host_fd >= 0) close(f->bundle.host_fd);
  free(f->preopens);
  pthread_mutex_destroy(&f->lock);
  free(f);
}

static bool name_is(const struct name *name, const char *text) {
  return name->size == strlen(text) && memcmp(name->bytes, text, name->size) == 0;
}

/* Whether the module exports a function [] -> [] of this name. */
static bool exports_plain(const struct module *m, const char *name) {
  const struct export *e = module_find_export(m, name, strlen(name));
  if (!e || e->kind != EXTERN_FUNC) return false;
  const struct type_def *type = &m->types[m->funcs[e->index].type];
  return type->kind == COMP_FUNC && type->func.n_params == 0 && type->func.n_results == 0;
}

/* Modules say any number: beyond what can be counted it is the greatest. */
static void add_product(uint64_t *sum, uint64_t n, uint64_t size) {
  uint64_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(*sum, bytes, sum)) *sum = UINT64_MAX;
}

/* The least that an instance's own memories and tables take. */
static uint64_t initial_memory(const struct module *m) {
  uint64_t bytes = 0;
  for (uint32_t i = m->n_imported_memories; i < m->n_memories; i++)
    add_product(&bytes, m->memories[i].type.limits.min, UINT64_C(1) << m->memories[i].type.limits.page_size_log2);
  for (uint32_t i = m->n_imported_tables; i < m->n_tables; i++) add_product(&bytes, m->tables[i].type.limits.min, sizeof(void *));
  return bytes;
}

/* How many bytes of fresh pages could be written in the time that one of these takes. */
enum { GLOBAL_BYTES = 128, ELEMENT_BYTES = 32, FUNCTION_BYTES = 128 };

/* What active segments write into fresh pages, and what globals and functions are made of. */
static uint64_t initial_data(const struct module *m) {
  uint64_t bytes = (uint64_t)m->n_globals * GLOBAL_BYTES + (uint64_t)m->n_funcs * FUNCTION_BYTES;
  for (uint32_t i = 0; i < m->n_datas; i++)
    if (m->datas[i].mode == SEGMENT_ACTIVE) bytes += m->datas[i].size;
  for (uint32_t i = 0; i < m->n_elems; i++)
    if (m->elems[i].mode == SEGMENT_ACTIVE) bytes += (uint64_t)m->elems[i].n * ELEMENT_BYTES;
  return bytes;
}

/* What a reset puts back one by one, at most. */
static uint64_t initial_cells(const struct module *m) {
  uint64_t n = m->n_globals;
  for (uint32_t i = m->n_imported_tables; i < m->n_tables; i++) add_product(&n, m->tables[i].type.limits.min, 1);
  return n;
}

static bool begins_with(const struct name *name, const char *with) {
  size_t n = strlen(with);
  return name->size > n && memcmp(name->bytes, with, n) == 0;
}

static bool classify(struct function *f, struct gw_error *err) {
  const struct module *m = gw_module_decoded(f->module);
  bool has_handle = exports_plain(m, "handle");
  if (!has_handle && !exports_plain(m, "_start"))
    return error_set(err, GW_ERROR_INTERFACE,
                     "the module exports neither a function handle [] -> [] nor a function _start [] -> []");
  enum interface interface = has_handle ? INTERFACE_HANDLE : INTERFACE_CGI;
  if (f->interface != interface) f->interface = interface; /* of one with a record it is known, and others read it meanwhile */
  f->uses_wasi = f->interface == INTERFACE_CGI;            /* its reply is what it writes, even where it writes nothing */
  f->has_initialize = has_handle && exports_plain(m, "_initialize");
  f->initial_memory = initial_memory(m);
  f->initial_data = initial_data(m);
  f->initial_cells = initial_cells(m);
  for (uint32_t i = 0; i < m->n_imports; i++) {
    const struct import *import = &m->imports[i];
    bool is_ours = name_is(&import->module, "gasworks");
    f->uses_wasi |= !is_ours;
    f->has_files |= !is_ours && begins_with(&import->field, "path_");
    f->uses_state |= is_ours && begins_with(&import->field, "state_");
  }
  f->uses_state |= f->has_files;
  return true;
}

/* A name cannot lead out of the directory: it has no dots, and one slash at most, behind a tenant. Tenants have directories of
 * their own, which no name of a function is. No such directory: no files. */
static bool open_bundle(struct function *f, struct gw_error *err) {
  const struct function_limits *limits = f->limits;
  if (f->is_loose || !limits->has_bundles || !f->uses_wasi) return true;
  char path[FUNCTION_MAX_FULL_NAME + 2];
  snprintf(path, sizeof path, "%s%s", strchr(f->name, '/') ? "@" : "", f->name);
  f->bundle.host_fd = openat(limits->bundles, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (f->bundle.host_fd >= 0) return wasi_can_confine(f->bundle.host_fd, f->name, err);
  return errno == ENOENT || error_set(err, GW_ERROR_IO, "cannot open the files of function %s: %s", f->name, strerror(errno));
}

/* The tenant's own goes before one of the same name that is for all. */
static const struct allowed_directory *find_allowed(const struct function *f, const char *name) {
  const struct function_limits *limits = f->limits;
  char full[FUNCTION_MAX_FULL_NAME + 1];
  const char *slash = strchr(f->name, '/');
  int tenant = slash ? (int)(slash - f->name) : (int)strlen(DEFAULT_TENANT);
  snprintf(full, sizeof full, "%.*s/%s", tenant, slash ? f->name : DEFAULT_TENANT, name);
  for (const char *wanted = full; wanted; wanted = wanted == full ? name : NULL)
    for (size_t i = 0; i < limits->n_directories; i++)
      if (strcmp(limits->directories[i].name, wanted) == 0) return &limits->directories[i];
  return NULL;
}

bool function_open_directories(struct function *f, struct gw_error *err) {
  const cJSON *item, *wanted = f->settings ? f->settings->directories : NULL;
  free(f->preopens);
  f->n_preopens = 0;
  f->preopens = heap_new(1 + (size_t)cJSON_GetArraySize(wanted), sizeof *f->preopens);
  if (f->bundle.host_fd >= 0) f->preopens[f->n_preopens++] = f->bundle;
  cJSON_ArrayForEach(item, wanted) {
    const struct allowed_directory *allowed = find_allowed(f, item->valuestring);
    if (!allowed)
      return error_set(err, GW_ERROR_FORBIDDEN, "the operator allows no directory called %.64s (`gasworks serve --allow-dir`)",
                       item->valuestring);
    f->preopens[f->n_preopens++] = (struct wasi_preopen){.guest_path = item->string, .host_fd = allowed->fd, .is_readonly = true};
  }
  return true;
}

bool function_classify(struct function *f, struct gw_error *err) {
  return classify(f, err) && open_bundle(f, err) && function_open_directories(f, err);
}

bool function_begin(struct function *f) {
  uint32_t most = f->settings ? f->settings->max_running : 0;
  if (!most || atomic_fetch_add_explicit(&f->n_running, 1, memory_order_relaxed) < most) return true;
  function_end(f);
  return false;
}

void function_end(struct function *f) {
  if (f->settings && f->settings->max_running) atomic_fetch_sub_explicit(&f->n_running, 1, memory_order_relaxed);
}

uint64_t function_slowness(enum gw_tier tier) {
  enum { BASELINE = 3, PRECISE = 16 };
  return tier == GW_TIER_PRECISE ? PRECISE : tier == GW_TIER_BASELINE ? BASELINE : 1;
}

static enum band band_in(const struct function *f, enum gw_tier tier) {
  enum { GAS_PER_NS = 10, WIDTH = 20, ENOUGH_NS = 100000000 };
  uint64_t gas = atomic_load_explicit(&f->usage[tier].gas, memory_order_relaxed);
  uint64_t ns = atomic_load_explicit(&f->usage[tier].cpu_ns, memory_order_relaxed);
  uint64_t nominal = gas / GAS_PER_NS * function_slowness(tier);
  if (ns >= ENOUGH_NS && ns / WIDTH > nominal) return BAND_SLOW;
  return nominal >= ENOUGH_NS && nominal / WIDTH > ns ? BAND_FAST : BAND_INSIDE;
}

enum band function_band(const struct function *f) {
  enum band band = BAND_INSIDE;
  for (int tier = 0; tier < N_TIERS && band != BAND_SLOW; tier++) {
    enum band here = band_in(f, (enum gw_tier)tier);
    if (here != BAND_INSIDE) band = here;
  }
  return band;
}

bool function_may_write(const struct function *f) {
  return f->had_state || (function_load_state(f) == LOAD_READY && f->uses_state);
}

enum gw_tier function_next_tier(const struct function *f) {
  if (function_load_state(f) != LOAD_PENDING) return function_tier(f);
  enum tier_choice choice = function_tier_choice(f);
  return choice == TIER_FAST ? GW_TIER_FAST : choice == TIER_PRECISE ? GW_TIER_PRECISE : GW_TIER_BASELINE;
}

const char *function_quarantine_signal(const struct function *f, char *out, size_t size) {
  const char *abbreviation = sigabbrev_np(function_quarantine(f));
  snprintf(out, size, "SIG%s", abbreviation ? abbreviation : "?");
  return out;
}

void function_describe_quarantine(const struct function *f, char *out, size_t size) {
  char signal_name[16];
  snprintf(out, size, "function %s is in quarantine: it ran when the server died of %s; `gasworks lift %s` ends that", f->name,
           function_quarantine_signal(f, signal_name, sizeof signal_name), function_short_name(f->name));
}
