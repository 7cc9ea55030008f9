/* Artifacts and the cache of them, also when a process of its own compiles (test_child.c). */
#include "jit/artifact/artifact.h"

#include "base/error.h"
#include "jit/artifact/cache.h"
#include "runtime/compile.h"
#include "tests/large.h"
#include "tests/shell.h"
#include "tests/wat.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <utime.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static char directory[] = "/tmp/gasworks-test-artifact-XXXXXX";

static const char square[] = "(module (import \"env\" \"no\" (func $no)) (memory 1) (global $g (mut i32) (i32.const 3))"
                             " (func (export \"f\") (param i32) (result i32) (local $i i32)"
                             "  (loop $again (i32.store (local.get $i) (i32.mul (local.get 0) (global.get $g)))"
                             "   (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 400))))"
                             "  (if (i32.eq (local.get 0) (i32.const 99)) (then (call $no)))"
                             "  (i32.load (i32.const 8))))";

static enum gw_trap no(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env, (void)values;
  return GW_TRAP_HOST;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"env", "no", "_", no};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&func, NULL}};
  return true;
}

static struct gw_engine *engine_with(const struct gw_engine_options *options) {
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(options, &err);
  if (!engine) fail_msg("%s", err.message);
  return engine;
}

static struct gw_engine *plain_engine(void) {
  return engine_with(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true});
}

/* f(7), which must be 21; the gas. */
static uint64_t call_f(struct gw_engine *engine, struct gw_module *module) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1000000}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, resolve, NULL, &err);
  union gw_value value = {.i32 = 7};
  if (!instance || !gw_call_export(instance, "f", &value, 1, &err)) fail_msg("%s", err.message);
  assert_int_equal(value.i32, 21);
  uint64_t gas = gw_store_gas_used(store);
  gw_store_destroy(store);
  return gas;
}

static struct buffer make_artifact(const struct gw_engine_options *options, const char *text, const char *cpu) {
  struct gw_engine *engine = engine_with(options);
  struct gw_module *module = wat_module(engine, text);
  struct buffer artifact = {0};
  struct gw_error err = {0};
  artifact.bytes = gw_module_make_artifact(module, cpu, &artifact.size, &err);
  artifact.capacity = artifact.size;
  if (!artifact.bytes) fail_msg("%s", err.message);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return artifact;
}

static struct buffer plain_artifact(void) {
  return make_artifact(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, square, NULL);
}

static const char *write_file(const char *name, const void *bytes, size_t size) {
  return write_file_in(directory, name, bytes, size);
}

static struct gw_module *open_bytes(struct gw_engine *engine, const struct buffer *artifact, struct gw_error *err) {
  return gw_module_open_artifact(engine, write_file("a.gwa", artifact->bytes, artifact->size), err);
}

/* --- what artifacts do --------------------------------------------------------------------------------------------- */

static void test_runs_like_compiled_code(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_engine *engine = plain_engine();
  struct gw_module *compiled = wat_module(engine, square);
  uint64_t gas = call_f(engine, compiled);
  static const char *const cpus[] = {NULL, "x86-64-v2", "x86-64-v3"};
  for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
    struct buffer artifact =
        make_artifact(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, square, cpus[i]);
    struct gw_module *module = open_bytes(engine, &artifact, &err);
    if (!module) fail_msg("%s", err.message);
    assert_memory_equal(gw_module_digest(module), gw_module_digest(compiled), 32);
    assert_int_equal(call_f(engine, module), gas);
    gw_module_release(module);
    buffer_clear(&artifact);
  }
  gw_module_release(compiled);
  gw_engine_destroy(engine);
}

static void test_same_for_any_number_of_threads(void **state) {
  (void)state;
  struct buffer text = make_large(12);
  struct gw_engine_options options = {.loose_traps = true, .opt_level = 1, .gas = true, .threads = 1};
  struct buffer one = make_artifact(&options, (const char *)text.bytes, NULL);
  for (options.threads = 2; options.threads <= 5; options.threads += 3) {
    struct buffer other = make_artifact(&options, (const char *)text.bytes, NULL);
    assert_int_equal(one.size, other.size);
    assert_memory_equal(one.bytes, other.bytes, one.size);
    buffer_clear(&other);
  }
  buffer_clear(&one);
  buffer_clear(&text);
}

