/* The process that compiles (jit/artifact/child.h): what it may answer, how it may end, what it is asked. The wrong ones are this
 * program itself, started by a script: `test_child fake MODE DIRECTORY [LEVELS]`, where at one of LEVELS it is the real one. */
#define _GNU_SOURCE /* memfd_create */
#include "jit/artifact/child_protocol.h"

#include "base/error.h"
#include "jit/artifact/artifact.h"
#include "runtime/engine.h"
#include "tests/bombs.h"
#include "tests/large.h"
#include "tests/shell.h"
#include "tests/wat.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define REAL BUILD_DIR "/gasworks"

static char directory[] = "/tmp/gasworks-test-child-XXXXXX";
static char this_program[1024];

static const char small[] = "(module (func (export \"f\") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))";

/* --- wrong compilers ---------------------------------------------------------------------------------------------------- */

static struct compile_answer said(enum compile_outcome outcome, enum gw_error_code code, const char *message) {
  struct gw_error err = {.code = code, .offset = 7, .func = 3};
  struct compile_answer a;
  snprintf(err.message, sizeof err.message, "%s", message);
  child_answer_init(&a, outcome, &err);
  return a;
}

static void say(const void *bytes, size_t size) {
  if (send(STDIN_FILENO, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) _exit(99);
}

static void say_sized(size_t size) {
  struct compile_answer a[2] = {said(COMPILE_REFUSED, GW_ERROR_LIMIT, "it is too large")};
  say(a, size);
}

/* An answer that is sound but for one thing. */
static void say_wrong(int what) {
  struct compile_answer a = said(COMPILE_REFUSED, GW_ERROR_LIMIT, "it is too large");
  if (what == 'b') a.build.bytes[31] ^= 1;
  if (what == 's') a.size++;
  if (what == '0') a.outcome = COMPILE_NOTHING;
  if (what == 'o') a.outcome = COMPILE_OUTCOMES;
  if (what == 'O') a.outcome = UINT32_MAX;
  if (what == 'm') memset(a.message, 'x', sizeof a.message);
  if (what == 'n') a.code = GW_ERROR_NONE;
  if (what == 't') a.code = GW_ERROR_TRAP;
  if (what == 'c') a.code = GW_ERROR_COUNT;
  if (what == 'M') a.outcome = COMPILE_MADE;
  say(&a, sizeof a);
}

static void say_made(void) {
  struct compile_answer a = said(COMPILE_MADE, GW_ERROR_NONE, "");
  say(&a, sizeof a);
}

static void make_zeros(int fd) {
  static const char zeros[9999];
  fd_write_all(fd, zeros, sizeof zeros);
  say_made();
}

/* The artifact of something else. */
static void make_other(int fd, const char *where) {
  char path[1024];
  struct buffer bytes = {0};
  snprintf(path, sizeof path, "%s/other.gwa", where);
  if (!buffer_read_file(&bytes, path, 1 << 20, NULL)) _exit(98);
  fd_write_all(fd, bytes.bytes, bytes.size);
  say_made();
}

static void end_by(int number) {
  signal(number, SIG_DFL);
  kill(getpid(), number);
}

static void misbehave(const char *mode, const char *where, const int fds[CHILD_FILES]) {
  struct compile_answer a;
  if (sscanf(mode, "size-%zu", &(size_t){0}) == 1) say_sized((size_t)atoi(mode + 5));
  if (strncmp(mode, "wrong-", 6) == 0) say_wrong(mode[6]);
  if (strncmp(mode, "signal-", 7) == 0) end_by(atoi(mode + 7));
  if (strcmp(mode, "made-nothing") == 0) say_made();
  if (strcmp(mode, "made-zeros") == 0) make_zeros(fds[CHILD_ARTIFACT]);
  if (strcmp(mode, "made-other") == 0) make_other(fds[CHILD_ARTIFACT], where);
  if (strcmp(mode, "words") == 0) fputs("noise\ngasworks: it broke\n", stderr), exit(6);
  if (strcmp(mode, "sleep") == 0) pause();
  if (strcmp(mode, "deaf") == 0) close(STDIN_FILENO), pause();
  if (strcmp(mode, "refused") == 0) a = said(COMPILE_REFUSED, GW_ERROR_LIMIT, "it is too large"), say(&a, sizeof a);
  if (strcmp(mode, "no-memory") == 0) a = said(COMPILE_OUT_OF_MEMORY, GW_ERROR_NONE, ""), say(&a, sizeof a);
  if (strcmp(mode, "crashed") == 0) a = said(COMPILE_CRASHED, GW_ERROR_NONE, "Cannot select: it"), say(&a, sizeof a);
}

/* Notes the level of every request, one digit each. */
static int fake(int argc, char **argv) {
  struct compile_request r;
  int fds[CHILD_FILES];
  char path[1024];
  snprintf(path, sizeof path, "%s/levels", argv[3]);
  if (recv(STDIN_FILENO, &r, sizeof r, MSG_PEEK) != sizeof r) return 97;
  FILE *f = fopen(path, "a");
  if (!f) return 96;
  fprintf(f, "%u", r.opt_level);
  fclose(f);
  if (argc > 4 && strchr(argv[4], '0' + (int)r.opt_level)) return execl(REAL, "gasworks", CHILD_VERB, NULL);
  child_receive_request(STDIN_FILENO, &r, fds);
  misbehave(argv[2], argv[3], fds);
  return 0;
}

/* --- what comes of them --------------------------------------------------------------------------------------------------- */

static const char *write_file(const char *name, const void *bytes, size_t size) {
  return write_file_in(directory, name, bytes, size);
}

static const char *script(const char *text) {
  const char *path = write_file("compiler", text, strlen(text));
  assert_int_equal(chmod(path, 0700), 0);
  return path;
}

static const char *fake_program(const char *mode, const char *real_level) {
  char text[2048];
  snprintf(text, sizeof text, "#!/bin/sh\nexec %s fake %s %s %s\n", this_program, mode, directory, real_level);
  return script(text);
}

static struct gw_engine *engine_with(const struct gw_engine_options *options) {
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(options, &err);
  if (!engine) fail_msg("%s", err.message);
  return engine;
}

/* Compiles `text` at -O2 with the program for a compiler. */
static bool compile_by(const char *program, uint32_t seconds, uint32_t wall_seconds, const char *text, struct gw_error *err) {
  struct gw_engine *engine = engine_with(&(struct gw_engine_options){.loose_traps = true,
                                                                     .opt_level = 2,
                                                                     .gas = true,
                                                                     .compiler_program = program,
                                                                     .compile_seconds = seconds,
                                                                     .compile_wall_seconds = wall_seconds});
  struct gw_module *module = wat_module(engine, text);
  *err = (struct gw_error){0};
  bool ok = gw_module_compile(module, err);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return ok;
}

static void expect_message(const struct gw_error *err, const char *what, const char *message) {
  if (!strstr(err->message, message)) fail_msg("%s: no \"%s\" in: %s", what, message, err->message);
}

/* The levels that were asked for since the last call. */
static void expect_levels(const char *what, const char *levels) {
  struct buffer out = shell(NULL, "cat %s/levels; rm -f %s/levels", directory, directory);
  if (strcmp((const char *)out.bytes, levels) != 0) fail_msg("%s: levels %s, not %s", what, (const char *)out.bytes, levels);
  buffer_clear(&out);
}

static void make_other_artifact(void) {
  struct gw_error err = {0};
  struct gw_engine *engine = engine_with(&(struct gw_engine_options){.loose_traps = true, .opt_level = 0, .gas = true});
  struct gw_module *module = wat_module(engine, small);
  size_t size;
  void *bytes = gw_module_make_artifact(module, NULL, &size, &err);
  assert_non_null(bytes);
  write_file("other.gwa", bytes, size);
  free(bytes);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* Small modules are first tried by a process that stays ("2"), then by one of their own ("22"), then at -O0 ("220"), unless what
 * was said is the last word. */
static void test_wrong_answers(void **state) {
  (void)state;
  static const char other_build[] = "answer is not of this build", field[] = "answer has a field that cannot be";
  static const struct {
    const char *mode, *message, *levels;
  } rows[] = {
      {"size-1", other_build, "22"},
      {"size-31", other_build, "22"},
      {"size-32", "answer has 32 bytes instead of", "22"},
      {"size-375", "answer has 375 bytes instead of", "22"},
      {"size-377", "answer has 377 bytes instead of", "22"},
      {"size-752", "answer has 752 bytes instead of", "22"},
      {"wrong-b", other_build, "22"},
      {"wrong-s", "answer has 376 bytes", "22"},
      {"wrong-0", field, "22"},
      {"wrong-o", field, "22"},
      {"wrong-O", field, "22"},
      {"wrong-m", field, "22"},
      {"wrong-n", field, "22"},
      {"wrong-t", field, "22"},
      {"wrong-c", field, "22"},
      {"wrong-M", field, "22"},
      {"made-nothing", "it is empty", "2"},
      {"made-zeros", "no artifact", "2"},
      {"made-other", "something else than it was asked for", "2"},
      {"silence", "the compiler failed without saying why", "22"},
      {"words", "it broke", "22"},
      {"refused", "it is too large", "2"},
      {"no-memory", "the compiler needed more than 4294967296 bytes of memory", "220"},
      {"crashed", "the compiler crashed: Cannot select: it", "220"},
  };
  assert_int_equal(sizeof(struct compile_answer), 376);
  make_other_artifact();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct gw_error err;
    assert_false(compile_by(fake_program(rows[i].mode, ""), 0, 600, small, &err));
    expect_message(&err, rows[i].mode, rows[i].message);
    expect_levels(rows[i].mode, rows[i].levels);
    bool is_refused = strcmp(rows[i].mode, "refused") == 0; /* then the place is the child's */
    if (is_refused) assert_int_equal(err.code, GW_ERROR_LIMIT);
    if (is_refused) assert_int_equal(err.offset, 7);
    if (is_refused) assert_int_equal(err.func, 3);
  }
}

static void test_signals(void **state) {
  (void)state;
  for (int i = 1; i < 32; i++) {
    static const int others[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU}; /* they end nothing */
    char mode[32], message[128];
    struct gw_error err;
    bool is_other = false;
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) is_other |= others[k] == i;
    if (is_other) continue;
    snprintf(mode, sizeof mode, "signal-%d", i);
    snprintf(message, sizeof message, "the compiler crashed: %s", strsignal(i));
    if (i == SIGKILL) snprintf(message, sizeof message, "the compiler was killed by the system");
    if (i == SIGXCPU) snprintf(message, sizeof message, "the compiler was ended after 20 seconds of CPU time");
    assert_false(compile_by(fake_program(mode, ""), 0, 600, small, &err));
    expect_message(&err, mode, message);
    expect_levels(mode, i == SIGXCPU ? "20" : "220");
  }
}

