/* The log of receipts: order, tree, checkpoints, what a crash leaves, rotation, forgetting, disks that are full, slow or fail.
 * Crashes are children that die; disks are this file's functions of the C library's names. */
#define _GNU_SOURCE /* nftw */
#include "base/files.h"
#include "runtime/receipt/files.h"
#include "runtime/receipt/receipt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

/* --- the disk ------------------------------------------------------------------------------------------------------ */

static atomic_bool sync_fails, sync_hangs, is_full;
static atomic_int n_syncs;

int fdatasync(int fd) {
  atomic_fetch_add(&n_syncs, 1);
  while (sync_hangs) usleep(1000);
  if (!sync_fails) return (int)syscall(SYS_fdatasync, fd);
  errno = EIO;
  return -1;
}

int posix_fallocate(int fd, off_t at, off_t size) {
  if (is_full) return ENOSPC;
  return syscall(SYS_fallocate, fd, 0, at, size) ? errno : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
  (void)st, (void)type, (void)walk;
  return remove(path);
}

static int setup(void **state) {
  (void)state;
  sync_fails = sync_hangs = is_full = false;
  strcpy(directory, "/tmp/gasworks-log-XXXXXX");
  return mkdtemp(directory) ? 0 : -1;
}

static struct rlimit descriptors; /* as they are */

static int teardown(void **state) {
  (void)state;
  if (descriptors.rlim_cur) setrlimit(RLIMIT_NOFILE, &descriptors);
  return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct receipt_log *open_with(const struct receipt_kept *kept, size_t n) {
  struct receipt_options options = {.directory = directory, .origin = "example.com/log", .period_ms = 1000};
  struct gw_error err = {0};
  struct receipt_log *log = receipt_log_open(&options, kept, n, &err);
  if (!log) fail_msg("%s", err.message);
  return log;
}

static struct receipt_log *open_log(void) { return open_with(NULL, 0); }

static size_t make_leaf(uint8_t out[LEAF_MAX], const char *function, uint64_t number) {
  struct leaf leaf = {0};
  static const uint8_t digest[32] = {7};
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_REPLIED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, function, strlen(function));
  leaf_set_bytes(&leaf, FIELD_MODULE, digest, sizeof digest);
  leaf_set_number(&leaf, FIELD_COMPUTE, number);
  return leaf_encode(&leaf, out);
}

static struct receipt_place reserve(struct receipt_log *log, const char *function, uint64_t number, uint8_t leaf[LEAF_MAX]) {
  struct receipt_place place;
  size_t size = make_leaf(leaf, function, number);
  while (!receipt_log_has_room(log)) usleep(1000); /* faster than the disk gives room, as a server that refuses requests then */
  assert_true(receipt_log_reserve(log, receipt_log_chain(log, function), leaf, size, 0, &place));
  return place;
}

static struct tree_hash append(struct receipt_log *log, const char *function, uint64_t number) {
  uint8_t leaf[LEAF_MAX];
  struct receipt_place place = reserve(log, function, number, leaf);
  return receipt_log_fill(&place, leaf);
}

static struct leaf read_leaf(uint64_t index, struct buffer *bytes) {
  struct leaf leaf;
  struct gw_error err = {0};
  assert_int_equal(files_read_leaf(directory, index, bytes), FILES_FOUND);
  if (!leaf_decode(&leaf, bytes->bytes, bytes->size, &err)) fail_msg("%s", err.message);
  return leaf;
}

/* The checkpoint is signed, its root is that of the leaves themselves, and each leaf is proved to be in it. */
static struct note_checkpoint check_all(void) {
  struct buffer text = {0}, bytes = {0};
  struct gw_error err = {0};
  struct note_key keys[FILES_MAX_KEYS];
  struct note_checkpoint head;
  struct tree_proof proof;
  struct tree_source source = {files_read_hashes, directory};
  size_t n = files_read_keys(directory, keys, &err);
  assert_true(n > 0 && files_read_checkpoint(directory, &text, &err) && note_check(text.bytes, text.size, keys, n, &err));
  assert_true(note_parse_checkpoint(&head, text.bytes, text.size, &err));
  for (uint64_t i = 0; i<head.size; i += head.size> 3000 ? 97 : 1) {
    read_leaf(i, &bytes);
    struct tree_hash hash = tree_leaf(bytes.bytes, bytes.size);
    assert_true(tree_prove_inclusion(&source, i, head.size, &proof));
    if (!tree_check_inclusion(&proof, i, head.size, &hash, &head.root)) fail_msg("leaf %d", (int)i);
  }
  buffer_clear(&text);
  buffer_clear(&bytes);
  return head;
}