/* --- damage ----------------------------------------------------------------------------------------------------------- */

static void expect_damaged(const void *bytes, size_t size) {
  struct artifact a;
  struct gw_error err = {0};
  assert_false(artifact_check(bytes, size, &a, &err));
  assert_int_equal(err.code, GW_ERROR_ARTIFACT);
  assert_true(err.message[0]);
}

static uint64_t random_number(uint64_t *seed) { return *seed = *seed * 6364136223846793005u + 1442695040888963407u; }

static void flip_bits(struct buffer *artifact, uint64_t seed) {
  enum { FLIPS = 10000 };
  struct artifact a;
  struct gw_error err = {0};
  for (int i = 0; i < FLIPS; i++) {
    size_t bit = (size_t)(random_number(&seed) >> 20) % (8 * artifact->size);
    artifact->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    expect_damaged(artifact->bytes, artifact->size);
    artifact->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  assert_true(artifact_check(artifact->bytes, artifact->size, &a, &err));
}

static void test_flipped_bits(void **state) {
  (void)state;
  struct buffer artifact = plain_artifact();
  uint8_t secret[64], public[32];
  flip_bits(&artifact, 1);
  crypto_sign_keypair(public, secret);
  artifact_sign(&artifact, secret);
  flip_bits(&artifact, 2);
  buffer_clear(&artifact);
}

static void test_cut_short_and_too_long(void **state) {
  (void)state;
  struct buffer artifact = plain_artifact();
  for (size_t size = 0; size < artifact.size; size += size < 1024 ? 1 : 97) {
    uint8_t *cut = malloc(size + 1); /* so that reading behind it is seen */
    memcpy(cut, artifact.bytes, size);
    expect_damaged(cut, size);
    free(cut);
  }
  buffer_append(&artifact, "x", 1);
  expect_damaged(artifact.bytes, artifact.size);
  buffer_clear(&artifact);
}

/* Where things are in the header (jit/artifact/artifact.c). */
enum { AT_CODE_SIZE = 192, AT_FILE_SIZE = 200, AT_STACK_FACTOR = 208, AT_DIALECT = 212, AT_SECTIONS = 216, HEADER_SIZE = 360 };
enum { N_SECTIONS = 4, SECTION_SIZE = 32, CHECKSUM_SIZE = 16, AT_CHECKSUM = HEADER_SIZE - CHECKSUM_SIZE };

static uint64_t get(const uint8_t *at, size_t size) {
  uint64_t v = 0;
  memcpy(&v, at, size);
  return v;
}

static void put_checksum(uint8_t *to, const uint8_t *bytes, size_t size) {
  XXH128_hash_t hash = XXH3_128bits(bytes, size);
  memcpy(to, (uint64_t[]){hash.low64, hash.high64}, CHECKSUM_SIZE);
}

/* What somebody does who knows the format: all checksums are right for what is there, where it is there. */
static void make_checksums_right(uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < N_SECTIONS; i++) {
    uint8_t *section = bytes + AT_SECTIONS + i * SECTION_SIZE;
    uint64_t at = get(section, 8), end = i + 1 < N_SECTIONS ? get(section + SECTION_SIZE, 8) : get(bytes + AT_FILE_SIZE, 8);
    if (at <= end && end <= size) put_checksum(section + 16, bytes + at, end - at);
  }
  put_checksum(bytes + AT_CHECKSUM, bytes, AT_CHECKSUM);
}

/* What is believed of an artifact that was accepted. */
static void expect_sane(const struct artifact *a, const uint8_t *bytes, size_t size) {
  assert_in_range(a->stack_factor, ABI_STACK_FACTOR, ABI_MAX_STACK_FACTOR);
  assert_in_range(a->dialect, 0, N_DIALECTS - 1);
  assert_int_equal((uintptr_t)a->offsets % sizeof *a->offsets, 0);
  assert_true(a->module >= bytes && a->module + a->module_size <= bytes + size);
  assert_true(a->image >= bytes && a->image + a->image_size <= bytes + size && a->code_size <= a->image_size);
  assert_true((const uint8_t *)(a->facts + a->n_funcs) <= bytes + size);
  assert_true((const uint8_t *)(a->offsets + a->n_offsets) <= bytes + size);
  for (uint32_t i = 0; i < a->n_offsets; i++) assert_true(a->offsets[i] == IMAGE_NONE || a->offsets[i] < a->code_size);
}

