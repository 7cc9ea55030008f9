/* A ledger with an ordinary SQL library: SQLite, as it is, with its database in /state. One request is one transaction, also in
 * the eyes of the server: two that write run one behind the other, and what fails leaves nothing.
 *
 *   POST /f/ledger/NAME?balance=100              opens an account
 *   POST /f/ledger?from=NAME&to=NAME&amount=10   moves money; 409 where there is not so much
 *   GET  /f/ledger                               accounts, as JSON
 *   GET  /f/ledger/NAME                          one, and its last entries */
#include "sqlite3.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *db;

/* Exit code 1: the server keeps nothing of it. */
static _Noreturn void fail(int status, const char *why) {
  printf("Status: %d\nContent-Type: application/json\n\n{\"error\":\"%s\"}\n", status, why);
  exit(1);
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail(500, sqlite3_errmsg(db));
  return statement;
}

/* A parameter of the query, or "". */
static const char *parameter(const char *name) {
  static char values[4][128];
  static int n;
  const char *at = getenv("QUERY_STRING");
  size_t size = strlen(name);
  char *out = values[n++ % 4];
  *out = 0;
  for (; at && *at; at += strcspn(at, "&"), at += *at == '&') {
    if (strncmp(at, name, size) != 0 || at[size] != '=') continue;
    at += size + 1;
    snprintf(out, sizeof values[0], "%.*s", (int)strcspn(at, "&"), at);
    break;
  }
  return out;
}

/* Runs a statement with up to three texts as parameters; how many rows it changed. */
static int run(const char *sql, const char *a, const char *b, const char *c) {
  const char *texts[] = {a, b, c};
  sqlite3_stmt *statement = prepare(sql);
  for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++)
    sqlite3_bind_text(statement, i + 1, texts[i], -1, SQLITE_STATIC);
  int rc = sqlite3_step(statement);
  if (rc == SQLITE_CONSTRAINT) fail(409, "that is not possible");
  if (rc != SQLITE_DONE && rc != SQLITE_ROW) fail(500, sqlite3_errmsg(db));
  sqlite3_finalize(statement);
  return sqlite3_changes(db);
}

/* Answers with what a query gives, which is JSON. */
static void answer(const char *sql, const char *text) {
  sqlite3_stmt *statement = prepare(sql);
  sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
  if (sqlite3_step(statement) != SQLITE_ROW) fail(404, "there is no such account");
  printf("Content-Type: application/json\n\n%s\n", (const char *)sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);
}

static void open_database(void) {
  if (sqlite3_open_v2("/state/ledger.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix-none") != SQLITE_OK)
    fail(500, sqlite3_errmsg(db));
  run("PRAGMA journal_mode = MEMORY", NULL, NULL, NULL);
  run("CREATE TABLE IF NOT EXISTS account(name TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0))", NULL, NULL,
      NULL);
  run("CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, source TEXT, target TEXT, amount INTEGER CHECK(amount > 0))",
      NULL, NULL, NULL);
}

static void transfer(const char *from, const char *to, const char *amount) {
  if (run("UPDATE account SET balance = balance - CAST(?2 AS INTEGER) WHERE name = ?1", from, amount, NULL) != 1 ||
      run("UPDATE account SET balance = balance + CAST(?2 AS INTEGER) WHERE name = ?1", to, amount, NULL) != 1)
    fail(404, "there is no such account");
  run("INSERT INTO entry(source, target, amount) VALUES (?1, ?2, CAST(?3 AS INTEGER))", from, to, amount);
  answer("SELECT json_object('name', name, 'balance', balance) FROM account WHERE name = ?1", from);
}

int main(void) {
  const char *method = getenv("REQUEST_METHOD"), *path = getenv("PATH_INFO");
  const char *name = path && *path == '/' ? path + 1 : "";
  bool is_post = method && strcmp(method, "POST") == 0;
  open_database();
  if (is_post && *name) {
    run("INSERT INTO account VALUES (?1, CAST(?2 AS INTEGER))", name, parameter("balance"), NULL);
    answer("SELECT json_object('name', name, 'balance', balance) FROM account WHERE name = ?1", name);
  } else if (is_post) {
    transfer(parameter("from"), parameter("to"), parameter("amount"));
  } else if (*name) {
    answer("SELECT json_object('name', name, 'balance', balance, 'entries', (SELECT json_group_array(json_array(source, target, "
           "amount)) FROM (SELECT * FROM entry WHERE source = ?1 OR target = ?1 ORDER BY id DESC LIMIT 10))) FROM account WHERE "
           "name = ?1",
           name);
  } else {
    answer("SELECT json_group_array(json_object('name', name, 'balance', balance)) FROM account ORDER BY name", "");
  }
  sqlite3_close(db);
  return 0;
}
