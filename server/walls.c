#define _GNU_SOURCE /* O_PATH, CLONE_* */
#include "server/walls.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* LeakSanitizer stops the process's threads by ptrace when it ends. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { IS_TRACED_BY_SANITIZER = true };
#else
enum { IS_TRACED_BY_SANITIZER = false };
#endif

/* --- Landlock ----------------------------------------------------------------------------------------------------------- */

/* Debian 12's headers know the first version; the numbers are the kernel's interface. */
#define FS_REFER (UINT64_C(1) << 13)     /* version 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)  /* 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPES (UINT64_C(3)) /* abstract sockets and signals, 6 */

struct ruleset {
  uint64_t fs, net, scoped;
};

#define FS_ANY ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                              \
  (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
   LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM | FS_REFER | FS_TRUNCATE)
#define FS_OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE | FS_TRUNCATE)

static int landlock_version(void) { return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION); }

/* What this kernel knows of it. */
static struct ruleset known_rules(int version) {
  struct ruleset r = {.fs = FS_ANY};
  if (version >= 2) r.fs |= FS_REFER;
  if (version >= 3) r.fs |= FS_TRUNCATE;
  if (version >= 5) r.fs |= FS_IOCTL_DEV;
  if (version >= 4) r.net = NET_CONNECT_TCP;
  if (version >= 6) r.scoped = SCOPES;
  return r;
}

static size_t ruleset_size(int version) {
  return version >= 6 ? sizeof(struct ruleset) : version >= 4 ? offsetof(struct ruleset, scoped) : offsetof(struct ruleset, net);
}

/* What is not there needs no way to it. */
static bool allow(int ruleset, const struct ruleset *known, const char *path, uint64_t access, struct gw_error *err) {
  struct stat s;
  int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;
  if (fd < 0) return true;
  if (fstat(fd, &s) == 0 && !S_ISDIR(s.st_mode)) access &= FS_OF_FILES;
  struct landlock_path_beneath_attr rule = {.allowed_access = access & known->fs, .parent_fd = fd};
  bool ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 ||
            error_set(err, GW_ERROR_IO, "Landlock refuses a rule for %.200s: %s", path, strerror(errno));
  close(fd);
  return ok;
}

/* The program may start itself, which compiles; the loader is part of starting. */
static bool allow_program(int ruleset, const struct ruleset *known, struct gw_error *err) {
  static const char *const libraries[] = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime"};
  static const char *const loaders[] = {"/lib64/ld-linux-x86-64.so.2", "/proc/self/exe"};
  char program[2048];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  bool ok = true;
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries && ok; i++) ok = allow(ruleset, known, libraries[i], FS_READ, err);
  for (size_t i = 0; i < sizeof loaders / sizeof *loaders && ok; i++)
    ok = allow(ruleset, known, loaders[i], LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE, err);
  program[n > 0 ? n : 0] = 0;
  char *slash = strrchr(program, '/');
  if (!slash) return ok;
  *slash = 0; /* the compiler lies beside it, or below the same prefix, or where the variable says */
  ok = ok && allow(ruleset, known, program, FS_READ, err);
  snprintf(slash, sizeof program - (size_t)(slash - program), "/../lib/gasworks");
  ok = ok && allow(ruleset, known, program, FS_READ, err);
  return ok && allow(ruleset, known, getenv("GASWORKS_COMPILER"), LANDLOCK_ACCESS_FS_READ_FILE, err);
}