static void assert_follows(const struct note_checkpoint *old, const struct note_checkpoint *new) {
  struct tree_source source = {files_read_hashes, directory};
  struct tree_proof proof;
  assert_true(old->size <= new->size);
  assert_true(tree_prove_consistency(&source, old->size, new->size, &proof));
  assert_true(tree_check_consistency(&proof, old->size, new->size, &old->root, &new->root));
}

/* --- one process -------------------------------------------------------------------------------------------------- */

static void leaves_are_kept_in_order(void **state) {
  struct receipt_log *log = open_log();
  struct buffer bytes = {0};
  (void)state;
  assert_true(receipt_log_has_room(log));
  assert_int_equal(check_all().size, 0);
  for (uint64_t i = 0; i < 1000; i++) append(log, i % 3 ? "one" : "two", i);
  assert_true(receipt_log_settle(log));
  assert_int_equal(receipt_log_durable(log), 1000);
  struct note_checkpoint head = check_all();
  assert_int_equal(head.size, 1000);
  receipt_log_close(log);
  log = open_log();
  append(log, "two", 7);
  receipt_log_close(log);
  struct note_checkpoint later = check_all();
  assert_int_equal(later.size, 1001);
  assert_follows(&head, &later);
  assert_int_equal(read_leaf(1000, &bytes).fields[FIELD_PREVIOUS].number, 999);
  assert_int_equal(read_leaf(999, &bytes).fields[FIELD_PREVIOUS].number, 996);
  assert_int_equal(read_leaf(998, &bytes).fields[FIELD_PREVIOUS].number, 997);
  assert_false(read_leaf(0, &bytes).fields[FIELD_PREVIOUS].is_there);
  buffer_clear(&bytes);
}

static void segments_follow_each_other(void **state) {
  struct receipt_log *log = open_log();
  (void)state;
  for (uint64_t i = 0; i < 2 * FILES_SEGMENT + 300; i++) {
    append(log, "many", i);
    if (i % 20000 == 19999) assert_true(receipt_log_settle(log));
  }
  receipt_log_close(log);
  struct note_checkpoint head = check_all();
  assert_int_equal(head.size, 2 * FILES_SEGMENT + 300);
  log = open_log();
  append(log, "many", 0);
  receipt_log_close(log);
  struct note_checkpoint later = check_all();
  assert_follows(&head, &later);
  struct buffer bytes = {0};
  assert_int_equal(read_leaf(head.size, &bytes).fields[FIELD_PREVIOUS].number, head.size - 1);
  buffer_clear(&bytes);
}

/* A segment is full exactly when the log closes, and when it crashes. */
static void a_log_ends_with_its_segment(void **state) {
  (void)state;
  for (int round = 0; round < 2; round++) {
    struct receipt_log *log = open_log();
    for (uint64_t i = 0; i < FILES_SEGMENT; i++) append(log, "f", i);
    receipt_log_close(log);
  }
  assert_int_equal(check_all().size, 2 * FILES_SEGMENT);
}

static void *append_many(void *arg) {
  for (uint64_t i = 0; i < 20000; i++) append(arg, "threads", i);
  return NULL;
}

static void threads_share_the_sequence(void **state) {
  struct receipt_log *log = open_log();
  pthread_t threads[3];
  struct buffer bytes = {0};
  (void)state;
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, append_many, log), 0);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  receipt_log_close(log);
  assert_int_equal(check_all().size, 60000);
  for (uint64_t i = 1; i < 60000; i += 371) assert_int_equal(read_leaf(i, &bytes).fields[FIELD_PREVIOUS].number, i - 1);
  buffer_clear(&bytes);
}

static void a_checkpoint_covers_what_is_filled(void **state) {
  struct receipt_log *log = open_log();
  uint8_t leaf[LEAF_MAX];
  (void)state;
  append(log, "f", 0);
  struct receipt_place place = reserve(log, "f", 1, leaf);
  append(log, "f", 2);
  assert_false(receipt_log_settle(log)); /* the one in the middle is not there yet */
  assert_int_equal(receipt_log_durable(log), 1);
  receipt_log_fill(&place, leaf);
  assert_true(receipt_log_settle(log));
  assert_int_equal(receipt_log_durable(log), 3);
  receipt_log_close(log);
  check_all();
}

