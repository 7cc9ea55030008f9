/* Reads TOML: the values of one table, with their places. Behind it is toml++, a library of C++. */
#ifndef CLI_TOML_H
#define CLI_TOML_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_kind { TOML_TEXT, TOML_INTEGER, TOML_BOOLEAN, TOML_OTHER };

/* Lines and columns count from 1. */
struct toml_place {
  unsigned line, column;
};

struct toml_value {
  enum toml_kind kind;
  const char *text; /* an integer's in decimal, "true" or "false"; of TOML_OTHER what it is: "a table" */
  struct toml_place place;
};

/* KEY = VALUE, or KEY = [VALUES]. */
struct toml_entry {
  const char *key;
  struct toml_place place;
  bool is_list;
  const struct toml_value *values;
  size_t n;
};

struct toml_problem {
  struct toml_place place;
  char message[256];
};

/* Each entry of the document's outermost table, which is the callback's only while it runs. False: the text is not TOML, nothing
 * was called, and `problem` says why. */
bool toml_read(const char *text, size_t size, void (*each)(void *arg, const struct toml_entry *entry), void *arg,
               struct toml_problem *problem);

#ifdef __cplusplus
}
#endif

#endif
