/* gasworks compile: a module becomes an artifact, which runs without the compiler. Servers run this as a child process, within
 * limits (jit/artifact/child.c). */
#define _GNU_SOURCE /* SCM_RIGHTS and prctl */
#include "cli/cli.h"

#include "base/error.h"
#include "base/files.h"
#include "cli/gas.h"
#include "cli/key.h"
#include "cli/module.h"
#include "cli/progress.h"
#include "instrument/schedule.h"
#include "jit/artifact/artifact.h"
#include "jit/artifact/cache.h"
#include "jit/artifact/file_kind.h"
#include "runtime/engine.h"
#include "server/walls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST_ARTIFACT = 1 << 30 };

struct compile {
  const char *input, *output, *schedule_path, *cpu, *sign_path, *keep_path;
  uint32_t opt_level, threads, max_seconds, parent;
  uint64_t max_memory;
  bool gas, is_nice, is_batch, wants_stats, wants_json;
  struct schedule schedule;
  struct gw_cache *cache; /* with keep_path */
  struct gw_engine *engine;
  struct gw_module *module;
  struct buffer artifact;
};

static bool limit(int resource, rlim_t value, struct gw_error *err) {
  struct rlimit l = {value, value};
  return setrlimit(resource, &l) == 0 ||
         error_set(err, GW_ERROR_USAGE, "the limits cannot be set: they are above this process's own");
}

/* Sanitizers reserve terabytes of addresses, and then nothing at all could be compiled. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
static const bool has_shadow_memory = true;
#else
static const bool has_shadow_memory = false;
#endif

/* So many seconds from now. The signal at the limit tells it from SIGKILL, which comes a little later or from elsewhere. */
static bool limit_time(uint32_t seconds, struct gw_error *err) {
  enum { UNTIL_KILL = 5 };
  struct rlimit l;
  struct rusage used;
  getrlimit(RLIMIT_CPU, &l);
  getrusage(RUSAGE_SELF, &used);
  rlim_t at = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + seconds;
  if (at + UNTIL_KILL > l.rlim_max) return error_set(err, GW_ERROR_USAGE, "--max-seconds is above this process's own limit");
  l.rlim_cur = at;
  return setrlimit(RLIMIT_CPU, &l) == 0 || error_set(err, GW_ERROR_USAGE, "the limit of CPU time cannot be set");
}

/* The parent may have ended before the system was told. */
static bool follow_parent(uint32_t parent, struct gw_error *err) {
  if (!parent) return true;
  bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && (uint32_t)getppid() == parent;
  return ok ? limit(RLIMIT_CORE, 0, err) : error_set(err, GW_ERROR_UNAVAILABLE, "process %u is not the parent", parent);
}

static bool set_limits(const struct compile *c, struct gw_error *err) {
  enum { NICE = 10 };
  if (!follow_parent(c->parent, err)) return false;
  if (c->is_nice) setpriority(PRIO_PROCESS, 0, NICE);
  if (c->max_seconds && !limit_time(c->max_seconds, err)) return false;
  if (!c->max_memory || has_shadow_memory) return true;
  return limit(RLIMIT_AS, c->max_memory, err) && limit(RLIMIT_FSIZE, LARGEST_ARTIFACT, err) && limit(RLIMIT_CORE, 0, err);
}

static bool make_engine(struct compile *c, struct gw_error *err) {
  struct gw_engine_options options = {
      .opt_level = c->opt_level, .gas = c->gas, .threads = c->threads, .schedule = &c->schedule, .cache = c->cache};
  if (!cli_read_schedule(c->schedule_path, &c->schedule, err)) return false;
  cli_show_progress(&options);
  c->engine = gw_engine_create(&options, err);
  return c->engine != NULL;
}

/* A server's child: it has all it needs when the compiler is loaded. */
static bool close_walls(const struct compile *c, struct gw_error *err) {
  return !c->parent || (compiler_load(err) && walls_around_compiler(err));
}

static bool load(struct compile *c, struct gw_error *err) {
  struct buffer bytes = {0};
  if (cli_read_file(&bytes, c->input, err) && file_is_module(bytes.bytes, bytes.size, err))
    c->module = gw_module_create(c->engine, bytes.bytes, bytes.size, err);
  buffer_clear(&bytes);
  if (!c->module && strcmp(c->input, "-") != 0) cli_name_file(err, c->input); /* servers send theirs on standard input */
  return c->module != NULL;
}