static void keys_rotate(void **state) {
  struct receipt_log *log = open_log();
  struct buffer old = {0}, both = {0}, new = {0};
  struct note_key keys[FILES_MAX_KEYS];
  struct gw_error err = {0};
  struct stat st;
  char path[128];
  (void)state;
  append(log, "f", 0);
  assert_true(receipt_log_settle(log));
  receipt_log_checkpoint(log, &old);
  assert_true(receipt_log_rotate(log, &err));
  receipt_log_checkpoint(log, &both);
  append(log, "f", 1);
  assert_true(receipt_log_settle(log));
  receipt_log_checkpoint(log, &new);
  receipt_log_close(log);
  assert_int_equal(files_read_keys(directory, keys, &err), 2);
  assert_true(note_check(old.bytes, old.size, &keys[0], 1, &err));
  assert_false(note_check(old.bytes, old.size, &keys[1], 1, &err));
  assert_true(note_check(both.bytes, both.size, &keys[0], 1, &err) && note_check(both.bytes, both.size, &keys[1], 1, &err));
  assert_false(note_check(new.bytes, new.size, &keys[0], 1, &err));
  assert_true(note_check(new.bytes, new.size, &keys[1], 1, &err));
  snprintf(path, sizeof path, "%s/key", directory);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  receipt_log_close(open_log());
  check_all();
  buffer_clear(&old);
  buffer_clear(&both);
  buffer_clear(&new);
}

static void old_leaves_are_forgotten(void **state) {
  struct receipt_options options = {.directory = directory, .period_ms = 1000, .keep_bytes = 1};
  struct gw_error err = {0};
  struct buffer bytes = {0};
  struct tree_source source = {files_read_hashes, directory};
  struct tree_proof proof;
  (void)state;
  struct receipt_log *log = receipt_log_open(&options, NULL, 0, &err);
  struct tree_hash tenth = {0};
  for (uint64_t i = 0; i < FILES_SEGMENT + 10; i++) {
    struct tree_hash hash = append(log, "f", i);
    if (i == 10) tenth = hash;
  }
  assert_true(receipt_log_settle(log));
  receipt_log_close(log);
  assert_int_equal(files_read_leaf(directory, 10, &bytes), FILES_PRUNED);
  assert_int_equal(files_read_leaf(directory, FILES_SEGMENT, &bytes), FILES_FOUND);
  log = receipt_log_open(&options, NULL, 0, &err); /* which asks for none of them */
  append(log, "f", 0);
  receipt_log_close(log);
  struct note_checkpoint head;
  bytes.size = 0;
  assert_true(files_read_checkpoint(directory, &bytes, &err) && note_parse_checkpoint(&head, bytes.bytes, bytes.size, &err));
  assert_int_equal(head.size, FILES_SEGMENT + 11);
  assert_true(tree_prove_inclusion(&source, 10, head.size, &proof));
  assert_true(tree_check_inclusion(&proof, 10, head.size, &tenth, &head.root));
  assert_int_equal(read_leaf(head.size - 1, &bytes).fields[FIELD_PREVIOUS].number, head.size - 2);
  buffer_clear(&bytes);
}

/* By the time of its last leaf. */
static void leaves_of_some_age_are_forgotten(void **state) {
  struct receipt_options options = {.directory = directory, .period_ms = 1000, .keep_seconds = 3600};
  struct gw_error err = {0};
  struct buffer bytes = {0};
  struct timespec old[2] = {{.tv_sec = time(NULL) - 7200}, {.tv_sec = time(NULL) - 7200}};
  char path[128];
  (void)state;
  struct receipt_log *log = receipt_log_open(&options, NULL, 0, &err);
  for (uint64_t i = 0; i < 2 * FILES_SEGMENT + 10; i++) append(log, "f", i);
  assert_true(receipt_log_settle(log));
  receipt_log_close(log);
  assert_int_equal(files_read_leaf(directory, 10, &bytes), FILES_FOUND);
  snprintf(path, sizeof path, "%s/00000000.leaves", directory);
  assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
  log = receipt_log_open(&options, NULL, 0, &err);
  append(log, "f", 0);
  assert_true(receipt_log_settle(log));
  assert_int_equal(files_read_leaf(directory, 10, &bytes), FILES_PRUNED);
  assert_int_equal(files_read_leaf(directory, FILES_SEGMENT, &bytes), FILES_FOUND);
  receipt_log_close(log);
  buffer_clear(&bytes);
}

/* --- disks --------------------------------------------------------------------------------------------------------- */

/* Whether it has become so: what a thread does is waited for, and never for ever. */
static bool comes_to_have_room(const struct receipt_log *log, bool wanted) {
  for (int i = 0; i < 20000 && receipt_log_has_room(log) != wanted; i++) usleep(1000);
  return receipt_log_has_room(log) == wanted;
}

