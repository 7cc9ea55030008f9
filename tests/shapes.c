/* Modules through whole servers, one of each kind: interpreting, compiling without optimisation, with it and without checkpoints,
 * and compiling in the background. Deployed, called, deployed again, called, left by a client, deleted: all servers must say the
 * same, for the same gas, and none may end.
 *
 *   shapes [--seconds S] [--count N] [--seed N]     modules of every shape, made here
 *   shapes --files                                  those that standard input names, one a line (server_fuzz.js)
 *
 * A shape: what is exported under the names that the server looks for, and of which kind; which functions are imported; which
 * memories there are; whether there is a start function; what the entry does. A seed always gives the same module. */
#include "tests/http_client.h"
#include "tests/wasm_bytes.h"

#include "base/error.h"

#include <inttypes.h>
#include <time.h>

/* --- modules --------------------------------------------------------------------------------------------------------- */

struct host_function {
  const char *module, *name, *signature;
};

static const struct host_function host_functions[] = {
#define FUNCTION(name, signature, c) {"gasworks", #name, signature},
#include "runtime/host/handler.def"
#undef FUNCTION
#define ___ 0
#define WASI(name, signature, fd, kind, same, calls, rights) {"wasi_snapshot_preview1", #name, signature},
#include "runtime/host/wasi/wasi.def"
#undef WASI
#undef ___
    {"env", "abort", "_iiii"},
    {"gasworks", "no_such_function", "_"},
    {"wasi_snapshot_preview1", "fd_write", "_"}, /* of another type */
};

enum { N_HOST_FUNCTIONS = sizeof host_functions / sizeof *host_functions, N_WRONG = 2, MAX_IMPORTS = 12 };

enum export_kind { EXPORT_NONE, EXPORT_RIGHT, EXPORT_WRONG_TYPE, EXPORT_GLOBAL, N_EXPORT_KINDS };
enum memory_kind { MEMORY_NONE, MEMORY_EXPORTED, MEMORY_HIDDEN, MEMORY_TWO, MEMORY_64, N_MEMORY_KINDS };
enum start_kind { START_NONE, START_PLAIN, START_TRAPS, N_START_KINDS };
enum body_kind { BODY_EMPTY, BODY_CALLS, BODY_UNREACHABLE, BODY_FAULT, BODY_ENDLESS, BODY_GROWS, BODY_RECURSES, N_BODY_KINDS };

struct shape {
  enum export_kind handle, start, initialize;
  enum memory_kind memory;
  enum start_kind start_function;
  enum body_kind body;
  bool spends; /* so much that there is something to keep behind it */
  uint32_t n_imports;
  const struct host_function *imports[MAX_IMPORTS];
};

static uint64_t random_state;

static uint32_t rnd(uint32_t n) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)((random_state * 2685821657736338717ull) >> 33) % n;
}

/* Half of the entries are right, or most modules could not be deployed. */
static enum export_kind any_export(void) { return rnd(2) ? EXPORT_RIGHT : (enum export_kind)rnd(N_EXPORT_KINDS); }

static void make_shape(struct shape *s, uint64_t seed) {
  random_state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (int i = 0; i < 8; i++) rnd(2);
  *s = (struct shape){.handle = any_export(), .start = (enum export_kind)rnd(N_EXPORT_KINDS)};
  s->initialize = (enum export_kind)rnd(N_EXPORT_KINDS);
  s->memory = rnd(2) ? MEMORY_EXPORTED : (enum memory_kind)rnd(N_MEMORY_KINDS);
  s->start_function = rnd(2) ? START_NONE : (enum start_kind)rnd(N_START_KINDS);
  s->body = rnd(2) ? BODY_CALLS : (enum body_kind)rnd(N_BODY_KINDS);
  s->spends = rnd(3) == 0;
  s->n_imports = rnd(MAX_IMPORTS + 1);
  bool may_be_wrong = rnd(16) == 0;
  for (uint32_t i = 0; i < s->n_imports; i++)
    s->imports[i] = &host_functions[rnd(N_HOST_FUNCTIONS - (may_be_wrong ? 0 : N_WRONG))];
}

