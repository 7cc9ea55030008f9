#include "jit/artifact/artifact.h"

#include "base/error.h"
#include "base/heap.h"
#include "jit/artifact/build_id.h"
#include "jit/artifact/cpu.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[] = "GASWORKS";
_Static_assert(sizeof magic == ARTIFACT_MAGIC_SIZE + 1, "with NUL");

enum section_id { SECTION_FACTS, SECTION_OFFSETS, SECTION_MODULE, SECTION_IMAGE, SECTION_COUNT };

struct checksum {
  uint64_t low, high;
};

struct section {
  uint64_t offset, size;    /* the next one begins behind the padding */
  struct checksum checksum; /* of the bytes and the padding */
};

/* Everything is little-endian, as the code is. */
struct header {
  char magic[ARTIFACT_MAGIC_SIZE];
  uint32_t version, header_size;
  struct artifact_key key;
  uint32_t n_funcs, n_types;
  uint64_t code_size, file_size; /* file_size: without the signature */
  uint32_t stack_factor;
  uint8_t dialect, is_signed, reserved[2];
  struct section sections[SECTION_COUNT];
  struct checksum checksum; /* of all before */
};
_Static_assert(sizeof(struct artifact_key) == 168 && sizeof(struct header) == 344 + 16, "no padding that differs");

/* Behind the image. */
struct signature {
  uint8_t key[crypto_sign_PUBLICKEYBYTES], signature[crypto_sign_BYTES];
  struct checksum checksum; /* of both */
};

static struct checksum checksum(const void *bytes, size_t size) {
  XXH128_hash_t hash = XXH3_128bits(bytes, size);
  return (struct checksum){hash.low64, hash.high64};
}

static bool checksum_is(const struct checksum *expected, const void *bytes, size_t size) {
  struct checksum actual = checksum(bytes, size);
  return actual.low == expected->low && actual.high == expected->high;
}

/* --- keys -------------------------------------------------------------------------------------------------------------- */

bool artifact_key(struct artifact_key *key, const struct digest *digest, const struct artifact_options *options,
                  struct gw_error *err) {
  memset(key, 0, sizeof *key);
  key->module = *digest;
  if (options->gas) key->schedule = options->schedule->digest;
  key->build = gasworks_build_id;
  key->opt_level = options->opt_level;
  key->gas = options->gas;
  key->exact = options->exact;
  key->dialect = (uint8_t)options->dialect;
  if (options->cpu && !cpu_is_known(options->cpu))
    return error_set(err, GW_ERROR_USAGE,
                     "cannot compile for CPU %.32s: x86-64-v2, x86-64-v3, x86-64-v4 and this machine's are known", options->cpu);
  if (options->cpu)
    memcpy(key->cpu, options->cpu, strlen(options->cpu));
  else
    cpu_host_name(key->cpu, sizeof key->cpu);
  return true;
}

void artifact_key_hex(const struct artifact_key *key, char out[DIGEST_HEX_SIZE]) {
  struct digest digest = digest_of(key, sizeof *key);
  digest_print(&digest, out);
}

/* --- writing ------------------------------------------------------------------------------------------------------------- */

static void pad(struct buffer *out, size_t start, size_t align) {
  size_t rest = (out->size - start) % align;
  if (!rest) return;
  memset(buffer_reserve(out, align - rest), 0, align - rest);
  out->size += align - rest;
}

static void append_facts(const struct module *m, struct buffer *out) {
  size_t size = m->n_funcs * sizeof(struct body_facts);
  struct body_facts *facts = heap_new(1, size + 1);
  module_get_facts(m, facts);
  buffer_append(out, facts, size);
  free(facts);
}

void artifact_build(const struct module *m, const struct artifact_key *key, const struct image *image, struct buffer *out) {
  static const size_t aligns[SECTION_COUNT] = {8, 8, IMAGE_PAGE, 1}; /* of what follows each */
  struct header h = {.version = ARTIFACT_VERSION,
                     .header_size = sizeof h,
                     .key = *key,
                     .n_funcs = m->n_funcs,
                     .n_types = m->n_types,
                     .code_size = image->code_size,
                     .stack_factor = image->stack_factor,
                     .dialect = (uint8_t)m->dialect};
  size_t start = out->size;
  memcpy(h.magic, magic, ARTIFACT_MAGIC_SIZE);
  buffer_append(out, &h, sizeof h);
  for (int i = 0; i < SECTION_COUNT; i++) {
    size_t at = out->size;
    if (i == SECTION_FACTS) append_facts(m, out);
    if (i == SECTION_OFFSETS) buffer_append(out, image->offsets, ((size_t)m->n_funcs + m->n_types) * sizeof *image->offsets);
    if (i == SECTION_MODULE) buffer_append(out, m->bytes, m->size);
    if (i == SECTION_IMAGE) buffer_append(out, image->bytes, image->size);
    h.sections[i] = (struct section){.offset = at - start, .size = out->size - at};
    pad(out, start, aligns[i]);
    h.sections[i].checksum = checksum(out->bytes + at, out->size - at);
  }
  h.file_size = out->size - start;
  h.checksum = checksum(&h, offsetof(struct header, checksum));
  memcpy(out->bytes + start, &h, sizeof h);
}

