#include "server/ui/ui.h"

#include "base/digest.h"

#include <stdio.h>
#include <string.h>

#define UI_FILE(symbol, name, type) extern const char ui_file_##symbol[], ui_end_##symbol[];
#define UI_MADE UI_FILE
#include "server/ui/files.def"
#undef UI_FILE

static const struct ui_file files[] = {
#define UI_FILE(symbol, name, type) {name, type, ui_file_##symbol, ui_end_##symbol},
#include "server/ui/files.def"
#undef UI_FILE
};

const struct ui_file *ui_find(const char *name) {
  if (!*name) return &files[0];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (strcmp(files[i].name, name) == 0) return &files[i];
  return NULL;
}

_Static_assert((int)UI_TAG_SIZE == (int)DIGEST_HEX_SIZE + 2, "a digest between quotes");

const char *ui_tag(const struct ui_file *file, char out[UI_TAG_SIZE]) {
  char hex[DIGEST_HEX_SIZE];
  struct digest digest = digest_of(file->bytes, (size_t)(file->end - file->bytes));
  digest_print(&digest, hex);
  snprintf(out, UI_TAG_SIZE, "\"%s\"", hex);
  return out;
}
