/* Addresses of databases: what is shown of them has no password, whatever it looks like. */
#include "runtime/state/postgres/pq.h"
#include "runtime/state/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_passwords_are_not_shown(void **state) {
  (void)state;
  static const struct {
    const char *url, *shown;
  } rows[] = {
      {"postgres://host/db", "postgres://host/db"},
      {"postgres://user@host:5432/db", "postgres://user@host:5432/db"},
      {"postgres://user:secret@host:5432/db", "postgres://user:***@host:5432/db"},
      {"postgres://user:se:cret@host", "postgres://user:***@host"},
      {"postgres://user:se@cret@host/db", "postgres://user:***@host/db"},
      {"postgres://user:se/cret@host/db", "postgres://user:***@host/db"},
      {"postgres://user:se?cret@host/db", "postgres://user:***@host/db"},
      {"postgres://user:secret@one:1,two:2/db?target_session_attrs=any",
       "postgres://user:***@one:1,two:2/db?target_session_attrs=any"},
      {"postgres:///db?host=/run&password=secret&user=u", "postgres:///db?host=/run&password=***&user=u"},
      {"postgres:///db?PASSWORD=secret", "postgres:///db?PASSWORD=***"},
      {"postgres:///db?sslpassword=secret&x=1", "postgres:///db?sslpassword=***&x=1"},
      {"user:secret@host", "user:***@host"},
      {"", ""},
  };
  char shown[256];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pq_print_url(rows[i].url, shown, sizeof shown);
    assert_string_equal(shown, rows[i].shown);
  }
}

/* An address that is refused is not quoted with its password either. */
static void test_errors_hold_no_password(void **state) {
  (void)state;
  static const char *const urls[] = {"http://user:secret@host/", "postgres://user:secret@host:port/db",
                                     "postgres://user:secret@[::1/db", "postgres://user:secret@127.0.0.1:1/db",
                                     "postgres://user:secret@127.0.0.1/db?nonsense=1"};
  struct gw_error err = {0};
  if (!pq_open(&err)) skip();
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    struct state_postgres options = {.url = urls[i], .connections = 2, .wait_ms = 100};
    err = (struct gw_error){0};
    assert_null(state_store_open_postgres(&options, &err));
    assert_int_not_equal(err.code, GW_ERROR_NONE);
    assert_null(strstr(err.message, "secret"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_passwords_are_not_shown),
      cmocka_unit_test(test_errors_hold_no_password),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