void artifact_sign(struct buffer *artifact, const uint8_t secret[64]) {
  struct header *h = (struct header *)(void *)artifact->bytes;
  struct signature s;
  h->is_signed = true;
  h->checksum = checksum(h, offsetof(struct header, checksum));
  struct digest digest = digest_of(artifact->bytes, artifact->size);
  crypto_sign_ed25519_sk_to_pk(s.key, secret);
  crypto_sign_detached(s.signature, NULL, digest.bytes, sizeof digest.bytes, secret);
  s.checksum = checksum(&s, offsetof(struct signature, checksum));
  buffer_append(artifact, &s, sizeof s);
}

/* --- checking ------------------------------------------------------------------------------------------------------------ */

bool artifact_is(const void *bytes, size_t size) {
  return size >= ARTIFACT_MAGIC_SIZE && memcmp(bytes, magic, ARTIFACT_MAGIC_SIZE) == 0;
}

static bool damaged(struct gw_error *err, const char *where) {
  return error_set(err, GW_ERROR_ARTIFACT, "the artifact is damaged: its %s", where);
}

static bool check_header(const struct header *h, size_t size, struct gw_error *err) {
  if (size < sizeof *h) return damaged(err, "header is cut short");
  if (h->version != ARTIFACT_VERSION || h->header_size != sizeof *h)
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact has format %u, this program reads format %d", h->version,
                     ARTIFACT_VERSION);
  if (!checksum_is(&h->checksum, h, offsetof(struct header, checksum))) return damaged(err, "header's checksum is wrong");
  uint64_t expected = h->file_size + (h->is_signed ? sizeof(struct signature) : 0);
  if (size != expected)
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact is damaged: it has %zu bytes, not %llu", size,
                     (unsigned long long)expected);
  return true;
}

static bool check_sections(const struct header *h, struct gw_error *err) {
  static const char *const words[SECTION_COUNT] = {"facts have a wrong checksum", "offsets have a wrong checksum",
                                                   "module has a wrong checksum", "code has a wrong checksum"};
  for (int i = 0; i < SECTION_COUNT; i++) {
    const struct section *s = &h->sections[i];
    uint64_t end = i + 1 < SECTION_COUNT ? h->sections[i + 1].offset : h->file_size;
    if (s->offset < sizeof *h || end > h->file_size || s->offset > end || s->size > end - s->offset)
      return damaged(err, "sections overlap");
    if (!checksum_is(&s->checksum, (const uint8_t *)h + s->offset, end - s->offset)) return damaged(err, words[i]);
  }
  if (h->sections[0].offset != sizeof *h || h->sections[SECTION_OFFSETS].offset % sizeof(uint32_t) ||
      h->sections[SECTION_IMAGE].offset % IMAGE_PAGE)
    return damaged(err, "sections are misplaced");
  return true;
}

/* What the checksums cover was made by a program of this build, or by somebody who knows how to make checksums: nothing that it
 * says about the file is believed where that would be unsafe before the code runs. Facts are believed as the code is. */
static bool check_contents(const struct artifact *a, const struct header *h, struct gw_error *err) {
  if (h->stack_factor < ABI_STACK_FACTOR || h->stack_factor > ABI_MAX_STACK_FACTOR)
    return damaged(err, "frames have an impossible size");
  if (h->dialect >= N_DIALECTS) return damaged(err, "dialect is unknown");
  bool is_sane = h->sections[SECTION_FACTS].size == h->n_funcs * sizeof(struct body_facts) &&
                 h->sections[SECTION_OFFSETS].size == (uint64_t)a->n_offsets * sizeof(uint32_t) && a->code_size <= a->image_size;
  if (!is_sane) return damaged(err, "sections have wrong sizes");
  for (uint32_t i = 0; i < a->n_offsets; i++)
    if (a->offsets[i] != IMAGE_NONE && a->offsets[i] >= a->code_size) return damaged(err, "offsets lie outside of the code");
  return true;
}