/* A sync that takes long, and longer than segments take to fill. */
static void room_waits_for_no_sync(void **state) {
  enum { N = 3 * FILES_SEGMENT };
  struct receipt_log *log = open_log();
  (void)state;
  append(log, "f", 0);
  sync_hangs = true;
  int before = n_syncs;
  while (n_syncs == before) append(log, "f", 0);
  uint8_t leaf[LEAF_MAX];
  struct receipt_place place;
  for (uint64_t i = 0; i < N; i++) {
    size_t size = make_leaf(leaf, "f", i);
    assert_true(comes_to_have_room(log, true));
    assert_true(receipt_log_reserve(log, receipt_log_chain(log, "f"), leaf, size, 0, &place));
    receipt_log_fill(&place, leaf);
  }
  assert_true(receipt_log_durable(log) < N);
  sync_hangs = false;
  assert_true(receipt_log_settle(log));
  receipt_log_close(log);
  assert_true(check_all().size > N);
}

static void a_full_disk_has_no_room_and_loses_nothing(void **state) {
  struct receipt_log *log = open_log();
  uint8_t leaf[LEAF_MAX];
  struct receipt_place place;
  uint64_t n = 0;
  (void)state;
  is_full = true;
  for (size_t size; receipt_log_has_room(log); n++) { /* until what is there is used */
    size = make_leaf(leaf, "f", n);
    assert_true(receipt_log_reserve(log, receipt_log_chain(log, "f"), leaf, size, 0, &place));
    receipt_log_fill(&place, leaf);
  }
  assert_true(n > 100);
  for (size_t size;; n++) { /* those that ran already have room, and then there is none */
    size = make_leaf(leaf, "f", n);
    if (!receipt_log_reserve(log, receipt_log_chain(log, "f"), leaf, size, 0, &place)) break;
    receipt_log_fill(&place, leaf);
  }
  assert_true(receipt_log_settle(log));
  assert_int_equal(check_all().size, n);
  is_full = false;
  assert_true(comes_to_have_room(log, true));
  append(log, "f", n);
  receipt_log_close(log);
  assert_int_equal(check_all().size, n + 1);
}

/* Nothing is promised behind a sync that failed; what was filled is found again. */
static void a_failed_sync_ends_the_promises(void **state) {
  struct receipt_log *log = open_log();
  struct buffer bytes = {0}, before = {0}, after = {0};
  uint8_t leaf[LEAF_MAX];
  struct receipt_place place;
  (void)state;
  append(log, "f", 0);
  assert_true(receipt_log_settle(log));
  receipt_log_checkpoint(log, &before);
  append(log, "f", 1);
  sync_fails = true;
  assert_false(receipt_log_settle(log));
  sync_fails = false; /* the next one would succeed, and would have lost what the first could not write */
  assert_false(receipt_log_has_room(log));
  size_t size = make_leaf(leaf, "f", 2);
  assert_false(receipt_log_reserve(log, receipt_log_chain(log, "f"), leaf, size, 0, &place));
  assert_false(receipt_log_settle(log));
  assert_int_equal(receipt_log_durable(log), 1);
  receipt_log_checkpoint(log, &after);
  assert_true(after.size == before.size && memcmp(after.bytes, before.bytes, before.size) == 0);
  receipt_log_close(log);
  receipt_log_close(open_log());
  assert_int_equal(check_all().size, 2);
  assert_int_equal(read_leaf(1, &bytes).fields[FIELD_COMPUTE].number, 1);
  buffer_clear(&bytes);
  buffer_clear(&before);
  buffer_clear(&after);
}

struct waiting {
  struct receipt_waiter waiter;
  atomic_int answer; /* 0: none yet, 1: durable, 2: not */
};

static void note_answer(struct receipt_waiter *waiter, bool is_durable) {
  ((struct waiting *)waiter)->answer = is_durable ? 1 : 2;
}

static int answer_of(struct waiting *w) {
  for (int i = 0; i < 20000 && !w->answer; i++) usleep(1000);
  return w->answer;
}

/* One sync for all who wait while another one is under way; and a no for all when it fails. */
static void who_waits_hears_of_the_sync(void **state) {
  enum { N = 1000 };
  struct waiting waiting[N] = {0};
  struct receipt_log *log = open_log();
  (void)state;
  append(log, "f", 0);
  waiting[0].waiter.done = note_answer;
  receipt_log_await(log, &waiting[0].waiter);
  assert_int_equal(answer_of(&waiting[0]), 1);
  sync_hangs = true;
  int before = n_syncs;
  for (int i = 0; i < N; i++) {
    append(log, "f", 1);
    waiting[i] = (struct waiting){.waiter.done = note_answer};
    receipt_log_await(log, &waiting[i].waiter);
    while (n_syncs == before) usleep(1000);
  }
  for (int i = 1; i < N; i++) assert_int_equal(waiting[i].answer, 0);
  sync_hangs = false;
  for (int i = 0; i < N; i++) assert_int_equal(answer_of(&waiting[i]), 1);
  if (n_syncs - before > 30) fail_msg("%d syncs", n_syncs - before);
  append(log, "f", 2);
  sync_fails = true;
  for (int i = 0; i < 2; i++) { /* also who comes later */
    waiting[i] = (struct waiting){.waiter.done = note_answer};
    receipt_log_await(log, &waiting[i].waiter);
    assert_int_equal(answer_of(&waiting[i]), 2);
  }
  sync_fails = false;
  assert_true(receipt_log_has_failed(log));
  receipt_log_close(log);
}

