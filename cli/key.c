/* gasworks key: makes a pair of keys for signing artifacts. */
#include "cli/key.h"

#include "base/error.h"
#include "base/heap.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_key(const char *path, uint8_t *out, size_t size, const char *what, struct gw_error *err) {
  struct buffer text = {0};
  const char *end;
  size_t n = 0;
  bool is_read = buffer_read_file(&text, path, 4096, err);
  if (!is_read && err->code != GW_ERROR_TOO_LARGE) return false;
  bool ok = is_read && sodium_hex2bin(out, size, (const char *)text.bytes, text.size, "\r\n", &n, &end) == 0 && n == size &&
            end == (const char *)text.bytes + text.size;
  if (is_read) sodium_memzero(text.bytes, text.size);
  buffer_clear(&text);
  if (!is_read) *err = (struct gw_error){0};
  return ok || error_set(err, GW_ERROR_USAGE, "%s holds no %s key: one line of %zu hexadecimal digits", path, what, 2 * size);
}

bool cli_read_secret_key(const char *path, uint8_t out[64], struct gw_error *err) {
  return read_key(path, out, 64, "secret", err);
}
bool cli_read_public_key(const char *path, uint8_t out[32], struct gw_error *err) {
  return read_key(path, out, 32, "public", err);
}

/* An existing key is not overwritten. */
static bool write_key(const char *path, const uint8_t *key, size_t size, mode_t mode, struct gw_error *err) {
  char text[2 * 64 + 2];
  sodium_bin2hex(text, sizeof text, key, size);
  strcat(text, "\n");
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  int saved = errno;
  if (fd >= 0 && close(fd)) ok = false;
  sodium_memzero(text, sizeof text);
  return ok || error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(saved));
}

static void show(const char *path, const char *public_path, const uint8_t public[32], bool is_json) {
  char key[2 * 32 + 1];
  if (!is_json) {
    printf("%s signs artifacts: keep it secret\n%s is for `gasworks serve --trust`\n", path, public_path);
    return;
  }
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "secret_file", path);
  cJSON_AddStringToObject(json, "public_file", public_path);
  cJSON_AddStringToObject(json, "public_key", sodium_bin2hex(key, sizeof key, public, 32));
  cli_print_json(json, false);
}

static bool make_keys(const char *path, bool is_json, struct gw_error *err) {
  uint8_t public[32], secret[64];
  char *public_path = heap_new(1, strlen(path) + sizeof ".pub");
  sprintf(public_path, "%s.pub", path);
  bool ok = sodium_init() >= 0 && crypto_sign_keypair(public, secret) == 0;
  if (!ok) error_set(err, GW_ERROR_UNAVAILABLE, "libsodium does not start");
  ok = ok && write_key(path, secret, sizeof secret, 0600, err) && write_key(public_path, public, sizeof public, 0644, err);
  if (ok) show(path, public_path, public, is_json);
  sodium_memzero(secret, sizeof secret);
  free(public_path);
  return ok;
}

int cli_key(int argc, char **argv) {
  bool is_json = false;
  const struct cli_option options[] = {{"json", 0, CLI_FLAG, &is_json, NULL, "the files and the public key as JSON"}};
  const struct cli_command command = {
      .name = "key",
      .arguments = "FILE",
      .description =
          "Makes a pair of keys: FILE signs artifacts (`gasworks compile --sign FILE`), FILE.pub is what servers trust\n"
          "(`gasworks serve --trust FILE.pub`).",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  return make_keys(argv[0], is_json, &err) ? 0 : cli_fail(&err);
}
