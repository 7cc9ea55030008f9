/* Names of symbols: what compilers make of a path, and what hostile modules may put there instead. */
#include "base/demangle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *name, const char *expected) {
  char out[200];
  bool ok = demangle(name, strlen(name), out, sizeof out);
  assert_int_equal(ok, expected != NULL);
  assert_string_equal(out, expected ? expected : "");
}

static void test_names(void **state) {
  (void)state;
  expect("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write");
  expect("_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
         "<Test + 'static as foo::Bar<Test>>::bar");
  expect("_RNvC6_123foo3bar", "123foo::bar");
  expect("_RNvMs0_NtCs5l0EXMQXRMU_8wordpack4textNtB5_4Text5split", "<wordpack::text::Text>::split");
  expect("_RNvXs_C7mycrateNtB4_3BarNtB4_3Foo3foo", "<mycrate::Bar as mycrate::Foo>::foo");
  expect("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back");
  expect("core::fmt::write::h0123456789abcdef", "core::fmt::write");
  expect("main", NULL);
  expect("_start", NULL);
  expect("_R", NULL);
  expect("_ZN", NULL);
  expect("::h0123456789abcdef", NULL);
  expect("core::fmt::write::h0123456789abcdeg", NULL);
  expect("", NULL);
}

static void test_cut(void **state) {
  (void)state;
  char out[8], long_name[3000] = "_ZN3000";
  static const char accented[] = "caf\xc3\xa9\xc3\xa9\xc3\xa9::h0123456789abcdef";
  assert_true(demangle("_ZN4core3fmt5write17h0123456789abcdefE", 38, out, sizeof out));
  assert_string_equal(out, "core::f");
  assert_true(demangle(accented, sizeof accented - 1, out, 7));
  assert_string_equal(out, "caf\xc3\xa9");
  assert_true(demangle(accented, sizeof accented - 1, out, 1));
  assert_string_equal(out, "");
  memset(long_name + 7, 'a', sizeof long_name - 7);
  assert_false(demangle(long_name, sizeof long_name, out, sizeof out));
}

/* What is deep, repeats itself, or is no text. */
static void test_hostile(void **state) {
  (void)state;
  char name[1000], out[300];
  static const char *const units[] = {"P", "N", "I", "S_", "F", "K", "NvC", "B_", "INvB_", "RS", "TT", "Dp", "cv", "XL"};
  for (int r = 0; r < 2; r++)
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
      memcpy(name, r ? "_R" : "_Z", 2);
      for (size_t i = 2; i < sizeof name; i++) name[i] = units[u][(i - 2) % strlen(units[u])];
      demangle(name, sizeof name, out, sizeof out);
      assert_true(strlen(out) < sizeof out);
    }
}

/* Bytes of names that are right, changed and put together at random. */
static void test_random(void **state) {
  (void)state;
  static const char seed[] =
      "_ZN71_$LT$u20$$u2b$17h930b740aa94f1d3aE_RNvXs_C7mycrateNtB4_3BarINvB_DpTSt6vectorIiSaIiEE9pushERKiLj";
  const char *told = getenv("GASWORKS_DEMANGLE_ROUNDS");
  long rounds = told ? atol(told) : 100000;
  srandom(1);
  for (long n = 0; n < rounds; n++) {
    char name[120], out[64];
    size_t size = 2 + (size_t)random() % (sizeof name - 2);
    memcpy(name, random() & 1 ? "_R" : "_Z", 2);
    for (size_t i = 2; i < size;) {
      size_t at = (size_t)random() % (sizeof seed - 1), k = 1 + (size_t)random() % 8;
      while (k-- && i < size && at < sizeof seed - 1) name[i++] = random() % 40 ? seed[at++] : (char)random();
    }
    char *exact = malloc(size); /* for the sanitizer: not a byte beyond */
    assert_non_null(exact);
    memcpy(exact, name, size);
    bool ok = demangle(exact, size, out, sizeof out);
    assert_true(strlen(out) < sizeof out && (ok || !*out));
    free(exact);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_cut),
      cmocka_unit_test(test_hostile),
      cmocka_unit_test(test_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