/* No descriptor is left for whoever opens a file. */
static void take_descriptors(void) {
  int least = dup(STDERR_FILENO);
  assert_true(least >= 0 && getrlimit(RLIMIT_NOFILE, &descriptors) == 0);
  close(least);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)least, descriptors.rlim_max}), 0);
}

/* Without descriptors no checkpoint can be made, and the names of new files cannot be synced. That loses nothing: who waits waits
 * on, and all is there when there are some again. After some seconds who comes is refused, and who waits hears so. */
static void what_passes_ends_no_promise(void **state) {
  (void)state;
  for (int is_long = 0; is_long < 2; is_long++) {
    struct waiting w = {.waiter.done = note_answer};
    struct receipt_log *log = open_log();
    uint64_t n = receipt_log_end(log);
    for (uint64_t i = n % FILES_SEGMENT; i < FILES_SEGMENT + 9; i++) {
      append(log, "f", i);
      if (i == FILES_SEGMENT - 100) assert_true(receipt_log_settle(log));
      if (i == FILES_SEGMENT - 100) take_descriptors();
    }
    uint64_t durable = receipt_log_durable(log);
    receipt_log_await(log, &w.waiter);
    assert_false(receipt_log_settle(log));
    assert_false(receipt_log_has_failed(log));
    assert_int_equal(receipt_log_durable(log), durable);
    assert_int_equal(w.answer, 0);
    if (is_long) assert_int_equal(answer_of(&w), 2);
    if (is_long) assert_true(receipt_log_is_late(log) && !receipt_log_has_room(log));
    setrlimit(RLIMIT_NOFILE, &descriptors);
    if (!is_long) assert_int_equal(answer_of(&w), 1);
    assert_true(receipt_log_settle(log));
    assert_false(receipt_log_is_late(log));
    append(log, "f", 0);
    receipt_log_close(log);
    assert_int_equal(check_all().size, (uint64_t)(is_long + 1) * FILES_SEGMENT + 10);
  }
}

/* A log that nobody uses is small, and one that was closed is no larger than its leaves. */
static void a_log_takes_room_as_it_needs_it(void **state) {
  struct receipt_log *log = open_log();
  char path[128];
  struct stat st;
  uint64_t blocks = 0;
  static const char *const names[] = {"leaves", "hashes"};
  (void)state;
  append(log, "f", 0);
  assert_true(receipt_log_settle(log));
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/00000000.%s", directory, names[i]);
    assert_int_equal(stat(path, &st), 0);
    blocks += (uint64_t)st.st_blocks * 512;
  }
  if (blocks > 2 << 20) fail_msg("%d bytes", (int)blocks);
  for (uint64_t i = 0; i < FILES_SEGMENT; i++) append(log, "f", i);
  receipt_log_close(log);
  snprintf(path, sizeof path, "%s/00000001.leaves", directory);
  assert_int_equal(stat(path, &st), 0);
  assert_true(st.st_size < LEAF_MAX);
  snprintf(path, sizeof path, "%s/00000002.leaves", directory);
  assert_int_equal(stat(path, &st), -1);
  receipt_log_close(open_log());
  assert_int_equal(check_all().size, FILES_SEGMENT + 1);
}

/* --- crashes ------------------------------------------------------------------------------------------------------ */