static bool make(struct compile *c, struct gw_error *err) {
  if (load(c, err)) c->artifact.bytes = gw_module_make_artifact(c->module, c->cpu, &c->artifact.size, err);
  c->artifact.capacity = c->artifact.size;
  return c->artifact.bytes != NULL;
}

static bool sign(struct compile *c, struct gw_error *err) {
  uint8_t secret[64];
  if (!c->sign_path) return true;
  if (!cli_read_secret_key(c->sign_path, secret, err)) return false;
  artifact_sign(&c->artifact, secret);
  memset(secret, 0, sizeof secret);
  return true;
}

static bool write_output(const struct compile *c, struct gw_error *err) {
  if (strcmp(c->output, "-") != 0) return file_write_durably(c->output, c->artifact.bytes, c->artifact.size, 0666, err);
  bool ok = fwrite(c->artifact.bytes, 1, c->artifact.size, stdout) == c->artifact.size && fflush(stdout) == 0;
  return ok || error_set(err, GW_ERROR_IO, "cannot write the artifact to standard output");
}

static void show_stats(const struct compile *c) {
  struct gw_module_stats s;
  struct rusage used;
  gw_module_stats(c->module, &s);
  getrusage(RUSAGE_SELF, &used);
  const struct {
    const char *name;
    double seconds;
  } times[] = {{"decode", s.seconds_decode}, {"validate", s.seconds_validate}, {"lower", s.seconds_lower},
               {"charge", s.seconds_charge}, {"optimize", s.seconds_optimize}, {"emit", s.seconds_emit},
               {"link", s.seconds_link}};
  const struct module *m = gw_module_decoded(c->module);
  cJSON *json = cJSON_CreateObject(), *seconds = cJSON_CreateObject();
  cli_json_count(json, "module_bytes", m->size);
  cli_json_count(json, "code_section_bytes", m->code_size);
  cli_json_count(json, "artifact_bytes", c->artifact.size);
  cli_json_count(json, "peak_memory_bytes", (uint64_t)used.ru_maxrss * 1024);
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    if (!c->wants_json) fprintf(stderr, "%-12s %12.3f ms\n", times[i].name, times[i].seconds * 1e3);
    cJSON_AddNumberToObject(seconds, times[i].name, times[i].seconds);
  }
  cJSON_AddItemToObject(json, "cpu_seconds", seconds);
  if (c->wants_json) {
    cli_print_json(json, true);
    return;
  }
  cJSON_Delete(json);
  fprintf(stderr, "%-12s %12zu bytes\n%-12s %12zu bytes\n%-12s %12ld KiB\n", "module", m->size, "artifact", c->artifact.size,
          "peak memory", used.ru_maxrss);
}

/* FILE.gwa beside FILE.wasm. */
static char *default_output(const char *input) {
  size_t size = strlen(input), stem = size > 5 && strcmp(input + size - 5, ".wasm") == 0 ? size - 5 : size;
  char *path = malloc(stem + sizeof ".gwa");
  if (!path) abort();
  snprintf(path, stem + sizeof ".gwa", "%.*s.gwa", (int)stem, input);
  return path;
}

/* --- one after another (jit/artifact/child_batch.c) --------------------------------------------------------------------- */

enum { BATCH_SOCKET = 4, BATCH_FDS = 3, BATCH_IDLE_MS = 10000 };

/* The next job's descriptors; false when there is none, and none comes. */
static bool receive_job(int fds[BATCH_FDS]) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(BATCH_FDS * sizeof(int))];
  } control;
  char byte;
  struct iovec data = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct pollfd job = {.fd = BATCH_SOCKET, .events = POLLIN};
  if (poll(&job, 1, BATCH_IDLE_MS) != 1 || recvmsg(BATCH_SOCKET, &message, MSG_CMSG_CLOEXEC) != 1) return false;
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(BATCH_FDS * sizeof(int))) return false;
  memcpy(fds, CMSG_DATA(c), BATCH_FDS * sizeof(int));
  return true;
}

/* Standard input and output lead where the job wants them, so that one module is compiled as any other. */
static bool do_job(struct compile *c, const int fds[BATCH_FDS]) {
  struct gw_error err = {0};
  char answer;
  bool ok = dup2(fds[0], STDIN_FILENO) >= 0 && dup2(fds[1], STDOUT_FILENO) >= 0 && dup2(fds[2], STDERR_FILENO) >= 0;
  clearerr(stdout);
  ok = ok && (!c->max_seconds || limit_time(c->max_seconds, &err)) && make(c, &err) && write_output(c, &err);
  if (!ok) dprintf(STDERR_FILENO, "%s\n", err.message);
  for (int i = 0; i < BATCH_FDS; i++) close(fds[i]);
  gw_module_release(c->module);
  c->module = NULL;
  buffer_clear(&c->artifact);
  answer = ok;
  return send(BATCH_SOCKET, &answer, 1, MSG_NOSIGNAL) == 1;
}

