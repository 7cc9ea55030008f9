/* Files of inputs, between who writes and who reads them. Private to server/inputs/. */
#ifndef SERVER_INPUTS_PRIVATE_H
#define SERVER_INPUTS_PRIVATE_H

#include "server/inputs/store.h"

enum { INPUTS_PIECE = 1, INPUTS_ENTRY = 2 };

struct inputs_record {
  uint64_t sum;        /* of all that follows */
  uint32_t size, kind; /* with this head */
};

struct inputs_entry {
  uint64_t index;
  uint8_t request[INPUTS_DIGEST], settings[INPUTS_DIGEST];
};

struct inputs_file {
  char name[80];
  uint64_t number, least, greatest; /* which indices may be in it */
};

struct inputs_files {
  struct inputs_file *items; /* by number */
  size_t n, capacity;
};

void inputs_files_list(struct inputs_files *files, const char *directory);
void inputs_files_clear(struct inputs_files *files);

#endif