/* Changes one field and makes the checksums right; then the artifact is refused, or may be opened. */
static bool is_accepted(struct gw_engine *engine, const struct buffer *artifact, size_t at, uint64_t value, size_t field) {
  struct artifact a;
  struct gw_error err = {0};
  struct buffer changed = {0};
  buffer_append(&changed, artifact->bytes, artifact->size);
  memcpy(changed.bytes + at, &value, field);
  make_checksums_right(changed.bytes, changed.size);
  bool ok = artifact_check(changed.bytes, changed.size, &a, &err);
  if (ok) {
    expect_sane(&a, changed.bytes, changed.size);
    struct gw_module *module = open_bytes(engine, &changed, &err);
    assert_true(module || err.code != GW_ERROR_NONE);
    gw_module_release(module);
  } else {
    assert_int_equal(err.code, GW_ERROR_ARTIFACT);
  }
  buffer_clear(&changed);
  return ok;
}

static void test_hostile_headers(void **state) {
  (void)state;
  struct buffer artifact = plain_artifact();
  struct gw_engine *engine = plain_engine();
  for (size_t at = 8; at < AT_CHECKSUM; at += 4)
    for (size_t field = 1; field <= 8 && at + field <= AT_CHECKSUM; field *= 2) {
      uint64_t old = get(artifact.bytes + at, field), size = artifact.size;
      const uint64_t values[] = {0,
                                 1,
                                 3,
                                 old + 1,
                                 old - 1,
                                 old + 2,
                                 old + 4,
                                 old + 8,
                                 old - 8,
                                 old ^ 64,
                                 old * 2,
                                 size,
                                 size - 1,
                                 size + 1,
                                 ABI_STACK_FACTOR - 1,
                                 ABI_MAX_STACK_FACTOR + 1,
                                 1u << 31,
                                 UINT32_MAX,
                                 UINT64_C(1) << 32,
                                 UINT64_MAX,
                                 UINT64_MAX - 111,
                                 UINT64_C(1) << 63};
      for (size_t i = 0; i < sizeof values / sizeof *values; i++) is_accepted(engine, &artifact, at, values[i], field);
    }
  assert_true(is_accepted(engine, &artifact, AT_STACK_FACTOR, ABI_MAX_STACK_FACTOR, 4));
  assert_false(is_accepted(engine, &artifact, AT_STACK_FACTOR, ABI_MAX_STACK_FACTOR + 1, 4));
  assert_false(is_accepted(engine, &artifact, AT_STACK_FACTOR, 0, 4));
  assert_false(is_accepted(engine, &artifact, AT_DIALECT, N_DIALECTS, 1));
  gw_engine_destroy(engine);
  buffer_clear(&artifact);
}

/* The artifact, made for another key. */
static struct buffer for_another(const struct buffer *artifact, void (*change)(struct artifact_key *key)) {
  struct artifact a;
  struct gw_error err = {0};
  struct gw_engine *engine = plain_engine();
  struct buffer other = {0};
  assert_true(artifact_check(artifact->bytes, artifact->size, &a, &err));
  struct gw_module *module = gw_module_create(engine, a.module, a.module_size, &err);
  struct image image = artifact_image(&a);
  struct artifact_key key = *a.key;
  change(&key);
  artifact_build(gw_module_decoded(module), &key, &image, &other);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return other;
}

static void other_build(struct artifact_key *key) { key->build.bytes[5] ^= 1; }
static void other_host(struct artifact_key *key) { key->cpu[10] ^= 1; }
static void other_level(struct artifact_key *key) { memset(key->cpu, 0, sizeof key->cpu), strcpy(key->cpu, "x86-64-v9"); }
static void endless_name(struct artifact_key *key) { memset(key->cpu, 'x', sizeof key->cpu); }
static void other_schedule(struct artifact_key *key) { key->schedule.bytes[0] ^= 1; }
static void no_gas(struct artifact_key *key) { key->gas = 0; }
static void other_dialect(struct artifact_key *key) { key->dialect = 1; }

