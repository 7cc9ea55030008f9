/* Inputs of invocations: their format, every changed bit of it, and the files that keep them. */
#define _GNU_SOURCE /* nftw */
#include "base/arena.h"
#include "base/error.h"
#include "server/inputs/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
  (void)st, (void)type, (void)walk;
  return remove(path);
}

static int setup(void **state) {
  (void)state;
  strcpy(directory, "/tmp/gasworks-inputs-XXXXXX");
  return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct inputs sample(uint64_t index, const char *request) {
  struct inputs in = {0};
  inputs_set_number(&in, INPUT_INDEX, index);
  inputs_set_number(&in, INPUT_GAS_LIMIT, UINT64_MAX);
  inputs_set_number(&in, INPUT_PORT, 0); /* is left out */
  inputs_set_bytes(&in, INPUT_ADDRESS, "hello", 5);
  inputs_set_bytes(&in, INPUT_HOST, "\0\1\2", 3);
  inputs_set_bytes(&in, INPUT_SETTINGS, "A=b\0SECRET", 11);
  inputs_set_bytes(&in, INPUT_REQUEST, request, strlen(request));
  return in;
}

static const uint8_t settings_digest[INPUTS_DIGEST] = {7};

static void assert_same(const struct inputs *a, const struct inputs *b) {
  for (int i = 0; i < INPUT_COUNT; i++) {
    const struct input_value *x = &a->fields[i], *y = &b->fields[i];
    assert_int_equal(x->is_there, y->is_there);
    assert_int_equal(x->number, y->number);
    assert_int_equal(x->size, y->size);
    if (x->size) assert_memory_equal(x->bytes, y->bytes, x->size);
  }
}

static void bytes_and_back(void **state) {
  (void)state;
  struct inputs in = sample(1 << 20, "GET / \n\n"), out;
  struct buffer text = {0};
  struct gw_error err = {0};
  inputs_print(&in, &text);
  assert_true(inputs_parse(&out, text.bytes, text.size, &err));
  assert_same(&in, &out);
  for (size_t bit = 0; bit < 8 * text.size; bit++) {
    err = (struct gw_error){0};
    text.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    if (inputs_parse(&out, text.bytes, text.size, &err)) fail_msg("bit %zu is changed, and nobody sees it", bit);
    assert_int_equal(err.code, GW_ERROR_INVALID);
    text.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  for (size_t size = 0; size < text.size; size++) {
    err = (struct gw_error){0};
    uint8_t *cut = malloc(size + 1); /* so that a sanitizer sees who reads beyond */
    memcpy(cut, text.bytes, size);
    assert_false(inputs_parse(&out, cut, size, &err));
    free(cut);
  }
  buffer_clear(&text);
}

/* With a good checksum, whatever stands before it. */
static void strange_fields(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
  } bad[] = {
      {"\0\1\0\0", 4},                  /* half a head */
      {"\0\1\0\0\0", 5},                /* nothing behind it */
      {"\0\0\0\0\0", 5},                /* an empty field */
      {"\0\11\0\0\0aaaaaaaaa", 14},     /* a number of nine bytes */
      {"\0\2\0\0\0\1\0", 7},            /* one that could be shorter */
      {"\0\1\0\0\0\1\0\1\0\0\0\1", 12}, /* a field twice */
      {"\2\1\0\0\0\1\1\1\0\0\0\1", 12}, /* out of order */
      {"\377\1\0\0\0\1", 6},            /* no such field */
      {"\12\3\0\0\0a\0b", 8},           /* text with a 0 */
      {"\12\377\377\377\377a", 6},      /* more than there is */
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct inputs out = {0};
    uint8_t *copy = malloc(bad[i].size);
    memcpy(copy, bad[i].bytes, bad[i].size);
    if (inputs_decode(&out, copy, bad[i].size)) fail_msg("the %zu. strange field passes", i);
    free(copy);
  }
}

static void the_page_lists_all(void **state) {
  (void)state;
  static const char *const kinds[] = {"number", "text", "bytes"};
  struct buffer page = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/replay.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  for (int i = 0; i < INPUT_COUNT; i++) {
    char row[80];
    snprintf(row, sizeof row, "\n| %d | `%s` | %s |", i, inputs_word((enum input_field)i),
             kinds[inputs_kind((enum input_field)i)]);
    if (!strstr((const char *)page.bytes, row)) fail_msg("docs/replay.md has no row%s", row);
  }
  buffer_clear(&page);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static struct inputs_store *open_store(uint64_t keep_bytes, uint64_t keep_seconds) {
  struct inputs_options options = {.directory = directory, .keep_bytes = keep_bytes, .keep_seconds = keep_seconds};
  struct gw_error err = {0};
  struct inputs_store *store = inputs_store_open(&options, &err);
  assert_non_null(store);
  return store;
}

static void keep(struct inputs_store *store, uint64_t index, const char *request) {
  struct inputs in = sample(index, request);
  uint8_t digest[INPUTS_DIGEST] = {0};
  uint64_t sum = inputs_checksum(request, strlen(request));
  memcpy(digest, &sum, sizeof sum);
  inputs_store_keep(store, &in, digest, settings_digest);
}

static uint64_t size_of_files(void) {
  struct dirent *d;
  struct stat st;
  uint64_t size = 0;
  DIR *dir = opendir(directory);
  assert_non_null(dir);
  while ((d = readdir(dir)))
    if (*d->d_name != '.' && fstatat(dirfd(dir), d->d_name, &st, 0) == 0) size += (uint64_t)st.st_size;
  closedir(dir);
  return size;
}

static void kept_and_found(void **state) {
  (void)state;
  struct inputs_store *store = open_store(1 << 30, 0);
  struct inputs out;
  char request[32];
  for (uint64_t i = 0; i < 1000; i++) {
    snprintf(request, sizeof request, "GET /%d \n\n", (int)i % 7);
    keep(store, i ^ 1, request); /* not quite in order */
  }
  inputs_store_flush(store);
  struct inputs_reader *reader = inputs_reader_open(directory);
  for (uint64_t i = 0; i < 1000; i++) {
    assert_int_equal(inputs_reader_find(reader, i ^ 1, &out), INPUTS_FOUND);
    snprintf(request, sizeof request, "GET /%d \n\n", (int)i % 7);
    struct inputs wanted = sample(i ^ 1, request);
    assert_same(&wanted, &out);
  }
  assert_int_equal(inputs_reader_find(reader, 1000, &out), INPUTS_NONE);
  keep(store, 1000, "GET /new \n\n");
  inputs_store_flush(store);
  assert_int_equal(inputs_reader_find(reader, 1000, &out), INPUTS_FOUND); /* in the file that was read before */
  inputs_store_close(store);
  assert_int_equal(inputs_reader_find(reader, 1000, &out), INPUTS_FOUND); /* which has another name now */
  store = open_store(1 << 30, 0);
  keep(store, 1001, "GET /again \n\n");
  inputs_store_close(store);
  assert_int_equal(inputs_reader_find(reader, 1001, &out), INPUTS_FOUND);
  assert_int_equal(inputs_reader_find(reader, 3, &out), INPUTS_FOUND);
  inputs_reader_close(reader);
}

/* Else a reader beside a busy server would read and check all of a file for each entry. */
static void what_was_read_is_not_read_again(void **state) {
  (void)state;
  struct inputs out;
  char path[400];
  struct inputs_store *store = open_store(1 << 30, 0);
  for (uint64_t i = 0; i < 10; i++) keep(store, i, "GET /a \n\n");
  inputs_store_flush(store);
  struct inputs_reader *reader = inputs_reader_open(directory);
  assert_int_equal(inputs_reader_find(reader, 9, &out), INPUTS_FOUND);
  snprintf(path, sizeof path, "%s/%016x.inputs", directory, 1);
  assert_int_equal(truncate(path, 0), 0); /* who read it again would find nothing */
  for (uint64_t i = 0; i < 9; i++) assert_int_equal(inputs_reader_find(reader, i, &out), INPUTS_FOUND);
  inputs_reader_close(reader);
  inputs_store_close(store);
}

static void equal_ones_are_there_once(void **state) {
  (void)state;
  static char request[20001];
  struct inputs_store *store = open_store(1 << 30, 0);
  memset(request, 'x', sizeof request - 1);
  for (uint64_t i = 0; i < 100; i++) keep(store, i, request);
  inputs_store_close(store);
  assert_true(size_of_files() < 2 * sizeof request);
}

static void the_oldest_go(void **state) {
  (void)state;
  enum { KEEP = 1 << 20 };
  static char request[20001];
  struct inputs out;
  struct inputs_store *store = open_store(KEEP, 0);
  memset(request, 'x', sizeof request - 1);
  for (uint64_t i = 0; i < 300; i++) {
    snprintf(request, 10, "%09d", (int)i);
    request[9] = 'x';
    keep(store, i, request);
    if (i % 50 == 0) inputs_store_flush(store);
  }
  inputs_store_close(store);
  assert_true(size_of_files() < KEEP + KEEP / 4);
  struct inputs_reader *reader = inputs_reader_open(directory);
  assert_int_equal(inputs_reader_find(reader, 0, &out), INPUTS_NONE);
  assert_int_equal(inputs_reader_find(reader, 299, &out), INPUTS_FOUND);
  inputs_reader_close(reader);
}

/* Whatever bit of the file is changed: an entry is found as it was, or not at all. */
static void changed_bits(void **state) {
  (void)state;
  struct inputs_store *store = open_store(1 << 30, 0);
  struct buffer file = {0};
  struct gw_error err = {0};
  for (uint64_t i = 0; i < 3; i++) keep(store, i, i ? "POST /b \n\nbody" : "GET /a \n\n");
  inputs_store_close(store);
  DIR *dir = opendir(directory);
  struct dirent *d;
  char path[400] = "";
  while ((d = readdir(dir)))
    if (*d->d_name != '.') snprintf(path, sizeof path, "%s/%s", directory, d->d_name);
  closedir(dir);
  assert_true(buffer_read_file(&file, path, 1 << 20, &err));
  size_t n_found = 0;
  for (size_t bit = 0; bit < 8 * file.size; bit++) {
    file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd_write_all(fd, file.bytes, file.size));
    close(fd);
    struct inputs_reader *reader = inputs_reader_open(directory);
    for (uint64_t i = 0; i < 3; i++) {
      struct inputs out, wanted = sample(i, i ? "POST /b \n\nbody" : "GET /a \n\n");
      if (inputs_reader_find(reader, i, &out) != INPUTS_FOUND) continue;
      assert_same(&wanted, &out);
      n_found++;
    }
    inputs_reader_close(reader);
    file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  assert_true(n_found > 8 * file.size); /* others than the changed one are there still */
  buffer_clear(&file);
}

/* --- files that others change meanwhile ---------------------------------------------------------------------------- */

enum { N_GROWING = 60 };

static void *keep_on(void *store) {
  static char request[20001];
  memset(request, 'x', sizeof request - 1);
  for (uint64_t i = 0; i < N_GROWING; i++) {
    snprintf(request, 10, "%09d", (int)i);
    request[9] = 'x';
    keep(store, i, request);
    usleep(12000); /* so that a file is full at about every turn of the thread that writes */
  }
  return NULL;
}

static bool finds(uint64_t index) {
  struct inputs out;
  struct inputs_reader *reader = inputs_reader_open(directory);
  bool is_found = inputs_reader_find(reader, index, &out) == INPUTS_FOUND;
  inputs_reader_close(reader);
  return is_found;
}

/* What was found once is found again, though its file gets another name just then. Many files make listing them slow. */
static void full_files_are_renamed(void **state) {
  (void)state;
  pthread_t thread;
  char path[200];
  for (int i = 0; i < 500; i++) {
    snprintf(path, sizeof path, "%s/%016x-ffffffff-ffffffff.inputs", directory, i);
    close(open(path, O_CREAT | O_WRONLY, 0600));
  }
  struct inputs_store *store = open_store(2 << 20, 0);
  assert_int_equal(pthread_create(&thread, NULL, keep_on, store), 0);
  for (uint64_t next = 0; next < N_GROWING;) {
    if (finds(next)) next++;
    if (next && !finds(next - 1)) fail_msg("the inputs of %" PRIu64 " were there, and are not", next - 1);
  }
  pthread_join(thread, NULL);
  inputs_store_close(store);
}

/* What kill -9 leaves: the file that grew ends anywhere. Nothing is damaged by that, some is not there. */
static void a_file_ends_anywhere(void **state) {
  (void)state;
  char path[200];
  struct buffer file = {0};
  struct gw_error err = {0};
  struct inputs out;
  struct inputs_store *store = open_store(1 << 30, 0);
  for (uint64_t i = 0; i < 3; i++) keep(store, i, i ? "POST /b \n\nbody" : "GET /a \n\n");
  inputs_store_flush(store);
  snprintf(path, sizeof path, "%s/%016x.inputs", directory, 1);
  assert_true(buffer_read_file(&file, path, 1 << 20, &err));
  inputs_store_close(store);
  assert_int_equal(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
  assert_int_equal(mkdir(directory, 0700), 0);
  for (size_t size = 0; size <= file.size; size++) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd_write_all(fd, file.bytes, size));
    close(fd);
    struct inputs_reader *reader = inputs_reader_open(directory);
    for (uint64_t i = 0; i < 4; i++)
      if (inputs_reader_find(reader, i, &out) == INPUTS_DAMAGED)
        fail_msg("after %zu bytes %" PRIu64 " is said to be damaged", size, i);
    inputs_reader_close(reader);
  }
  buffer_clear(&file);
}

/* Whatever --keep-inputs-each says: what is too large to wait for the disk is known to be lost, not dropped with all else. */
static void large_pieces_are_lost(void **state) {
  (void)state;
  enum { SIZE = 20 << 20 };
  static const enum input_field fields[] = {INPUT_REQUEST, INPUT_READS, INPUT_HOST};
  char *large = calloc(1, SIZE);
  struct inputs_store *store = open_store(1 << 30, 0);
  for (uint64_t i = 0; i < 3; i++) {
    struct inputs in = sample(i, "GET / \n\n");
    uint8_t digest[INPUTS_DIGEST] = {1};
    inputs_set_bytes(&in, fields[i], large, SIZE);
    inputs_store_keep(store, &in, digest, settings_digest);
  }
  assert_int_equal(inputs_store_dropped(store), 0);
  inputs_store_close(store);
  struct inputs_reader *reader = inputs_reader_open(directory);
  for (uint64_t i = 0; i < 3; i++) {
    struct inputs out;
    assert_int_equal(inputs_reader_find(reader, i, &out), INPUTS_FOUND);
    assert_int_equal(out.fields[INPUT_LOST].number, 1 << i);
    assert_false(out.fields[fields[i]].is_there);
  }
  inputs_reader_close(reader);
  free(large);
}

/* Also where something is kept all the time, so that a file is never full and never old. */
static void the_old_go(void **state) {
  (void)state;
  struct inputs_store *store = open_store(1 << 30, 1);
  keep(store, 0, "GET /old \n\n");
  inputs_store_flush(store);
  assert_true(finds(0));
  uint64_t i = 1;
  for (; i < 150 && finds(0); i++) {
    keep(store, i, "GET /new \n\n");
    inputs_store_flush(store);
    usleep(50000);
  }
  if (finds(0)) fail_msg("what is to be kept for a second is there after 15");
  inputs_store_close(store);
  assert_true(finds(i - 1));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_and_back),
      cmocka_unit_test(strange_fields),
      cmocka_unit_test(the_page_lists_all),
      cmocka_unit_test_setup_teardown(kept_and_found, setup, teardown),
      cmocka_unit_test_setup_teardown(what_was_read_is_not_read_again, setup, teardown),
      cmocka_unit_test_setup_teardown(equal_ones_are_there_once, setup, teardown),
      cmocka_unit_test_setup_teardown(the_oldest_go, setup, teardown),
      cmocka_unit_test_setup_teardown(changed_bits, setup, teardown),
      cmocka_unit_test_setup_teardown(full_files_are_renamed, setup, teardown),
      cmocka_unit_test_setup_teardown(a_file_ends_anywhere, setup, teardown),
      cmocka_unit_test_setup_teardown(large_pieces_are_lost, setup, teardown),
      cmocka_unit_test_setup_teardown(the_old_go, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
