/* A verb's options from a configuration file: under the names that the command line has for them, and with its values. */
#ifndef CLI_CONFIG_FILE_H
#define CLI_CONFIG_FILE_H

#include "cli/cli.h"
#include "cli/config_text.h"

struct config_problem {
  struct config_place place; /* line 0: of the whole file */
  const char *message;
};

/* Zero-initialise, then config_file_clear. */
struct config_file {
  struct arena arena; /* of the values, too, so that targets point into it */
  struct config_problem *problems;
  size_t n_problems, capacity;
  struct config_place places[CLI_MAX_OPTIONS]; /* of the option in this row; line 0: the file has it not */
};

enum { CONFIG_MAX_SIZE = 64 << 10 }; /* bytes of a file */

/* Sets the targets of those options that are not `given`; those in `refused`, NULL-terminated, are not for files. All that is
 * wrong becomes problems. */
void config_file_read(struct config_file *file, const struct buffer *text, const struct cli_command *command, const bool *given,
                      const char *const *refused);
void config_file_problem(struct config_file *file, struct config_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Appends a line for each problem, in the order of their places: "PATH:LINE:COLUMN: MESSAGE". */
void config_file_print(struct config_file *file, const char *path, struct buffer *out);
/* The same as an object. */
cJSON *config_file_json(struct config_file *file, const char *path);
void config_file_clear(struct config_file *file);

#endif