static bool check_signature(const struct header *h, struct gw_error *err) {
  if (!h->is_signed) return true;
  struct signature s;
  memcpy(&s, (const uint8_t *)h + h->file_size, sizeof s);
  return checksum_is(&s.checksum, &s, offsetof(struct signature, checksum)) || damaged(err, "signature's checksum is wrong");
}

static bool check_machine(const struct artifact_key *key, struct gw_error *err) {
  char host[ARTIFACT_CPU_SIZE] = {0};
  if (!digest_is(&key->build, &gasworks_build_id))
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact was made by another build of gasworks");
  cpu_host_name(host, sizeof host);
  if (memcmp(key->cpu, host, sizeof host) == 0) return true;
  if (!key->cpu[sizeof key->cpu - 1] && cpu_is_known(key->cpu) && cpu_runs(key->cpu)) return true;
  return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled for another CPU (%.*s)", ARTIFACT_CPU_SIZE - 1, key->cpu);
}

bool artifact_check(const void *bytes, size_t size, struct artifact *a, struct gw_error *err) {
  const struct header *h = bytes;
  if (!artifact_is(bytes, size))
    return error_set(err, GW_ERROR_ARTIFACT, "this is no artifact: it does not begin with %s", magic);
  if (!check_header(h, size, err) || !check_machine(&h->key, err) || !check_sections(h, err)) return false;
  *a = (struct artifact){.bytes = bytes, .size = size, .key = &h->key, .n_funcs = h->n_funcs, .code_size = h->code_size};
  a->stack_factor = h->stack_factor;
  if (h->n_funcs > INT32_MAX || h->n_types > INT32_MAX) return damaged(err, "counts are too large");
  a->n_offsets = h->n_funcs + h->n_types;
  a->facts = (const void *)(a->bytes + h->sections[SECTION_FACTS].offset);
  a->offsets = (const void *)(a->bytes + h->sections[SECTION_OFFSETS].offset);
  a->module = a->bytes + h->sections[SECTION_MODULE].offset;
  a->module_size = h->sections[SECTION_MODULE].size;
  a->image = a->bytes + h->sections[SECTION_IMAGE].offset;
  a->image_size = h->sections[SECTION_IMAGE].size;
  a->dialect = h->dialect;
  return check_contents(a, h, err) && check_signature(h, err);
}

struct image artifact_image(const struct artifact *a) {
  return (struct image){.bytes = (uint8_t *)a->image,
                        .code_size = a->code_size,
                        .size = a->image_size,
                        .offsets = (uint32_t *)a->offsets,
                        .stack_factor = a->stack_factor};
}

bool artifact_verify(const struct artifact *a, const uint8_t (*keys)[32], size_t n) {
  const struct header *h = (const struct header *)a->bytes;
  struct signature s;
  if (!h->is_signed) return false;
  memcpy(&s, a->bytes + h->file_size, sizeof s);
  struct digest digest = digest_of(a->bytes, h->file_size);
  for (size_t i = 0; i < n; i++)
    if (memcmp(keys[i], s.key, sizeof s.key) == 0)
      return crypto_sign_verify_detached(s.signature, digest.bytes, sizeof digest.bytes, s.key) == 0;
  return false;
}

bool artifact_fits(const struct artifact *a, const struct artifact_options *options, struct gw_error *err) {
  if (a->key->gas != options->gas)
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled with gas %s", a->key->gas ? "on" : "off");
  if (options->gas && !digest_is(&a->key->schedule, &options->schedule->digest))
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled with another gas schedule");
  if (options->exact && !a->key->exact)
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled with loose traps, and exact ones are wanted");
  return true;
}

/* --- mapping ------------------------------------------------------------------------------------------------------------- */

struct artifact *artifact_map(int fd, struct gw_error *err) {
  struct stat st;
  struct artifact *a = calloc(1, sizeof *a);
  if (!a) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an artifact");
    return NULL;
  }
  void *at = MAP_FAILED;
  if (fstat(fd, &st) == 0 && st.st_size > 0) at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  if (at == MAP_FAILED) {
    error_set(err, GW_ERROR_IO, "cannot map the artifact: %s", st.st_size ? strerror(errno) : "it is empty");
    free(a);
    return NULL;
  }
  size_t size = (size_t)st.st_size;
  bool ok = artifact_check(at, size, a, err);
  if (ok && a->code_size && mprotect((void *)a->image, a->code_size, PROT_READ | PROT_EXEC))
    ok = error_set(err, GW_ERROR_IO, "cannot make the artifact's code executable: %s", strerror(errno));
  a->mapping = at;
  a->size = size;
  if (ok) return a;
  artifact_unmap(a);
  return NULL;
}

void artifact_unmap(struct artifact *a) {
  if (!a) return;
  if (a->mapping) munmap(a->mapping, a->size);
  free(a);
}