/* A child appends and dies: `n` leaves that are filled but for those of `holes`. */
static void die_after(uint64_t n, const uint64_t *holes, size_t n_holes) {
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    struct receipt_log *log = open_log();
    uint8_t leaf[LEAF_MAX];
    for (uint64_t i = 0; i < n; i++) {
      struct receipt_place place = reserve(log, i % 2 ? "odd" : "even", i, leaf);
      bool is_hole = false;
      for (size_t k = 0; k < n_holes; k++) is_hole |= holes[k] == i;
      if (!is_hole) receipt_log_fill(&place, leaf);
    }
    kill(getpid(), SIGKILL);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_crash_loses_nothing_that_was_filled(void **state) {
  static const uint64_t holes[] = {3, 600, 899};
  struct buffer bytes = {0};
  (void)state;
  die_after(900, holes, 3);
  receipt_log_close(open_log());
  struct note_checkpoint head = check_all();
  assert_int_equal(head.size, 900);
  for (uint64_t i = 0; i < 900; i++) {
    struct leaf leaf = read_leaf(i, &bytes);
    bool is_hole = i == 3 || i == 600 || i == 899;
    assert_int_equal(leaf.fields[FIELD_OUTCOME].number, is_hole ? OUTCOME_VOID : OUTCOME_REPLIED);
    if (!is_hole) assert_int_equal(leaf.fields[FIELD_COMPUTE].number, i);
  }
  die_after(10, NULL, 0); /* and goes on: 900 is even's, whose last was 898 */
  receipt_log_close(open_log());
  struct note_checkpoint later = check_all();
  assert_int_equal(later.size, 910);
  assert_follows(&head, &later);
  assert_int_equal(read_leaf(900, &bytes).fields[FIELD_PREVIOUS].number, 898);
  assert_int_equal(read_leaf(901, &bytes).fields[FIELD_PREVIOUS].number, 897);
  buffer_clear(&bytes);
}

static void a_crash_behind_a_segments_end_loses_nothing(void **state) {
  static const uint64_t holes[] = {FILES_SEGMENT - 1, FILES_SEGMENT};
  (void)state;
  die_after(FILES_SEGMENT + 400, holes, 2);
  receipt_log_close(open_log());
  assert_int_equal(check_all().size, FILES_SEGMENT + 400);
}

/* What was stored with state takes its place; what the log has not heard of, too, and what is between is void. */
static void leaves_that_were_kept_take_their_places(void **state) {
  static const uint64_t holes[] = {4, 5};
  uint8_t leaf[LEAF_MAX], other[LEAF_MAX];
  struct buffer bytes = {0};
  (void)state;
  die_after(8, holes, 2);
  size_t size = make_leaf(leaf, "even", 4), other_size = make_leaf(other, "even", 12);
  size = leaf_add_previous(leaf, size, 0, 2);
  struct receipt_kept kept[] = {{2, other, other_size}, {4, leaf, size}, {12, other, other_size}};
  receipt_log_close(open_with(kept, 3));
  assert_int_equal(check_all().size, 13);
  assert_int_equal(read_leaf(2, &bytes).fields[FIELD_COMPUTE].number, 2); /* it was there */
  assert_int_equal(read_leaf(4, &bytes).fields[FIELD_COMPUTE].number, 4);
  assert_int_equal(read_leaf(5, &bytes).fields[FIELD_OUTCOME].number, OUTCOME_VOID);
  assert_int_equal(read_leaf(7, &bytes).fields[FIELD_COMPUTE].number, 7);
  for (uint64_t i = 8; i < 12; i++) assert_int_equal(read_leaf(i, &bytes).fields[FIELD_OUTCOME].number, OUTCOME_VOID);
  assert_int_equal(read_leaf(12, &bytes).fields[FIELD_COMPUTE].number, 12);
  buffer_clear(&bytes);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static void flip(const char *name, off_t at) {
  char path[128];
  uint8_t byte = 0;
  snprintf(path, sizeof path, "%s/%s", directory, name);
  int fd = open(path, O_RDWR);
  assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
  byte ^= 1;
  assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  close(fd);
}

static void damage_is_found_when_the_log_is_opened(void **state) {
  static const struct {
    const char *name;
    off_t at;
  } cases[] = {{"00000000.hashes", 32 * 600}, {"level.1", 33}, {"checkpoint", 20},
               {"checkpoint", 100},           {"origin", 3},   {"key", 40}};
  struct receipt_options options = {.directory = directory, .period_ms = 1000};
  (void)state;
  struct receipt_log *log = open_log();
  for (uint64_t i = 0; i < 700; i++) append(log, "f", i);
  receipt_log_close(log);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct gw_error err = {0};
    flip(cases[i].name, cases[i].at);
    log = receipt_log_open(&options, NULL, 0, &err);
    if (log) fail_msg("%s at %d", cases[i].name, (int)cases[i].at);
    assert_true(*err.message);
    flip(cases[i].name, cases[i].at);
  }
  receipt_log_close(open_log());
  check_all();
}

/* err.message says why, and it is put back as it was. */
static void assert_refused(const char *what) {
  struct receipt_options options = {.directory = directory, .period_ms = 1000};
  struct gw_error err = {0};
  struct receipt_log *log = receipt_log_open(&options, NULL, 0, &err);
  if (log) fail_msg("%s", what);
  assert_true(*err.message);
}

static void path_of(const char *name, char out[128]) { snprintf(out, 128, "%s/%s", directory, name); }

/* Another origin, key or beginning would be another log in this one's place: it is the same again when the file is back. */
static void what_is_missing_is_not_made_anew(void **state) {
  static const char *const names[] = {"origin", "key", "keys", "checkpoint"};
  char path[128], aside[128];
  (void)state;
  for (uint64_t size = 10; size <= 300; size += 290) { /* with a file of tiles, and without */
    struct receipt_log *log = open_log();
    for (uint64_t i = 0; i < size; i++) append(log, "f", i);
    receipt_log_close(log);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      path_of(names[i], path);
      path_of("aside", aside);
      assert_int_equal(rename(path, aside), 0);
      assert_refused(names[i]);
      assert_int_equal(access(path, F_OK), -1);
      assert_int_equal(rename(aside, path), 0);
    }
  }
  receipt_log_close(open_log());
  assert_int_equal(check_all().size, 310);
}