static bool do_jobs(struct compile *c) {
  int fds[BATCH_FDS];
  while (receive_job(fds) && do_job(c, fds)) {
  }
  return true;
}

/* What `run` leaves behind (cli/later.c): into the cache, unless another process is at it. */
static bool fill_cache(struct compile *c, struct gw_error *err) {
  c->cache = gw_cache_open(c->keep_path, 0, err);
  if (!c->cache) return false;
  return !cache_claim(c->cache) || (make_engine(c, err) && load(c, err) && gw_module_compile(c->module, err));
}

static bool write_artifact(struct compile *c, struct gw_error *err) {
  if (!make_engine(c, err) || !close_walls(c, err)) return false;
  return c->is_batch ? do_jobs(c) : make(c, err) && sign(c, err) && write_output(c, err);
}

static int compile(struct compile *c) {
  struct gw_error err = {0};
  char *path = c->output ? NULL : default_output(c->input);
  if (path) c->output = strcmp(c->input, "-") == 0 ? "-" : path;
  bool ok = set_limits(c, &err) && (c->keep_path ? fill_cache(c, &err) : write_artifact(c, &err));
  if (ok && c->module && (c->wants_stats || c->wants_json)) show_stats(c);
  gw_module_release(c->module);
  gw_engine_destroy(c->engine);
  gw_cache_close(c->cache);
  buffer_clear(&c->artifact);
  free(path);
  int status = ok ? 0 : cli_fail(&err);
  if (!c->parent) return status;
  fflush(NULL);
  _exit(status); /* what libraries do at the end, such as looking for leaks, walls forbid */
}

int cli_compile(int argc, char **argv) {
  struct compile c = {.opt_level = 2, .gas = true};
  const struct cli_option options[] = {
      {"output", 'o', CLI_TEXT, &c.output, "FILE", "the artifact; FILE.gwa beside FILE.wasm unless told, - is standard output"},
      {"optimize", 'O', CLI_LEVEL, &c.opt_level, "0..3", "optimisation level; 2 unless told"},
      {"gas", 0, CLI_ON_OFF, &c.gas, "on|off", "meter; on unless told"},
      {"schedule", 0, CLI_TEXT, &c.schedule_path, "FILE",
       "prices, as `gasworks schedule --text` prints them; built in unless told"},
      {"cpu", 0, CLI_TEXT, &c.cpu, "NAME",
       "x86-64-v2, x86-64-v3 or x86-64-v4: for all machines of that level; this one unless told"},
      {"threads", 0, CLI_U32, &c.threads, "N", "one per core unless told; the artifact does not depend on it"},
      {"sign", 0, CLI_TEXT, &c.sign_path, "KEY", "sign with this key (`gasworks key`), for servers that trust it"},
      {"max-seconds", 0, CLI_U32, &c.max_seconds, "N", "CPU time after which compiling is ended; unlimited unless told"},
      {"max-memory", 0, CLI_SIZE, &c.max_memory, "BYTES",
       "address space that compiling may take (K M G allowed); unlimited unless told"},
      {"nice", 0, CLI_FLAG, &c.is_nice, NULL, "let everything else on the machine go first"},
      {"parent", 0, CLI_U32, &c.parent, "PID", "end when this process does, which must be the parent"},
      {"batch", 0, CLI_FLAG, &c.is_batch, NULL, "take modules from the socket that is descriptor 4, as servers send them"},
      {"keep", 0, CLI_TEXT, &c.keep_path, "DIR",
       "put it into this cache instead, as `run` has it done; one at a time, others do nothing"},
      {"stats", 0, CLI_FLAG, &c.wants_stats, NULL, "CPU times, sizes and memory on standard error"},
      {"json", 0, CLI_FLAG, &c.wants_json, NULL, "the same as JSON"},
  };
  const struct cli_command command = {
      .name = "compile",
      .arguments = "FILE.wasm",
      .description =
          "Compiles a module ahead of time. `gasworks run FILE.gwa` runs the result, on machines with the same build of\n"
          "gasworks and the same kind of CPU, without the compiler. FILE - is standard input.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  c.input = argv[0];
  return compile(&c);
}