static void put_name(struct buffer *b, const char *name) {
  wasm_leb(b, strlen(name));
  buffer_append_string(b, name);
}

static uint32_t value_type(char c) { return c == 'I' ? 0x7e : 0x7f; }

/* Types 0: [] -> [], 1: [i32] -> [], then one for each import. */
static void put_types(struct buffer *b, const struct shape *s) {
  wasm_leb(b, 2 + s->n_imports);
  buffer_append(b, "\x60\0\0\x60\1\x7f\0", 7);
  for (uint32_t i = 0; i < s->n_imports; i++) {
    const char *text = s->imports[i]->signature, *params = strchr(text, '_') + 1;
    wasm_byte(b, 0x60);
    wasm_leb(b, strlen(params));
    for (const char *p = params; *p; p++) wasm_byte(b, value_type(*p));
    wasm_leb(b, (uint64_t)(params - 1 - text));
    for (const char *p = text; *p != '_'; p++) wasm_byte(b, value_type(*p));
  }
}

static void put_const(struct buffer *b, char type, int64_t value) {
  wasm_byte(b, type == 'I' ? 0x42 : 0x41);
  wasm_signed_leb(b, value);
}

/* Which argument says where to put what differs from server to server, or -1: nothing else reads there, be it a path or a reply.
 */
static int place_of_random(const struct host_function *f) {
  if (strcmp(f->name, "random") == 0 || strcmp(f->name, "random_get") == 0) return 0;
  return strcmp(f->name, "clock_time_get") == 0 ? 2 : -1;
}

/* Arguments are small, so that they are lengths, descriptors and addresses that often are good. */
static void put_calls(struct buffer *b, const struct shape *s) {
  for (uint32_t i = 0; i < s->n_imports; i++) {
    const char *text = s->imports[i]->signature, *params = strchr(text, '_') + 1;
    bool is_reply = strcmp(s->imports[i]->name, "reply") == 0, is_status = strcmp(s->imports[i]->name, "reply_status") == 0;
    int apart = place_of_random(s->imports[i]);
    for (const char *p = params; *p; p++) {
      int64_t usual = rnd(8) ? 64 : rnd(5);
      put_const(b, *p, is_reply ? 16 : is_status ? 201 : p - params == apart ? 4096 : usual);
    }
    wasm_byte(b, 0x10);
    wasm_leb(b, i);
    for (const char *p = text; *p != '_'; p++) wasm_byte(b, 0x1a);
  }
}

static void put_spending(struct buffer *b, const struct shape *s) {
  if (!s->spends) return;
  put_const(b, 'i', 9000); /* local 0 counts down */
  buffer_append(b, "\x21\0\x03\x40\x20\0\x41\1\x6b\x22\0\x0d\0\x0b", 14);
}

static void put_body_code(struct buffer *b, const struct shape *s, uint32_t self) {
  char address = s->memory == MEMORY_64 ? 'I' : 'i';
  bool has_memory = s->memory != MEMORY_NONE;
  put_spending(b, s);
  switch (s->body) {
  case BODY_EMPTY: break;
  case BODY_CALLS: put_calls(b, s); break;
  case BODY_FAULT:
    if (!has_memory) break;
    put_const(b, address, 1 << 20);
    buffer_append(b, "\x28\2\0\x1a", 4);
    break;
  case BODY_ENDLESS: buffer_append(b, "\x03\x40\x0c\0\x0b", 5); break;
  case BODY_GROWS:
    if (!has_memory) break;
    put_const(b, address, 1);
    buffer_append(b, "\x40\0\x1a", 3);
    break;
  case BODY_RECURSES:
    wasm_byte(b, 0x10);
    wasm_leb(b, self);
    break;
  case BODY_UNREACHABLE:
    put_calls(b, s);
    wasm_byte(b, 0);
    break;
  case N_BODY_KINDS: break;
  }
}