static void test_made_for_something_else(void **state) {
  (void)state;
  static const struct {
    void (*change)(struct artifact_key *key);
    const char *message;
  } rows[] = {
      {other_build, "another build"}, {other_host, "another CPU"},  {other_level, "another CPU"},
      {endless_name, "another CPU"},  {other_schedule, "schedule"}, {no_gas, "compiled with gas off"},
      {other_dialect, "dialect"},
  };
  struct buffer artifact = plain_artifact();
  struct gw_engine *engine = plain_engine();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct buffer other = for_another(&artifact, rows[i].change);
    struct gw_error err = {0};
    assert_null(open_bytes(engine, &other, &err));
    assert_int_equal(err.code, GW_ERROR_ARTIFACT);
    if (!strstr(err.message, rows[i].message)) fail_msg("no \"%s\" in: %s", rows[i].message, err.message);
    buffer_clear(&other);
  }
  artifact.bytes[8]++; /* the format's version */
  struct gw_error err = {0};
  assert_null(open_bytes(engine, &artifact, &err));
  assert_non_null(strstr(err.message, "format 2"));
  buffer_clear(&artifact);
  gw_engine_destroy(engine);
}

static void test_signatures(void **state) {
  (void)state;
  struct buffer artifact = plain_artifact();
  struct artifact a;
  struct gw_error err = {0};
  uint8_t secrets[2][64], publics[2][32];
  for (int i = 0; i < 2; i++) crypto_sign_keypair(publics[i], secrets[i]);
  assert_true(artifact_check(artifact.bytes, artifact.size, &a, &err));
  assert_false(artifact_verify(&a, publics, 2));
  artifact_sign(&artifact, secrets[1]);
  assert_true(artifact_check(artifact.bytes, artifact.size, &a, &err));
  assert_true(artifact_verify(&a, publics, 2));
  assert_false(artifact_verify(&a, publics, 1));
  assert_false(artifact_verify(&a, NULL, 0));
  buffer_clear(&artifact);
}

/* --- the cache --------------------------------------------------------------------------------------------------------- */

static struct gw_cache *open_cache(const char *name, uint64_t max_bytes) {
  char path[128];
  struct gw_error err = {0};
  snprintf(path, sizeof path, "%s/%s", directory, name);
  struct gw_cache *cache = gw_cache_open(path, max_bytes, &err);
  if (!cache) fail_msg("%s", err.message);
  return cache;
}

static size_t count_entries(struct gw_cache *cache) {
  struct gw_error err = {0};
  size_t n;
  struct cache_entry *entries = cache_list(cache, &n, &err);
  assert_non_null(entries);
  free(entries);
  return n;
}

static size_t count_leftovers(struct gw_cache *cache) {
  DIR *d = opendir(cache_directory(cache));
  size_t n = 0;
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));) n += strncmp(e->d_name, "tmp-", 4) == 0;
  closedir(d);
  return n;
}

static void test_compiled_once(void **state) {
  (void)state;
  struct gw_cache *cache = open_cache("once", 0);
  struct gw_engine *engine =
      engine_with(&(struct gw_engine_options){.loose_traps = true, .opt_level = 1, .gas = true, .cache = cache});
  uint64_t gas[3];
  for (int i = 0; i < 3; i++) {
    struct gw_module *module = wat_module(engine, square);
    assert_int_equal(module_is_compiled(module), i == 1); /* then it is there without compiling */
    gas[i] = call_f(engine, module);
    gw_module_release(module);
    assert_int_equal(count_entries(cache), 1);
    if (i == 1) { /* damage: it is made anew */
      struct gw_error err = {0};
      size_t n;
      char path[256];
      struct cache_entry *entries = cache_list(cache, &n, &err);
      snprintf(path, sizeof path, "%s/%s.gwa", cache_directory(cache), entries[0].name);
      int fd = open(path, O_WRONLY);
      assert_int_equal(pwrite(fd, "damage", 6, (off_t)entries[0].size - 100), 6);
      close(fd);
      free(entries);
    }
  }
  assert_int_equal(gas[0], gas[1]);
  assert_int_equal(gas[0], gas[2]);
  gw_engine_destroy(engine);
  gw_cache_close(cache);
}