/* Killed, crashed, slow or short of memory: once more, without optimisation. Everything else is the last word. */
static void test_tried_again(void **state) {
  (void)state;
  static const struct {
    const char *mode, *levels;
    bool ok;
  } rows[] = {
      {"signal-9", "220", true}, {"signal-11", "220", true}, {"signal-6", "220", true},  {"no-memory", "220", true},
      {"crashed", "220", true},  {"refused", "2", false},    {"size-1", "22", false},    {"silence", "22", false},
      {"words", "22", false},    {"signal-24", "20", true},  {"made-zeros", "2", false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct gw_error err;
    if (compile_by(fake_program(rows[i].mode, "0"), 0, 600, small, &err) != rows[i].ok)
      fail_msg("%s: %s", rows[i].mode, err.message);
    expect_levels(rows[i].mode, rows[i].levels);
  }
}

static void test_takes_too_long(void **state) {
  (void)state;
  static const char *const modes[] = {"sleep", "deaf"};
  for (size_t i = 0; i < 2; i++) {
    struct gw_error err;
    assert_false(compile_by(fake_program(modes[i], ""), 0, 1, small, &err));
    expect_message(&err, modes[i], "the compiler was ended after 1 seconds");
    expect_levels(modes[i], "2");
  }
}

static void test_cannot_start(void **state) {
  (void)state;
  struct gw_error err;
  assert_false(compile_by("/nowhere/gasworks", 0, 600, small, &err));
  expect_message(&err, "nowhere", "cannot start the compiler /nowhere/gasworks: No such file");
  assert_false(compile_by(script("#!/bin/sh\nexec /bin/false\n"), 0, 600, small, &err));
  expect_message(&err, "false", "the compiler failed without saying why");
  assert_false(compile_by(script("#!/bin/sh\necho what is that >&2\n"), 0, 600, small, &err));
  expect_message(&err, "echo", "what is that");
}

/* --- limits of the real one ----------------------------------------------------------------------------------------------- */

/* What takes long to optimise is compiled without. */
static void test_cpu_time(void **state) {
  (void)state;
  struct buffer slow = bomb_text(SLOW_BOMB);
  struct gw_error err;
  if (!compile_by(fake_program("real", "0123"), 4, 600, (const char *)slow.bytes, &err)) fail_msg("%s", err.message);
  expect_levels("-O0", "20");
  buffer_clear(&slow);
}

/* One function that takes three times as much memory at -O2 as at -O0. */
static struct buffer make_hungry(void) {
  enum { LINES = 9000 };
  struct buffer text = {0};
  buffer_append_string(&text, "(module (memory 1) (func (export \"f\") (param i32) (result i32)");
  for (int i = 0; i < LINES; i++)
    buffer_format(&text,
                  "(local.set 0 (i32.xor (i32.rem_u (local.get 0) (i32.const %d)) (i32.load (i32.and (local.get 0) (i32.const "
                  "4095)))))",
                  i + 3);
  buffer_append_string(&text, "(local.get 0)))");
  buffer_append(&text, "", 1);
  return text;
}

static bool compile_within(uint64_t memory, const char *text, struct gw_error *err) {
  struct gw_engine *engine = engine_with(&(struct gw_engine_options){.loose_traps = true,
                                                                     .opt_level = 2,
                                                                     .gas = true,
                                                                     .threads = 1,
                                                                     .compiler_program = fake_program("real", "0123"),
                                                                     .compile_memory = memory});
  struct gw_module *module = wat_module(engine, text);
  *err = (struct gw_error){0};
  bool ok = gw_module_compile(module, err);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return ok;
}

/* LLVM's own way to find no memory ends in an answer. Sanitizers leave no room for such a limit. */
static void test_memory(void **state) {
  (void)state;
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  skip();
#endif
  struct buffer hungry = make_hungry();
  struct gw_error err;
  if (!compile_within(UINT64_C(325) << 20, (const char *)hungry.bytes, &err)) fail_msg("%s", err.message);
  expect_levels("-O0", "20");
  assert_false(compile_within(UINT64_C(225) << 20, (const char *)hungry.bytes, &err));
  expect_message(&err, "-O0", "the compiler needed more than 235929600 bytes of memory");
  expect_levels("-O0", "20");
  if (!compile_within(UINT64_C(2) << 30, (const char *)hungry.bytes, &err)) fail_msg("%s", err.message);
  expect_levels("-O2", "2");
  buffer_clear(&hungry);
}

static void end_for(const char *reason) { _exit(strcmp(reason, "it gave up") == 0 ? 42 : 43); }

/* What LLVM calls when it gives up, called by hand. */
static void test_fatal(void **state) {
  (void)state;
  int status;
  pid_t pid = fork();
  if (pid == 0) {
    const struct compiler_ops *ops = compiler_load(NULL);
    void *llvm = ops ? dlopen("libLLVM.so.22.1", RTLD_NOW | RTLD_NOLOAD) : NULL;
    void (*report)(const char *, bool) =
        llvm ? (void (*)(const char *, bool))dlsym(llvm, "_ZN4llvm18report_fatal_errorEPKcb") : NULL;
    if (!report) _exit(1);
    ops->on_fatal(end_for);
    report("it gave up", true);
    _exit(2);
  }
  waitpid(pid, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 42);
}

/* --- what the real one is asked -------------------------------------------------------------------------------------------- */

struct real {
  pid_t pid;
  int socket, module, artifact;
};

static int module_file(const void *bytes, size_t size) {
  int fd = memfd_create("module", MFD_CLOEXEC);
  assert_true(fd >= 0 && fd_write_all(fd, bytes, size) && lseek(fd, 0, SEEK_SET) == 0);
  return fd;
}

static const uint8_t smallest[] = {0, 'a', 's', 'm', 1, 0, 0, 0};

static struct real start_real(void) {
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  struct real c = {
      .socket = pair[0], .module = module_file(smallest, sizeof smallest), .artifact = memfd_create("artifact", MFD_CLOEXEC)};
  pid_t parent = getpid();
  c.pid = fork();
  if (c.pid == 0) {
    dup2(pair[1], STDIN_FILENO);
    _exit(parent == getppid() ? execl(REAL, "gasworks", CHILD_VERB, NULL) : 1);
  }
  close(pair[1]);
  return c;
}

/* Its exit code. */
static int end_real(struct real *c) {
  int status;
  close(c->socket);
  close(c->module);
  close(c->artifact);
  waitpid(c->pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static struct compile_request sound_request(void) {
  struct compile_request r;
  child_request_init(&r);
  r.opt_level = 2;
  r.gas = 1;
  r.max_seconds = 60;
  r.parent = (uint32_t)getpid();
  r.max_memory = UINT64_C(4) << 30;
  r.module_size = sizeof smallest;
  r.schedule = *schedule_default();
  return r;
}

/* The answer, which is sound. */
static struct compile_answer answer_of(const struct real *c, const char *what) {
  struct compile_answer a;
  struct gw_error err = {0};
  memset(&a, 0, sizeof a);
  ssize_t n = recv(c->socket, &a, sizeof a, MSG_TRUNC);
  if (n <= 0 || !child_answer_check(&a, (size_t)n, &err)) fail_msg("%s: no answer: %s", what, err.message);
  return a;
}

static struct compile_answer ask(struct real *c, const struct compile_request *r, const char *what) {
  assert_true(child_send_request(c->socket, r, (int[]){c->module, c->artifact}));
  return answer_of(c, what);
}

static void expect_refusal(const char *what, const struct compile_answer *a, const char *message) {
  assert_int_equal(a->outcome, COMPILE_REFUSED);
  if (!strstr(a->message, message)) fail_msg("%s: no \"%s\" in: %s", what, message, a->message);
}

/* A sound request but for one thing. */
static struct compile_request wrong_request(char what) {
  struct compile_request r = sound_request();
  if (what == 'b') r.build.bytes[0] ^= 1;
  if (what == 's') r.size--;
  if (what == 'l') r.opt_level = 4;
  if (what == 'g') r.gas = 2;
  if (what == 't') r.max_seconds = 0;
  if (what == 'p') r.parent = 0;
  if (what == 'm') r.max_memory = 0;
  if (what == '0') r.module_size = 0;
  if (what == 'M') r.module_size = CHILD_LARGEST_MODULE + UINT64_C(1);
  if (what == 'v') r.schedule.version = 0, schedule_seal(&r.schedule);
  if (what == 'd') r.schedule.digest.bytes[5] ^= 1;
  if (what == 'c') r.schedule.gas[COST_COUNT - 1] = UINT32_MAX, schedule_seal(&r.schedule);
  if (what == 'P') r.parent++;
  if (what == 'T') r.max_seconds = UINT32_MAX;
  return r;
}

/* It says what is wrong, and ends. */
static void test_wrong_requests(void **state) {
  (void)state;
  static const char field[] = "request has a field that cannot be";
  static const struct {
    char what;
    const char *message;
  } rows[] = {
      {'b', "request is not of this build"},
      {'s', "request has"},
      {'l', field},
      {'g', field},
      {'t', field},
      {'p', field},
      {'m', field},
      {'0', field},
      {'M', field},
      {'v', field},
      {'d', field},
      {'c', field},
      {'P', "is not the parent"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char what[] = {rows[i].what, 0};
    struct real c = start_real();
    struct compile_request r = wrong_request(rows[i].what);
    struct compile_answer a = ask(&c, &r, what);
    expect_refusal(what, &a, rows[i].message);
    assert_int_equal(end_real(&c), 1);
  }
}

/* Of any size, with too few descriptors and too many. */
static void test_wrong_messages(void **state) {
  (void)state;
  struct {
    struct compile_request r;
    char more[4096];
  } long_one = {.r = sound_request()};
  const size_t sizes[] = {1, 31, 32, sizeof long_one.r - 1, sizeof long_one.r + 1, sizeof long_one, sizeof long_one.r};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct real c = start_real();
    assert_int_equal(send(c.socket, &long_one, sizes[i], 0), sizes[i]);
    struct compile_answer a = answer_of(&c, "size");
    bool has_build = sizes[i] >= 32, is_whole = sizes[i] == sizeof long_one.r;
    expect_refusal("size", &a, is_whole ? "came without its files" : has_build ? "request has" : "request is not of this build");
    assert_int_equal(end_real(&c), 1);
  }
}

static void test_right_requests(void **state) {
  (void)state;
  struct real c = start_real();
  struct compile_request r = sound_request();
  struct gw_error err = {0};
  struct compile_answer a = ask(&c, &r, "first");
  assert_int_equal(a.outcome, COMPILE_MADE);
  struct artifact *artifact = artifact_map(c.artifact, &err);
  assert_non_null(artifact);
  artifact_unmap(artifact);
  static const uint8_t malformed[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 9};
  close(c.module);
  c.module = module_file(malformed, sizeof malformed);
  r.module_size = sizeof malformed;
  a = ask(&c, &r, "malformed");
  assert_int_equal(a.outcome, COMPILE_REFUSED);
  assert_int_equal(a.code, GW_ERROR_MALFORMED);
  assert_in_range(a.offset, 8, 10);
  lseek(c.module, 0, SEEK_SET);
  r.module_size--; /* it goes on after modules that are wrong */
  a = ask(&c, &r, "size");
  expect_refusal("size", &a, "has 10 bytes instead of 9");
  r.opt_level = 0;
  a = ask(&c, &r, "other level");
  expect_refusal("other level", &a, "differs from the first one");
  assert_int_equal(end_real(&c), 1);
}

/* Not for people; and it ends when nobody asks. */
static void test_no_requests(void **state) {
  (void)state;
  int exit_code;
  struct buffer out = shell(&exit_code, REAL " " CHILD_VERB " </dev/null");
  assert_int_equal(exit_code, 2);
  assert_non_null(strstr((const char *)out.bytes, "is for processes that have modules compiled"));
  buffer_clear(&out);
  struct real c = start_real();
  assert_int_equal(end_real(&c), 0);
}

/* --- processes ------------------------------------------------------------------------------------------------------------- */

/* Small modules share a process; one that cannot be compiled and one that is large change nothing for those after it. */
static void test_small_ones_share_a_process(void **state) {
  (void)state;
  char line[128];
  struct buffer large = make_large(60);
  struct gw_engine *engine = engine_with(&(struct gw_engine_options){
      .loose_traps = true, .opt_level = 0, .gas = true, .compiler_program = fake_program("real", "0")});
  for (int i = 0; i < 20; i++) {
    snprintf(line, sizeof line, "(module (func (export \"f\") (param i32) (result i32) (i32.const %d)))", i);
    struct gw_module *module = wat_module(engine, i == 10 ? (const char *)large.bytes : line);
    struct gw_error err = {0};
    if (!gw_module_compile(module, &err)) fail_msg("%s", err.message);
    gw_module_release(module);
  }
  gw_engine_destroy(engine);
  struct buffer out = shell(NULL, "cat %s/levels; rm -f %s/levels", directory, directory);
  bool is_slow = out.size == 4; /* the large one took longer than the process waits for the next */
  if (!is_slow) assert_string_equal((const char *)out.bytes, "00");
  buffer_clear(&out);
  buffer_clear(&large);
}

/* The number that the compiling process has left in a file, once it is there. */
static pid_t read_number(const char *path) {
  struct buffer text = {0};
  for (int i = 0; i < 2400; i++) {
    buffer_clear(&text);
    if (buffer_read_file(&text, path, 64, NULL) && text.size && text.bytes[text.size - 1] == '\n') break;
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  }
  buffer_append(&text, "", 1);
  pid_t number = atoi((const char *)text.bytes);
  buffer_clear(&text);
  return number;
}

static bool is_gone(pid_t pid) {
  struct buffer out = shell(NULL, "grep -q '^State:.[^Z]' /proc/%d/status || echo gone", (int)pid);
  bool is = out.size > 1;
  buffer_clear(&out);
  return is;
}

/* A module that takes long, in a process that is killed: nobody goes on compiling it. */
static void test_ends_with_its_parent(void **state) {
  (void)state;
  struct buffer slow = make_large(400);
  char text[512], path[256];
  snprintf(path, sizeof path, "%s/number", directory);
  snprintf(text, sizeof text, "#!/bin/sh\necho $$ >%s\nexec %s %s\n", path, REAL, CHILD_VERB);
  const char *program = script(text);
  pid_t pid = fork();
  if (pid == 0) {
    struct gw_engine *engine =
        engine_with(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .compiler_program = program});
    gw_module_compile(wat_module(engine, (const char *)slow.bytes), NULL);
    _exit(0);
  }
  pid_t child = read_number(path);
  assert_true(child > 0);
  nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* by now it has told the system */
  assert_false(is_gone(child));
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  for (int i = 0; i < 400 && !is_gone(child); i++) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  assert_true(is_gone(child));
  buffer_clear(&slow);
}

struct stopped {
  struct gw_module *module;
  struct gw_error err;
  bool ok;
};

static void *compile_and_wait(void *arg) {
  struct stopped *s = arg;
  s->ok = gw_module_compile(s->module, &s->err);
  return NULL;
}

static void test_stopping(void **state) {
  (void)state;
  pthread_t thread;
  struct gw_engine *engine = engine_with(&(struct gw_engine_options){
      .loose_traps = true, .opt_level = 2, .gas = true, .compiler_program = fake_program("sleep", "")});
  struct stopped s = {.module = wat_module(engine, small)};
  assert_int_equal(pthread_create(&thread, NULL, compile_and_wait, &s), 0);
  nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  gw_engine_stop_compiling(engine);
  pthread_join(thread, NULL);
  assert_false(s.ok);
  s.err = (struct gw_error){0};
  assert_false(gw_module_compile(s.module, &s.err));
  assert_int_equal(s.err.code, GW_ERROR_UNAVAILABLE);
  gw_module_release(s.module);
  gw_engine_destroy(engine);
}

/* --- set-up ---------------------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  (void)state;
  ssize_t n = readlink("/proc/self/exe", this_program, sizeof this_program - 1);
  return n <= 0 || !mkdtemp(directory);
}

static int tear_down(void **state) {
  (void)state;
  struct buffer out = shell(NULL, "rm -rf %s", directory);
  buffer_clear(&out);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 3 && strcmp(argv[1], "fake") == 0) return fake(argc, argv);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_wrong_answers),
      cmocka_unit_test(test_signals),
      cmocka_unit_test(test_tried_again),
      cmocka_unit_test(test_takes_too_long),
      cmocka_unit_test(test_cannot_start),
      cmocka_unit_test(test_cpu_time),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_fatal),
      cmocka_unit_test(test_wrong_requests),
      cmocka_unit_test(test_wrong_messages),
      cmocka_unit_test(test_right_requests),
      cmocka_unit_test(test_no_requests),
      cmocka_unit_test(test_small_ones_share_a_process),
      cmocka_unit_test(test_ends_with_its_parent),
      cmocka_unit_test(test_stopping),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