/* Functions behind the imports: entry, one of the wrong type, initialiser, start function. */
enum { ENTRY, WRONG, INITIALIZER, STARTER, N_FUNCS };

static void put_code(struct buffer *b, const struct shape *s) {
  wasm_leb(b, N_FUNCS);
  for (uint32_t f = 0; f < N_FUNCS; f++) {
    struct buffer code = {0};
    bool is_plain = f == WRONG;
    buffer_append(&code, is_plain ? "\0" : "\1\1\x7f", is_plain ? 1 : 3); /* a local that spending counts in */
    if (f == ENTRY) put_body_code(&code, s, s->n_imports + ENTRY);
    if (f == INITIALIZER || f == STARTER) put_spending(&code, s);
    if (f == STARTER && s->start_function == START_TRAPS) wasm_byte(&code, 0);
    wasm_byte(&code, 0x0b);
    wasm_sized(b, &code);
    buffer_clear(&code);
  }
}

static uint32_t put_export(struct buffer *b, const struct shape *s, const char *name, enum export_kind kind, uint32_t right) {
  if (kind == EXPORT_NONE) return 0;
  put_name(b, name);
  wasm_byte(b, kind == EXPORT_GLOBAL ? 3 : 0);
  wasm_leb(b, kind == EXPORT_GLOBAL ? 0 : s->n_imports + (kind == EXPORT_RIGHT ? right : WRONG));
  return 1;
}

static void put_exports(struct buffer *b, const struct shape *s) {
  struct buffer list = {0};
  uint32_t n = put_export(&list, s, "handle", s->handle, ENTRY);
  n += put_export(&list, s, "_start", s->start, ENTRY);
  n += put_export(&list, s, "_initialize", s->initialize, INITIALIZER);
  if (s->memory != MEMORY_NONE && s->memory != MEMORY_HIDDEN) {
    put_name(&list, "memory");
    buffer_append(&list, "\2\0", 2);
    n++;
  }
  wasm_leb(b, n);
  buffer_append(b, list.bytes, list.size);
  buffer_clear(&list);
}

static void put_section(struct buffer *out, uint32_t id, struct buffer *content) {
  wasm_section(out, id, content);
  content->size = 0;
}

static void write_shape(const struct shape *s, struct buffer *out) {
  static const char *const memories[] = {"\0", "\1\0\1", "\1\0\1", "\2\0\1\0\1", "\1\4\1"};
  static const size_t memory_sizes[] = {1, 3, 3, 5, 3};
  struct buffer b = {0};
  buffer_append(out, "\0asm\1\0\0\0", 8);
  put_types(&b, s);
  put_section(out, 1, &b);
  wasm_leb(&b, s->n_imports);
  for (uint32_t i = 0; i < s->n_imports; i++) {
    put_name(&b, s->imports[i]->module);
    put_name(&b, s->imports[i]->name);
    wasm_byte(&b, 0);
    wasm_leb(&b, 2 + i);
  }
  put_section(out, 2, &b);
  buffer_append(&b, "\4\0\1\0\0", 5);
  put_section(out, 3, &b);
  buffer_append(&b, memories[s->memory], memory_sizes[s->memory]);
  put_section(out, 5, &b);
  buffer_append(&b, "\1\x7f\0\x41\7\x0b", 6);
  put_section(out, 6, &b);
  put_exports(&b, s);
  put_section(out, 7, &b);
  if (s->start_function != START_NONE) {
    wasm_leb(&b, s->n_imports + STARTER);
    put_section(out, 8, &b);
  }
  put_code(&b, s);
  put_section(out, 10, &b);
  buffer_clear(&b);
}

/* --- servers --------------------------------------------------------------------------------------------------------- */

enum { N_SERVERS = 5, N_CALLS = 4 };

static const struct {
  const char *name;
  enum tier_choice tier;
  uint32_t opt_level;
  bool checkpoints;
} kinds[N_SERVERS] = {
    {"precise", TIER_PRECISE, 0, true}, {"baseline", TIER_BASELINE, 0, true},
    {"fast -O0", TIER_FAST, 0, true},   {"fast -O2, no checkpoints", TIER_FAST, 2, false},
    {"auto -O1", TIER_AUTO, 1, true},
};

