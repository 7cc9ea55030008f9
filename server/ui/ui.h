/* The dashboard: files that are in the program, to be sent as they are. */
#ifndef SERVER_UI_UI_H
#define SERVER_UI_UI_H

#include <stddef.h>

struct ui_file {
  const char *name, *type; /* type: its Content-Type */
  const char *bytes, *end;
};

enum { UI_TAG_SIZE = 67 };

/* The file of that name, "" being the page itself; NULL: there is none. */
const struct ui_file *ui_find(const char *name);
/* Its entity tag, with quotes: the digest of its bytes. */
const char *ui_tag(const struct ui_file *file, char out[UI_TAG_SIZE]);

#endif