static bool allow_server(int ruleset, const struct ruleset *known, const struct walls_paths *paths, struct gw_error *err) {
  static const char *const told[] = {"/proc/self", "/proc/meminfo", "/proc/pressure", "/sys/fs/cgroup",
                                     "/sys/devices/system/cpu"};
  static const char *const names[] = {"/etc/hosts",     "/etc/resolv.conf",     "/etc/nsswitch.conf",
                                      "/etc/host.conf", "/etc/gai.conf",        "/etc/passwd",
                                      "/etc/ssl",       "/run/systemd/resolve", "/run/resolvconf"};
  static const char *const devices[] = {"/dev/null", "/dev/urandom", "/dev/random"};
  bool ok = allow_program(ruleset, known, err);
  for (const char *const *path = paths->read; *path && ok; path++) ok = allow(ruleset, known, *path, FS_READ, err);
  for (size_t i = 0; i < 2 && ok; i++) ok = allow(ruleset, known, paths->written[i], FS_WRITE, err);
  for (size_t i = 0; paths->connects && i < sizeof names / sizeof *names && ok; i++)
    ok = allow(ruleset, known, names[i], FS_READ, err);
  ok = ok && allow(ruleset, known, paths->appended, LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG, err);
  for (size_t i = 0; i < sizeof told / sizeof *told && ok; i++) ok = allow(ruleset, known, told[i], FS_READ, err);
  for (size_t i = 0; i < sizeof devices / sizeof *devices && ok; i++)
    ok = allow(ruleset, known, devices[i], LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE, err);
  return ok;
}

/* What a process needs that sends to a name over TLS: names, certificates, and the libraries that it opens for them. */
static bool allow_sender(int ruleset, const struct ruleset *known, const struct walls_paths *paths, struct gw_error *err) {
  static const char *const read[] = {"/usr", "/lib", "/lib64", "/etc", "/run/systemd/resolve", "/run/resolvconf", "/proc/self"};
  static const char *const devices[] = {"/dev/null", "/dev/urandom", "/dev/random"};
  bool ok = true;
  (void)paths;
  for (size_t i = 0; i < sizeof read / sizeof *read && ok; i++) ok = allow(ruleset, known, read[i], FS_READ, err);
  for (size_t i = 0; i < sizeof devices / sizeof *devices && ok; i++)
    ok = allow(ruleset, known, devices[i], LANDLOCK_ACCESS_FS_READ_FILE, err);
  ok = ok && allow(ruleset, known, getenv("SSL_CERT_FILE"), LANDLOCK_ACCESS_FS_READ_FILE, err);
  return ok && allow(ruleset, known, getenv("SSL_CERT_DIR"), FS_READ, err);
}

/* `allow_paths` NULL: nothing can be reached. */
static bool close_files(bool (*allow_paths)(int ruleset, const struct ruleset *known, const struct walls_paths *paths,
                                            struct gw_error *err),
                        const struct walls_paths *paths, bool may_connect, struct gw_error *err) {
  int version = landlock_version();
  if (version <= 0) return true; /* walls_missing tells */
  struct ruleset known = known_rules(version);
  if (may_connect) known.net = 0;
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &known, ruleset_size(version), 0);
  if (ruleset < 0) return error_set(err, GW_ERROR_IO, "Landlock refuses its rules: %s", strerror(errno));
  bool ok = !allow_paths || allow_paths(ruleset, &known, paths, err);
  if (ok && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
    ok = error_set(err, GW_ERROR_IO, "Landlock does not begin: %s", strerror(errno));
  close(ruleset);
  return ok;
}

/* --- seccomp ------------------------------------------------------------------------------------------------------------ */

/* A thread of this process, not a process. */
static int allow_threads(scmp_filter_ctx filter) {
  int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  return rc ? rc : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0); /* libc uses clone then */
}

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n) {
  int rc = 0;
  for (size_t i = 0; i < n && !rc; i++) rc = seccomp_rule_add(filter, action, calls[i], 0);
  return rc;
}

