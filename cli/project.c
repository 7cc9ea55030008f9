#include "cli/project.h"

#include "base/buffer.h"
#include "base/error.h"
#include "cli/config_text.h"
#include "server/function/function.h"

#include <string.h>

struct reading {
  struct project *project;
  const char *path;
  struct arena *arena;
  struct gw_error *err;
};

static void fail(const struct reading *r, struct config_place place, const char *problem, const char *what) {
  if (r->err->code) return;
  if (place.line)
    error_set(r->err, GW_ERROR_USAGE, "%s:%u:%u: %.100s%s", r->path, place.line, place.column, what, problem);
  else
    error_set(r->err, GW_ERROR_USAGE, "%s: %.100s%s", r->path, what, problem);
}

static void each(void *arg, const struct config_entry *entry) {
  const struct reading *r = arg;
  const struct {
    const char *name;
    const char **target;
  } keys[] = {{"name", &r->project->name}, {"build", &r->project->build}, {"module", &r->project->module}};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (strcmp(keys[i].name, entry->key) != 0) continue;
    if (entry->is_list || entry->values->kind == CONFIG_OTHER || !*entry->values->text)
      fail(r, entry->place, " wants a string", entry->key);
    else
      *keys[i].target = arena_format(r->arena, "%s", entry->values->text);
    return;
  }
  fail(r, entry->place, " is not known; there are name, build and module", entry->key);
}

bool project_read(struct project *p, const char *directory, struct arena *arena, struct gw_error *err) {
  struct buffer text = {0};
  struct config_error problem;
  struct reading r = {p, arena_format(arena, "%s/" PROJECT_FILE, directory), arena, err};
  if (!buffer_read_plain_file(&text, r.path, 1 << 16, err)) return false;
  if (!config_text_read((const char *)text.bytes, text.size, each, &r, &problem)) fail(&r, problem.place, problem.message, "");
  buffer_clear(&text);
  if (err->code) return false;
  if (!p->name || !p->build || !p->module) return error_set(err, GW_ERROR_USAGE, "%s wants name, build and module", r.path);
  if (function_name_is_valid(p->name, strlen(p->name))) return true;
  return error_set(err, GW_ERROR_USAGE, "%s: %.80s is no name for a function", r.path, p->name);
}