/* The first start ended between the two files of its key. */
static void a_key_that_was_never_used_signs_nothing(void **state) {
  char path[128];
  (void)state;
  receipt_log_close(open_log());
  path_of("key", path);
  assert_int_equal(unlink(path), 0);
  path_of("checkpoint", path);
  assert_int_equal(unlink(path), 0);
  for (int i = 0; i < 2; i++) receipt_log_close(open_log());
  check_all();
}

static void a_key_is_whole_and_for_its_owner(void **state) {
  char path[128], aside[128];
  (void)state;
  receipt_log_close(open_log());
  path_of("key", path);
  path_of("aside", aside);
  flip("key", 5); /* not the half that says which key it is */
  assert_refused("a key that is not the public one's");
  flip("key", 5);
  assert_int_equal(chmod(path, 0640), 0);
  assert_refused("a key that others may read");
  assert_int_equal(chmod(path, 0600), 0);
  assert_int_equal(rename(path, aside), 0);
  assert_int_equal(symlink("aside", path), 0);
  assert_refused("a link");
  assert_int_equal(unlink(path), 0);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_refused("a pipe");
  assert_int_equal(rename(aside, path), 0);
  receipt_log_close(open_log());
  check_all();
}

/* Where leaves begin, and what they are: behind a wrong end the next one would stand on another. */
static void leaves_that_changed_are_found(void **state) {
  char path[128];
  uint32_t at = 0;
  (void)state;
  struct receipt_log *log = open_log();
  for (uint64_t i = 0; i < 700; i++) append(log, "f", i);
  receipt_log_close(log);
  path_of("00000000.hashes", path);
  int fd = open(path, O_RDONLY);
  off_t second = (off_t)offsetof(struct files_hashes, bundles[2]);
  assert_true(fd >= 0 && pread(fd, &at, sizeof at, second) == sizeof at);
  close(fd);
  const struct {
    const char *name;
    off_t at;
  } cases[] = {
      {"00000000.hashes", second}, {"00000000.hashes", second + 1}, {"00000000.leaves", at + 1}, {"00000000.leaves", at + 20}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    flip(cases[i].name, cases[i].at);
    assert_refused(cases[i].name);
    flip(cases[i].name, cases[i].at);
  }
  receipt_log_close(open_log());
  assert_int_equal(check_all().size, 700);
}

/* They are made again of the leaves, unless some of these are forgotten. */
static void links_that_changed_are_not_believed(void **state) {
  struct buffer bytes = {0};
  struct receipt_log *log = open_log();
  (void)state;
  for (uint64_t i = 0; i < 100; i++) append(log, i % 2 ? "odd" : "even", i);
  receipt_log_close(log);
  flip("chains", 4); /* "100\n99 odd\n98 even\n" */
  log = open_log();
  append(log, "odd", 100);
  append(log, "even", 101);
  receipt_log_close(log);
  assert_int_equal(read_leaf(100, &bytes).fields[FIELD_PREVIOUS].number, 99);
  assert_int_equal(read_leaf(101, &bytes).fields[FIELD_PREVIOUS].number, 98);
  struct receipt_options options = {.directory = directory, .period_ms = 1000, .keep_bytes = 1};
  struct gw_error err = {0};
  log = receipt_log_open(&options, NULL, 0, &err);
  for (uint64_t i = 0; i < FILES_SEGMENT; i++) append(log, "many", i);
  assert_true(receipt_log_settle(log));
  receipt_log_close(log);
  assert_int_equal(files_read_leaf(directory, 99, &bytes), FILES_PRUNED);
  flip("chains", 8);
  assert_refused("links of leaves that are forgotten");
  flip("chains", 8);
  log = open_log();
  append(log, "odd", 0);
  receipt_log_close(log);
  assert_int_equal(read_leaf(FILES_SEGMENT + 102, &bytes).fields[FIELD_PREVIOUS].number, 100);
  buffer_clear(&bytes);
}