/* All that compiling needs of the kernel. */
static int fill_for_compiler(scmp_filter_ctx filter) {
  static const int calls[] = {
      SCMP_SYS(read),
      SCMP_SYS(write),
      SCMP_SYS(readv),
      SCMP_SYS(writev),
      SCMP_SYS(pread64),
      SCMP_SYS(pwrite64),
      SCMP_SYS(lseek),
      SCMP_SYS(close),
      SCMP_SYS(fstat),
      SCMP_SYS(newfstatat),
      SCMP_SYS(ftruncate),
      SCMP_SYS(dup2),
      SCMP_SYS(dup3),
      SCMP_SYS(fcntl),
      SCMP_SYS(poll),
      SCMP_SYS(ppoll),
      SCMP_SYS(recvmsg),
      SCMP_SYS(sendto),
      SCMP_SYS(sendmsg),
      SCMP_SYS(mmap),
      SCMP_SYS(munmap),
      SCMP_SYS(mprotect),
      SCMP_SYS(mremap),
      SCMP_SYS(madvise),
      SCMP_SYS(brk),
      SCMP_SYS(futex),
      SCMP_SYS(set_robust_list),
      SCMP_SYS(rseq),
      SCMP_SYS(rt_sigaction),
      SCMP_SYS(rt_sigprocmask),
      SCMP_SYS(rt_sigreturn),
      SCMP_SYS(sigaltstack),
      SCMP_SYS(sched_yield),
      SCMP_SYS(getpid),
      SCMP_SYS(gettid),
      SCMP_SYS(tgkill),
      SCMP_SYS(exit),
      SCMP_SYS(exit_group),
      SCMP_SYS(clock_gettime),
      SCMP_SYS(gettimeofday),
      SCMP_SYS(clock_nanosleep),
      SCMP_SYS(nanosleep),
      SCMP_SYS(restart_syscall),
      SCMP_SYS(getrandom),
      SCMP_SYS(getrusage),
      SCMP_SYS(prlimit64),
      SCMP_SYS(setrlimit),
      SCMP_SYS(getrlimit),
      SCMP_SYS(sysinfo),
      SCMP_SYS(sched_getaffinity),
      SCMP_SYS(sched_setaffinity),
      SCMP_SYS(membarrier),
      SCMP_SYS(getcpu),
      SCMP_SYS(set_tid_address),
      SCMP_SYS(uname),
  };
  int rc = add_all(filter, SCMP_ACT_ALLOW, calls, sizeof calls / sizeof *calls);
  return rc ? rc : allow_threads(filter);
}

/* A server needs many and its libraries more; these it never does, and who sends for it neither. */
static int fill_for_sender(scmp_filter_ctx filter) {
  static const int calls[] = {
      SCMP_SYS(fork),
      SCMP_SYS(vfork),
      SCMP_SYS(execveat),
      SCMP_SYS(process_vm_readv),
      SCMP_SYS(process_vm_writev),
      SCMP_SYS(kcmp),
      SCMP_SYS(bpf),
      SCMP_SYS(perf_event_open),
      SCMP_SYS(userfaultfd),
      SCMP_SYS(mount),
      SCMP_SYS(umount2),
      SCMP_SYS(pivot_root),
      SCMP_SYS(chroot),
      SCMP_SYS(setns),
      SCMP_SYS(unshare),
      SCMP_SYS(keyctl),
      SCMP_SYS(add_key),
      SCMP_SYS(request_key),
      SCMP_SYS(init_module),
      SCMP_SYS(finit_module),
      SCMP_SYS(delete_module),
      SCMP_SYS(kexec_load),
      SCMP_SYS(kexec_file_load),
      SCMP_SYS(reboot),
      SCMP_SYS(swapon),
      SCMP_SYS(swapoff),
      SCMP_SYS(open_by_handle_at),
      SCMP_SYS(pidfd_getfd),
      SCMP_SYS(acct),
      SCMP_SYS(quotactl),
      SCMP_SYS(settimeofday),
      SCMP_SYS(clock_settime),
      SCMP_SYS(adjtimex),
      SCMP_SYS(iopl),
      SCMP_SYS(ioperm),
      SCMP_SYS(personality),
      SCMP_SYS(setuid),
      SCMP_SYS(setgid),
      SCMP_SYS(setreuid),
      SCMP_SYS(setregid),
      SCMP_SYS(setresuid),
      SCMP_SYS(setresgid),
      SCMP_SYS(setgroups),
      SCMP_SYS(mknod),
      SCMP_SYS(mknodat),
      SCMP_SYS(io_uring_setup),
      SCMP_SYS(io_uring_register),
      SCMP_SYS(syslog),
      SCMP_SYS(fanotify_init),
  };
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  int rc = add_all(filter, refuse, calls, sizeof calls / sizeof *calls);
  if (!rc) rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  if (IS_TRACED_BY_SANITIZER || rc) return rc;
  rc = seccomp_rule_add(filter, refuse, SCMP_SYS(ptrace), 0);
  if (!rc) /* neither a thread nor what posix_spawn makes of its own memory, which can only start a program */
    rc = seccomp_rule_add(filter, refuse, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_VM, 0));
  return rc;
}