/* A key of its own for each number. */
static struct artifact_key key_number(const struct artifact *a, uint32_t number) {
  struct artifact_key key = *a->key;
  memcpy(key.module.bytes, &number, sizeof number);
  return key;
}

static struct buffer entry_number(const struct artifact *a, uint32_t number) {
  struct buffer out = {0};
  struct gw_error err = {0};
  struct gw_engine *engine = plain_engine();
  struct gw_module *module = gw_module_create(engine, a->module, a->module_size, &err);
  struct image image = artifact_image(a);
  struct artifact_key key = key_number(a, number);
  artifact_build(gw_module_decoded(module), &key, &image, &out);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return out;
}

static bool store_number(struct gw_cache *cache, const struct artifact *a, uint32_t number, struct gw_error *err) {
  struct buffer bytes = entry_number(a, number);
  struct artifact_key key = key_number(a, number);
  bool ok = cache_store(cache, &key, bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  return ok;
}

static bool has_number(struct gw_cache *cache, const struct artifact *a, uint32_t number) {
  struct artifact_key key = key_number(a, number);
  struct artifact *found = cache_find(cache, &key);
  artifact_unmap(found);
  return found;
}

static void test_least_recently_used_goes(void **state) {
  (void)state;
  struct buffer bytes = plain_artifact();
  struct artifact a;
  struct gw_error err = {0};
  assert_true(artifact_check(bytes.bytes, bytes.size, &a, &err));
  struct gw_cache *cache = open_cache("lru", 4 * bytes.size + bytes.size / 2);
  for (uint32_t i = 0; i < 4; i++) {
    char name[DIGEST_HEX_SIZE], path[256];
    struct artifact_key key = key_number(&a, i);
    assert_true(store_number(cache, &a, i, &err));
    artifact_key_hex(&key, name);
    snprintf(path, sizeof path, "%s/%s.gwa", cache_directory(cache), name);
    assert_int_equal(utime(path, &(struct utimbuf){1000 + i, 1000 + i}), 0); /* used long ago, one after the other */
  }
  assert_true(has_number(cache, &a, 0)); /* used just now */
  assert_true(store_number(cache, &a, 4, &err));
  assert_true(has_number(cache, &a, 0));
  assert_false(has_number(cache, &a, 1));
  for (uint32_t i = 2; i < 5; i++) assert_true(has_number(cache, &a, i));
  size_t n = 0;
  uint64_t gone = 0;
  assert_true(cache_prune(cache, 0, &n, &gone, &err));
  assert_int_equal(n, 4);
  assert_int_equal(gone, 4 * bytes.size);
  assert_int_equal(count_entries(cache), 0);
  gw_cache_close(cache);
  buffer_clear(&bytes);
}

/* Two processes fill a cache that holds a fraction of it, and look for what they and the other stored. */
static void test_two_processes(void **state) {
  (void)state;
  enum { PROCESSES = 2, ENTRIES = 40 };
  struct buffer bytes = plain_artifact();
  struct artifact a;
  struct gw_error err = {0};
  pid_t pids[PROCESSES];
  assert_true(artifact_check(bytes.bytes, bytes.size, &a, &err));
  for (int p = 0; p < PROCESSES; p++) {
    pids[p] = fork();
    if (pids[p]) continue;
    struct gw_cache *cache = open_cache("two", 12 * bytes.size);
    for (uint32_t i = 0; i < ENTRIES; i++) {
      if (!store_number(cache, &a, i, &err)) _exit(1);
      for (uint32_t k = 0; k <= i; k++) has_number(cache, &a, k); /* whole, or not there */
    }
    _exit(0);
  }
  for (int p = 0; p < PROCESSES; p++) {
    int status;
    assert_int_equal(waitpid(pids[p], &status, 0), pids[p]);
    assert_int_equal(status, 0);
  }
  struct gw_cache *cache = open_cache("two", 12 * bytes.size);
  size_t n, n_whole = 0;
  struct cache_entry *entries = cache_list(cache, &n, &err);
  assert_in_range(n, 1, 13);
  for (size_t i = 0; i < n; i++) {
    struct artifact *found = cache_open_entry(cache, &entries[i], &err);
    n_whole += found != NULL;
    artifact_unmap(found);
  }
  assert_int_equal(n_whole, n);
  assert_int_equal(count_leftovers(cache), 0);
  free(entries);
  gw_cache_close(cache);
  buffer_clear(&bytes);
}

/* No file of this process may become as large as an artifact: the write fails half-way, as on a full disk. */
static void test_full_disk(void **state) {
  (void)state;
  struct buffer bytes = plain_artifact();
  struct artifact a;
  struct gw_error err = {0};
  assert_true(artifact_check(bytes.bytes, bytes.size, &a, &err));
  struct gw_cache *cache = open_cache("full", 0);
  assert_true(store_number(cache, &a, 1, &err));
  struct rlimit before, small;
  getrlimit(RLIMIT_FSIZE, &before);
  small = (struct rlimit){bytes.size / 2, before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  struct buffer second = entry_number(&a, 2);
  struct artifact_key key = key_number(&a, 2);
  setrlimit(RLIMIT_FSIZE, &small);
  bool ok = cache_store(cache, &key, second.bytes, second.size, &err);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_false(ok);
  assert_int_equal(err.code, GW_ERROR_IO);
  assert_non_null(strstr(err.message, "cannot write into cache"));
  assert_int_equal(count_entries(cache), 1);
  assert_int_equal(count_leftovers(cache), 0);
  assert_true(has_number(cache, &a, 1));
  buffer_clear(&second);
  buffer_clear(&bytes);
  gw_cache_close(cache);
}

static void test_cache_of_others(void **state) {
  (void)state;
  char path[128];
  struct gw_error err = {0};
  snprintf(path, sizeof path, "%s/shared", directory);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(chmod(path, 0777), 0);
  assert_null(gw_cache_open(path, 0, &err));
  assert_non_null(strstr(err.message, "others than its user could write code into it"));
  err = (struct gw_error){0};
  snprintf(path, sizeof path, "%s", write_file("file", "", 0));
  assert_null(gw_cache_open(path, 0, &err));
  assert_int_equal(err.code, GW_ERROR_IO);
}

/* --- the compiler's process ---------------------------------------------------------------------------------------------- */

static void test_child_compiles_the_same(void **state) {
  (void)state;
  struct gw_cache *caches[2] = {open_cache("here", 0), open_cache("apart", 0)};
  const char *programs[2] = {NULL, BUILD_DIR "/gasworks"};
  for (int i = 0; i < 2; i++) {
    struct gw_engine *engine = engine_with(&(struct gw_engine_options){
        .loose_traps = true, .opt_level = 2, .gas = true, .cache = caches[i], .compiler_program = programs[i]});
    struct gw_module *module = wat_module(engine, square);
    call_f(engine, module);
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
  struct buffer out = shell(NULL, "diff -r %s/here %s/apart && echo same", directory, directory);
  assert_string_equal((const char *)out.bytes, "same\n");
  buffer_clear(&out);
  for (int i = 0; i < 2; i++) gw_cache_close(caches[i]);
}

/* A recursive function whose frames are much larger than 16 times what they cost; gives the number of its calls. */
static struct buffer make_large_frames(void) {
  enum { CALLS = 600 };
  struct buffer text = {0};
  buffer_append_string(&text, "(module (import \"env\" \"no\" (func $no)) (global $n (mut i32) (i32.const 0))"
                              " (table funcref (elem $same)) (type $t (func (param i32) (result i32)))"
                              " (func $same (type $t) (local.get 0))"
                              " (func $f (export \"f\") (type $t) (global.set $n (i32.add (global.get $n) (i32.const 1)))"
                              "  (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))"
                              "  (local.set 0 (call $f (i32.sub (local.get 0) (i32.const 1))))");
  for (int i = 0; i < CALLS; i++)
    buffer_format(&text, "(local.set 0 (i32.xor (call $same (i32.add (local.get 0) (i32.const %d))) (call $same (local.get 0))))",
                  i);
  buffer_append_string(&text, " (global.get $n)))");
  buffer_append(&text, "", 1);
  return text;
}

static uint32_t factor_of(struct gw_module *module) {
  struct gw_error err = {0};
  const struct code *code = module_compile(module, gw_module_decoded(module)->dialect, &err);
  if (!code) fail_msg("%s", err.message);
  return code->stack_factor;
}

/* What the stack is larger than usual counts as the guest's memory. */
static void expect_counted_stack(struct gw_engine *engine, struct gw_module *module, uint32_t factor) {
  struct gw_error err = {0};
  uint64_t before = gw_engine_memory_bytes(engine), entries = sizeof(void *) * 2; /* of the table, and kept for resets */
  struct gw_store *store = gw_store_create(engine, NULL, &err);
  struct gw_instance *instance = gw_instance_create(store, module, resolve, NULL, &err);
  union gw_value value = {.i32 = 5000};
  if (!instance || !gw_call_export(instance, "f", &value, 1, &err)) fail_msg("%s", err.message);
  assert_int_equal(value.i32, 5001);
  uint64_t more = (uint64_t)(factor - ABI_STACK_FACTOR) << 20;
  assert_in_range(gw_engine_memory_bytes(engine) - before - entries, more, more + (1 << 20));
  gw_store_destroy(store);
  assert_int_equal(gw_engine_memory_bytes(engine), before);
}

/* Whoever has compiled it, and wherever it was kept, code says how large its frames are. */
static void test_frames_are_known(void **state) {
  (void)state;
  struct buffer text = make_large_frames();
  struct gw_cache *cache = open_cache("frames", 0);
  struct gw_engine_options options = {.loose_traps = true, .gas = true};
  struct gw_engine *here = engine_with(&options);
  options.compiler_program = BUILD_DIR "/gasworks";
  struct gw_engine *apart = engine_with(&options);
  options.cache = cache;
  struct gw_engine *keeping = engine_with(&options);
  struct gw_module *modules[5] = {wat_module(here, (const char *)text.bytes), wat_module(apart, (const char *)text.bytes)};
  for (int i = 2; i < 4; i++) modules[i] = wat_module(keeping, (const char *)text.bytes); /* both see an empty cache */
  uint32_t factor = factor_of(modules[0]);
  assert_in_range(factor, ABI_STACK_FACTOR + 1, ABI_MAX_STACK_FACTOR);
  expect_counted_stack(here, modules[0], factor);
  for (int i = 1; i < 4; i++) assert_int_equal(factor_of(modules[i]), factor);
  modules[4] = wat_module(keeping, (const char *)text.bytes);
  assert_int_equal(factor_of(modules[4]), factor);
  for (int i = 0; i < 5; i++) gw_module_release(modules[i]);
  gw_engine_destroy(here);
  gw_engine_destroy(apart);
  gw_engine_destroy(keeping);
  gw_cache_close(cache);
  buffer_clear(&text);
}

/* --- set-up ---------------------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  (void)state;
  return sodium_init() < 0 || !mkdtemp(directory);
}

static int tear_down(void **state) {
  (void)state;
  struct buffer out = shell(NULL, "rm -rf %s", directory);
  buffer_clear(&out);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_runs_like_compiled_code),
      cmocka_unit_test(test_same_for_any_number_of_threads),
      cmocka_unit_test(test_flipped_bits),
      cmocka_unit_test(test_cut_short_and_too_long),
      cmocka_unit_test(test_hostile_headers),
      cmocka_unit_test(test_made_for_something_else),
      cmocka_unit_test(test_signatures),
      cmocka_unit_test(test_compiled_once),
      cmocka_unit_test(test_least_recently_used_goes),
      cmocka_unit_test(test_two_processes),
      cmocka_unit_test(test_full_disk),
      cmocka_unit_test(test_cache_of_others),
      cmocka_unit_test(test_child_compiles_the_same),
      cmocka_unit_test(test_frames_are_known),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
