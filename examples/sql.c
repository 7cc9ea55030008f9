/* SQL over HTTP: the request's body is statements, the answer is their rows, columns between bars. The database is a file in
 * /state, so each request is a transaction of the server's: nothing of one that fails is kept, and the answer says what is
 * durable.
 *
 *   curl -d 'create table t(a); insert into t values (1), (2); select sum(a) from t' localhost:8080/f/sql */
#include "sqlite3.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_SQL = 1 << 20 };

static int print_row(void *unused, int n, char **values, char **names) {
  (void)unused, (void)names;
  for (int i = 0; i < n; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "");
  putchar('\n');
  return 0;
}

int main(void) {
  static char sql[MAX_SQL + 1];
  sqlite3 *db;
  char *message = NULL;
  size_t size = fread(sql, 1, MAX_SQL, stdin);
  sql[size] = 0;
  int rc = sqlite3_open_v2("/state/sql.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix-none");
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "PRAGMA journal_mode = MEMORY", NULL, NULL, NULL);
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  if (rc == SQLITE_OK) {
    printf("Content-Type: text/plain\n\n");
    rc = sqlite3_exec(db, sql, print_row, NULL, &message);
    if (rc != SQLITE_OK) printf("error: %s\n", message);
  } else {
    printf("Status: 500\n\n%s\n", sqlite3_errmsg(db));
  }
  int closed = sqlite3_close(db);
  return closed == SQLITE_OK ? 0 : 1;
}