/* State that is older than the log has receipts of another one. */
static void a_new_log_takes_no_leaves_of_another(void **state) {
  uint8_t leaf[LEAF_MAX];
  struct receipt_options options = {.directory = directory, .period_ms = 1000};
  struct gw_error err = {0};
  size_t size = make_leaf(leaf, "f", 7);
  struct receipt_kept kept[] = {{3, leaf, size}, {1ull << 60, leaf, size}};
  (void)state;
  assert_false(receipt_log_exists(directory));
  receipt_log_close(open_with(kept, 2));
  assert_true(receipt_log_exists(directory));
  assert_int_equal(check_all().size, 0);
  assert_null(receipt_log_open(&options, kept + 1, 1, &err));
  assert_non_null(strstr(err.message, "of a log that was longer"));
}

static void paths_of_tiles_are_read(void **state) {
  static const struct {
    const char *path;
    bool is_good, is_entries;
    unsigned level;
    uint64_t n;
    size_t width;
  } cases[] = {
      {"/0/000", true, false, 0, 0, 256},
      {"/1/x001/x234/067", true, false, 1, 1234067, 256},
      {"/entries/x001/000.p/255", true, true, 0, 1000, 255},
      {"/7/000.p/1", true, false, 7, 0, 1},
      {.path = ""},
      {.path = "/"},
      {.path = "/0"},
      {.path = "/0/0"},
      {.path = "/0/00a"},
      {.path = "/00/000"},
      {.path = "/8/000"},
      {.path = "/-1/000"},
      {.path = "/0/x000/001"},
      {.path = "/0/001/002"},
      {.path = "/0/000.p/0"},
      {.path = "/0/000.p/256"},
      {.path = "/0/000.p/01"},
      {.path = "/0/000.p/1/"},
      {.path = "/0/000/"},
      {.path = "/entriesx/000"},
      {.path = "/0/x999/x999/x999/x999/x999/x999/x999/999"},
  };
  struct files_tile tile;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (files_parse_tile(cases[i].path, &tile) != cases[i].is_good) fail_msg("%s", cases[i].path);
    if (!cases[i].is_good) continue;
    assert_int_equal(tile.is_entries, cases[i].is_entries);
    assert_int_equal(tile.level, cases[i].level);
    assert_int_equal(tile.n, cases[i].n);
    assert_int_equal(tile.width, cases[i].width);
    char printed[FILES_TILE_PATH];
    files_print_tile(&tile, printed);
    assert_string_equal(printed, cases[i].path);
  }
  /* the specification's example: a tree of 70,000 */
  static const struct {
    const char *path;
    bool is_there;
  } of_70000[] = {
      {"/0/272", true},      {"/0/273", false},     {"/0/273.p/112", true},      {"/0/273.p/113", false}, {"/0/274.p/1", false},
      {"/1/000", true},      {"/1/001", false},     {"/1/001.p/17", true},       {"/1/001.p/18", false},  {"/2/000.p/1", true},
      {"/2/000.p/2", false}, {"/3/000.p/1", false}, {"/entries/273.p/112", true}};
  for (size_t i = 0; i < sizeof of_70000 / sizeof *of_70000; i++) {
    assert_true(files_parse_tile(of_70000[i].path, &tile));
    if (files_has_tile(&tile, 70000) != of_70000[i].is_there) fail_msg("%s", of_70000[i].path);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(leaves_are_kept_in_order),
      TEST(segments_follow_each_other),
      TEST(a_log_ends_with_its_segment),
      TEST(threads_share_the_sequence),
      TEST(a_checkpoint_covers_what_is_filled),
      TEST(keys_rotate),
      TEST(old_leaves_are_forgotten),
      TEST(leaves_of_some_age_are_forgotten),
      TEST(room_waits_for_no_sync),
      TEST(a_full_disk_has_no_room_and_loses_nothing),
      TEST(a_failed_sync_ends_the_promises),
      TEST(who_waits_hears_of_the_sync),
      TEST(what_passes_ends_no_promise),
      TEST(a_log_takes_room_as_it_needs_it),
      TEST(a_crash_loses_nothing_that_was_filled),
      TEST(a_crash_behind_a_segments_end_loses_nothing),
      TEST(leaves_that_were_kept_take_their_places),
      TEST(damage_is_found_when_the_log_is_opened),
      TEST(what_is_missing_is_not_made_anew),
      TEST(a_key_that_was_never_used_signs_nothing),
      TEST(a_key_is_whole_and_for_its_owner),
      TEST(leaves_that_changed_are_found),
      TEST(links_that_changed_are_not_believed),
      TEST(a_new_log_takes_no_leaves_of_another),
      TEST(paths_of_tiles_are_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