static struct server *servers[N_SERVERS];
static char *directories[N_SERVERS];
static uint64_t n_deployed, n_called, n_by_class[6];

static void start_servers(void) {
  for (int i = 0; i < N_SERVERS; i++) {
    directories[i] = make_data_dir();
    struct server_options o = test_options(directories[i]);
    o.n_loops = 1;
    o.tier = kinds[i].tier;
    o.opt_level = kinds[i].opt_level;
    o.checkpoints = kinds[i].checkpoints;
    o.gas_limit = 3000000;
    o.slice = 100000;
    o.max_memory = 4 << 20;
    o.cache_dir = "off";
    servers[i] = start(&o);
  }
}

static void stop_servers(void) {
  for (int i = 0; i < N_SERVERS; i++) {
    server_destroy(servers[i]);
    remove_data_dir(directories[i]);
  }
}

/* What one server made of one request. `said` is the body, or of a problem what was wrong. */
struct answer {
  int status;
  char gas[32], said[512];
};

static void take_answer(struct answer *a, struct reply *r) {
  *a = (struct answer){.status = r->status};
  header(r, "Gasworks-Gas", a->gas, sizeof a->gas);
  const char *trap = strstr(r->body ? r->body : "", "\"trap\":"), *title = strstr(r->body ? r->body : "", "\"title\":");
  const char *said = r->status < 400 ? r->body : trap ? trap : title;
  if (said) snprintf(a->said, sizeof a->said, "%.*s", r->status < 400 ? 500 : (int)strcspn(said, ","), said);
  reply_clear(r);
}

static bool is_same(const struct answer *a, const struct answer *b, bool has_exact_gas) {
  return a->status == b->status && strcmp(a->said, b->said) == 0 && (!has_exact_gas || strcmp(a->gas, b->gas) == 0);
}

/* The same request to all; false when they do not agree. */
static bool ask(const char *method, const char *path, const void *body, size_t size, bool has_exact_gas, int *status) {
  struct answer answers[N_SERVERS];
  bool ok = true;
  for (int i = 0; i < N_SERVERS; i++) {
    struct reply r = request(server_port(servers[i]), method, path, body, size);
    take_answer(&answers[i], &r);
    if (strncmp(path, "/f/", 3) != 0) answers[i].said[0] = 0; /* digests and times */
    if (!answers[i].status || !is_same(&answers[i], &answers[0], has_exact_gas)) ok = false;
  }
  *status = answers[0].status;
  n_by_class[answers[0].status / 100 < 6 ? answers[0].status / 100 : 0]++;
  for (int i = 0; i < N_SERVERS && !ok; i++)
    printf("  %s %s, %s: %d, gas %s, %s\n", method, path, kinds[i].name, answers[i].status, answers[i].gas, answers[i].said);
  return ok;
}

/* Calls it and does not wait for the reply. */
static void leave(const char *path) {
  char text[128];
  for (int i = 0; i < N_SERVERS; i++) {
    int fd = dial(server_port(servers[i]));
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
    send_text(fd, text);
    close(fd);
  }
}

static bool call_all(bool has_exact_gas) {
  static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
  static const char *const paths[] = {"/f/m", "/f/m/a/b?c=d", "/f/m?x", "/f/m/%41%20"};
  uint8_t body[300];
  int status;
  bool ok = true;
  for (int i = 0; i < N_CALLS && ok; i++) {
    size_t size = rnd(2) ? rnd(sizeof body) : 0;
    for (size_t k = 0; k < size; k++) body[k] = (uint8_t)rnd(256);
    ok = ask(methods[rnd(4)], paths[rnd(4)], body, size, has_exact_gas, &status);
    n_called++;
  }
  return ok;
}

