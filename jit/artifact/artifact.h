/* Artifacts (.gwa): a module together with its machine code, mapped and run without the compiler.
 *
 *   header    what it is, for whom, where the sections are, a checksum of all that
 *   facts     struct body_facts of every function, which save validating the bodies again
 *   offsets   of struct image
 *   module    the .wasm file
 *   image     from a multiple of IMAGE_PAGE on: code, constants
 *   signature optional
 *
 * A section's bytes, with the padding behind them, are covered by a checksum in the header, so no bit of the file can change
 * unseen. That finds damage, not malice: machine code from strangers is not data, see artifact_verify. */
#ifndef JIT_ARTIFACT_ARTIFACT_H
#define JIT_ARTIFACT_ARTIFACT_H

#include "base/buffer.h"
#include "base/digest.h"
#include "instrument/schedule.h"
#include "jit/artifact/code.h"

/* Format 2: NaNs are canonical. */
enum { ARTIFACT_VERSION = 2, ARTIFACT_MAGIC_SIZE = 8, ARTIFACT_CPU_SIZE = 64 };

/* All that machine code depends on. Bytes between fields are zero, so keys compare with memcmp. */
struct artifact_key {
  struct digest module;
  struct digest schedule;      /* zero without gas */
  struct digest build;         /* of the compiler's sources */
  char cpu[ARTIFACT_CPU_SIZE]; /* LLVM's name of one, or "host-" and a digest of what this machine's can do */
  uint32_t opt_level;
  uint8_t gas, dialect; /* dialect: what it is in besides the module's own */
  uint8_t exact;        /* 1: as struct compile_options has it */
  uint8_t reserved;
};

struct artifact_options {
  uint32_t opt_level;
  bool gas, exact;
  uint32_t dialect;
  const struct schedule *schedule;
  const char *cpu; /* NULL: this machine's */
};

/* `digest` is the module's. False for a CPU that has no name here. */
bool artifact_key(struct artifact_key *key, const struct digest *digest, const struct artifact_options *options,
                  struct gw_error *err);
/* The name under which caches keep it. */
void artifact_key_hex(const struct artifact_key *key, char out[DIGEST_HEX_SIZE]);

/* Appends the artifact of a valid module. */
void artifact_build(const struct module *m, const struct artifact_key *key, const struct image *image, struct buffer *out);

/* Appends a signature (Ed25519) to what artifact_build made. `secret` is libsodium's 64 bytes. */
void artifact_sign(struct buffer *artifact, const uint8_t secret[64]);

/* Whether `bytes` claim to be an artifact: the first ARTIFACT_MAGIC_SIZE tell. */
bool artifact_is(const void *bytes, size_t size);

/* One that has been checked: whole, of this version, build and CPU. Immutable. */
struct artifact {
  const uint8_t *bytes;
  size_t size;
  void *mapping; /* NULL: bytes are the caller's */
  const struct artifact_key *key;
  const struct body_facts *facts; /* [n_funcs] */
  const uint32_t *offsets;        /* [n_offsets], inside of the code */
  const uint8_t *module;
  size_t module_size;
  const uint8_t *image;
  size_t image_size, code_size;
  uint32_t n_funcs, n_offsets;
  uint32_t stack_factor, dialect; /* dialect: the module's */
};

/* Checks bytes that outlive *out. GW_ERROR_ARTIFACT says what is wrong: damage, another version, another build, another CPU. */
bool artifact_check(const void *bytes, size_t size, struct artifact *out, struct gw_error *err);

/* Its image, which points into the artifact and must not be changed. */
struct image artifact_image(const struct artifact *a);

/* Maps the file, checks it and makes its code executable; it may be unlinked meanwhile, but not written. `fd` stays the caller's.
 */
struct artifact *artifact_map(int fd, struct gw_error *err);
/* Its code must not be running. NULL is allowed. */
void artifact_unmap(struct artifact *artifact);

/* Whether it is signed by the owner of one of `n` public keys of 32 bytes each. */
bool artifact_verify(const struct artifact *artifact, const uint8_t (*keys)[32], size_t n);

/* Whether it fits an engine's options; says what differs. The optimisation level does not matter. */
bool artifact_fits(const struct artifact *artifact, const struct artifact_options *options, struct gw_error *err);

#endif
