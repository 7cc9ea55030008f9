/* Reads a configuration file's text: YAML, and so JSON, of one mapping. What stands where; what it means is config_file.c's. */
#ifndef CLI_CONFIG_TEXT_H
#define CLI_CONFIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum config_kind { CONFIG_TEXT, CONFIG_INTEGER, CONFIG_BOOLEAN, CONFIG_OTHER };

/* Lines and columns count from 1. */
struct config_place {
  unsigned line, column;
};

struct config_value {
  enum config_kind kind;
  const char *text; /* as it stands there; of CONFIG_OTHER what it is: "a mapping" */
  struct config_place place;
};

/* KEY: VALUE, or KEY: [VALUES]. */
struct config_entry {
  const char *key;
  struct config_place place;
  bool is_list;
  const struct config_value *values;
  size_t n;
};

struct config_error {
  struct config_place place;
  char message[256];
};

/* Each entry of the mapping, which is the callback's only while it runs. False: the text is no such mapping, nothing was called,
 * and `error` says why. */
bool config_text_read(const char *text, size_t size, void (*each)(void *arg, const struct config_entry *entry), void *arg,
                      struct config_error *error);

#endif