static int fill_for_server(scmp_filter_ctx filter) {
  int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(connect), 0);
  return rc ? rc : fill_for_sender(filter);
}

static bool close_calls(uint32_t otherwise, int (*fill)(scmp_filter_ctx), struct gw_error *err) {
  scmp_filter_ctx filter = seccomp_init(otherwise);
  if (!filter) return error_set(err, GW_ERROR_IO, "seccomp has no filter for this system");
  int rc = fill(filter);
  if (!rc) seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
  if (!rc) rc = seccomp_load(filter);
  seccomp_release(filter);
  return !rc || error_set(err, GW_ERROR_IO, "seccomp does not begin: %s", strerror(-rc));
}

/* --- both --------------------------------------------------------------------------------------------------------------- */

static bool has_seccomp(void) { return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0; }

const char *walls_missing(void) {
  if (landlock_version() <= 0) return "this system has no Landlock: files are not closed to the server";
  return has_seccomp() ? NULL : "this system has no seccomp: system calls are not closed to the server";
}

static bool close_privileges(struct gw_error *err) {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ||
         error_set(err, GW_ERROR_IO, "privileges cannot be given up: %s", strerror(errno));
}

/* What the shell that started this knows, keys and tokens among it, is gone from memory: only what is read later stays. */
static void forget_environment(bool keeps_database) {
  static const char *const kept[] = {"GASWORKS_COMPILER=", "UV_", "TZ=", "LANG=", "LC_", "PG" /* libpq's, if it is used */};
  size_t n = sizeof kept / sizeof *kept - !keeps_database;
  char **out = environ;
  for (char **at = environ; at && *at; at++) {
    bool is_kept = false;
    for (size_t i = 0; i < n; i++) is_kept |= strncmp(*at, kept[i], strlen(kept[i])) == 0;
    if (is_kept)
      *out++ = *at;
    else
      explicit_bzero(*at, strlen(*at));
  }
  if (out) *out = NULL;
}

bool walls_around_compiler(struct gw_error *err) {
  forget_environment(false);
  if (!close_privileges(err) || !close_files(NULL, NULL, false, err)) return false;
  return !has_seccomp() || close_calls(SCMP_ACT_ERRNO(EPERM), fill_for_compiler, err);
}

bool walls_around_server(const struct walls_paths *paths, struct gw_error *err) {
  forget_environment(paths->connects);
  if (!close_privileges(err) || !close_files(allow_server, paths, paths->connects, err)) return false;
  return !has_seccomp() || close_calls(SCMP_ACT_ALLOW, paths->connects ? fill_for_sender : fill_for_server, err);
}

bool walls_around_sender(struct gw_error *err) {
  if (!close_privileges(err) || !close_files(allow_sender, NULL, true, err)) return false;
  return !has_seccomp() || close_calls(SCMP_ACT_ALLOW, fill_for_sender, err);
}
