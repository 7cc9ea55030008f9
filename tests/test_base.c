/* What base/ has once: the index map against an array, digests against a published value. */
#include "base/array.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/index_map.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_KEYS = 5000, N_STEPS = 200000 };

/* Addresses as an allocator gives them: some close to each other, some far, with the same low bits. */
static const void *key_of(uint32_t i) {
  return (const void *)((uintptr_t)0x10000 + (i % 2 ? (uintptr_t)i << 4 : (uintptr_t)i << 24));
}

static void test_index_map(void **state) {
  (void)state;
  static uint32_t expected[N_KEYS]; /* number + 1 */
  struct index_map map = {0};
  uint32_t random = 1, n = 0;
  assert_int_equal(index_map_find(&map, key_of(1)), INDEX_NONE);
  index_map_empty(&map);
  for (uint32_t step = 0; step < N_STEPS; step++) {
    random = random * 1664525u + 1013904223u;
    uint32_t k = random >> 8, i = k % N_KEYS;
    if (k % 20011 == 0) {
      index_map_empty(&map);
      memset(expected, 0, sizeof expected);
      n = 0;
    }
    assert_int_equal(index_map_find(&map, key_of(i)), expected[i] ? expected[i] - 1 : INDEX_NONE);
    if (k & 1 << 20) continue;
    if (!expected[i]) expected[i] = ++n;
    assert_int_equal(index_map_add(&map, key_of(i), n - 1), expected[i] - 1);
    assert_int_equal(map.n, n);
  }
  index_map_free(&map);
}

/* The round in which an entry was made may come again: what is old must not come back with it. */
static void test_rounds_begin_again(void **state) {
  (void)state;
  struct index_map map = {0};
  index_map_add(&map, key_of(1), 7);
  map.round = UINT32_MAX;
  index_map_add(&map, key_of(2), 8);
  index_map_empty(&map);
  assert_int_equal(index_map_find(&map, key_of(1)), INDEX_NONE);
  index_map_add(&map, key_of(3), 9);
  assert_int_equal(index_map_find(&map, key_of(1)), INDEX_NONE);
  assert_int_equal(index_map_find(&map, key_of(2)), INDEX_NONE);
  assert_int_equal(index_map_find(&map, key_of(3)), 9);
  index_map_free(&map);
}

/* What `b2sum -l 256` says of "abc". */
static void test_digest(void **state) {
  (void)state;
  char hex[DIGEST_HEX_SIZE];
  struct digest abc = digest_of("abc", 3), abd = digest_of("abd", 3), empty = digest_of("", 0);
  digest_print(&abc, hex);
  assert_string_equal(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  assert_true(digest_is(&abc, &abc));
  assert_false(digest_is(&abc, &abd));
  assert_false(digest_is(&abc, &empty));
  assert_true(digest_is_hex(hex));
  hex[3] = 'X';
  assert_false(digest_is_hex(hex));
  hex[3] = 0;
  assert_false(digest_is_hex(hex));
}

static void test_array(void **state) {
  (void)state;
  uint16_t *items = NULL;
  uint32_t capacity = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    if (i == capacity) array_grow(items, capacity, 3);
    items[i] = (uint16_t)i;
  }
  for (uint32_t i = 0; i < 1000; i++) assert_int_equal(items[i], i);
  assert_int_equal(capacity, 1536);
  free(items);
}

/* What a user names as output and is no file stays what it is: `-o /dev/null` must not take /dev/null away. */
static void test_devices_stay(void **state) {
  (void)state;
  char directory[] = "/tmp/gasworks-base-XXXXXX", path[64], bytes[16];
  struct gw_error err = {0};
  struct stat st;
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/pipe", directory);
  assert_int_equal(mkfifo(path, 0600), 0);
  int fd = open(path, O_RDWR | O_NONBLOCK);
  assert_true(file_write_named(path, "bytes", 5, 0600, &err));
  assert_int_equal(read(fd, bytes, sizeof bytes), 5);
  assert_memory_equal(bytes, "bytes", 5);
  assert_int_equal(stat(path, &st), 0);
  assert_true(S_ISFIFO(st.st_mode));
  close(fd);
  assert_int_equal(unlink(path), 0);
  assert_true(file_write_named(path, "bytes", 5, 0600, &err)); /* a file now, and then another */
  assert_true(file_write_named(path, "more bytes", 10, 0600, &err));
  assert_int_equal(stat(path, &st), 0);
  assert_true(S_ISREG(st.st_mode) && st.st_size == 10);
  assert_int_equal(unlink(path), 0);
  assert_false(file_write_named(directory, "bytes", 5, 0600, &err));
  assert_int_equal(rmdir(directory), 0);
  err = (struct gw_error){0};
  assert_true(file_write_named("/dev/null", "bytes", 5, 0600, &err));
  assert_int_equal(stat("/dev/null", &st), 0);
  assert_true(S_ISCHR(st.st_mode));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_index_map), cmocka_unit_test(test_rounds_begin_again),
                                     cmocka_unit_test(test_digest), cmocka_unit_test(test_array),
                                     cmocka_unit_test(test_devices_stay)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