/* The whole life of one module as function m. */
static bool live(const struct buffer *bytes, bool has_exact_gas, bool must_deploy) {
  int status;
  if (!ask("PUT", "/v1/functions/m", bytes->bytes, bytes->size, false, &status)) return false;
  if (status >= 300) return status < 500 && !must_deploy;
  n_deployed++;
  bool ok = call_all(has_exact_gas) && ask("PUT", "/v1/functions/m", bytes->bytes, bytes->size, false, &status);
  if (rnd(4) == 0) leave("/f/m");
  ok = ok && call_all(has_exact_gas);
  if (rnd(4) == 0) leave("/f/m");
  ok = ok && ask("DELETE", rnd(2) ? "/v1/functions/m" : "/v1/functions/m?state=delete", NULL, 0, false, &status) && status == 204;
  return ok && ask("GET", "/f/m", NULL, 0, false, &status) && status == 404 && ask("GET", "/healthz", NULL, 0, false, &status) &&
         status == 200;
}

/* --- drivers --------------------------------------------------------------------------------------------------------- */

static bool try_seed(uint64_t seed) {
  struct shape s;
  struct buffer bytes = {0};
  make_shape(&s, seed);
  write_shape(&s, &bytes);
  bool ok = live(&bytes, true, false);
  if (!ok) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/gasworks-shape-%" PRIu64 ".wasm", seed);
    FILE *file = fopen(path, "wb");
    if (file) {
      fwrite(bytes.bytes, 1, bytes.size, file);
      fclose(file);
    }
    printf("seed %" PRIu64 ": the servers disagree, see %s\n", seed, path);
  }
  buffer_clear(&bytes);
  return ok;
}

static uint64_t read_leb(const struct buffer *b, size_t *at) {
  uint64_t value = 0;
  for (uint32_t shift = 0; *at < b->size && shift < 64; shift += 7) {
    uint8_t byte = b->bytes[(*at)++];
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

/* A start function may trap, which refuses the module. */
static bool has_start(const struct buffer *b) {
  for (size_t at = 8; at < b->size;) {
    if (b->bytes[at++] == 8) return true;
    uint64_t size = read_leb(b, &at);
    at += size;
  }
  return false;
}

static bool try_files(void) {
  char line[1024];
  bool ok = true;
  for (uint64_t n = 1; fgets(line, sizeof line, stdin); n++) {
    struct buffer bytes = {0};
    struct gw_error err = {0};
    line[strcspn(line, "\n")] = 0;
    random_state = n * 0x9e3779b97f4a7c15ull + 1;
    if (!buffer_read_file(&bytes, line, 4 << 20, &err) || !live(&bytes, true, !has_start(&bytes))) {
      printf("%s: %s\n", line, err.code ? err.message : "the servers disagree");
      ok = false;
    } else {
      unlink(line);
    }
    buffer_clear(&bytes);
  }
  return ok;
}

int main(int argc, char **argv) {
  uint64_t seed = 1, count = UINT64_MAX, seconds = 100000000;
  bool has_files = argc == 2 && strcmp(argv[1], "--files") == 0, ok = true;
  for (int i = 1; i < argc && !has_files; i += 2) {
    uint64_t *option = !strcmp(argv[i], "--seed")      ? &seed
                       : !strcmp(argv[i], "--count")   ? &count
                       : !strcmp(argv[i], "--seconds") ? &seconds
                                                       : NULL;
    if (!option || !argv[i + 1]) {
      fprintf(stderr, "shapes: %s is no option, or lacks its number\n", argv[i]);
      return 2;
    }
    *option = strtoull(argv[i + 1], NULL, 10);
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  start_servers();
  time_t end = time(NULL) + (time_t)seconds;
  if (has_files) ok = try_files();
  for (uint64_t i = 0; !has_files && i < count && time(NULL) < end; i++) ok = try_seed(seed + i) && ok;
  printf("%" PRIu64 " deployed, %" PRIu64 " calls; replies", n_deployed, n_called);
  for (int i = 2; i < 6; i++) printf(" %dxx: %" PRIu64, i, n_by_class[i]);
  printf("\n");
  stop_servers();
  return ok ? 0 : 1;
}
