/* Profiles that were written by a run, or by a server, as gas by function. */
#include "cli/profile.h"

#include "base/error.h"
#include "base/heap.h"
#include "cli/cli.h"
#include "frontend/module.h"

#include <stdlib.h>
#include <string.h>

/* Functions may share a name: whoever has it is meant. */
struct named {
  char *name;
  uint32_t func;
};

static int compare_names(const void *a, const void *b) {
  const struct named *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static struct named *list_names(const struct module *m) {
  struct named *names = heap_new((size_t)m->n_funcs + 1, sizeof *names);
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    struct buffer name = {0};
    cli_append_frame(&name, m, i);
    buffer_append(&name, "", 1);
    names[i] = (struct named){(char *)name.bytes, i};
  }
  qsort(names, m->n_funcs, sizeof *names, compare_names);
  return names;
}

static void free_names(struct named *names, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) free(names[i].name);
  free(names);
}

static bool add_by_name(const struct named *names, uint32_t n, char *name, uint64_t gas, uint64_t *heat) {
  struct named wanted = {.name = name};
  const struct named *found = bsearch(&wanted, names, n, sizeof *names, compare_names);
  if (!found) return false;
  while (found > names && strcmp(found[-1].name, name) == 0) found--;
  for (; found < names + n && strcmp(found->name, name) == 0; found++) heat[found->func] += gas;
  return true;
}

/* "outer;inner GAS": it is the last function's. Cuts the line in place. */
static bool add_line(const struct named *names, uint32_t n, char *line, uint64_t *heat) {
  char *blank = strrchr(line, ' '), *end;
  if (!blank) return false;
  *blank = 0;
  uint64_t gas = strtoull(blank + 1, &end, 10);
  if (*end || end == blank + 1) return false;
  char *last = strrchr(line, ';');
  return add_by_name(names, n, last ? last + 1 : line, gas, heat);
}

/* Whether any line is about a function of the module. */
static bool read_folded(const struct module *m, char *text, uint64_t *heat) {
  struct named *names = list_names(m);
  char *rest = text;
  bool is_any = false;
  for (char *line; (line = strtok_r(rest, "\n", &rest));) is_any |= add_line(names, m->n_funcs, line, heat);
  free_names(names, m->n_funcs);
  return is_any;
}

static bool read_json(const struct module *m, const cJSON *functions, uint64_t *heat) {
  bool is_any = false;
  const cJSON *f;
  cJSON_ArrayForEach(f, functions) {
    const cJSON *index = cJSON_GetObjectItem(f, "index"), *gas = cJSON_GetObjectItem(f, "gas");
    bool is_known = cJSON_IsNumber(index) && cJSON_IsNumber(gas) && index->valuedouble >= 0 && index->valuedouble < m->n_funcs;
    if (is_known && gas->valuedouble > 0 && gas->valuedouble < 0x1p63)
      heat[(uint32_t)index->valuedouble] += (uint64_t)gas->valuedouble;
    is_any |= is_known;
  }
  return is_any;
}

uint64_t *cli_read_profile(const struct module *m, const char *path, struct gw_error *err) {
  struct buffer text = {0};
  if (!cli_read_file(&text, path, err)) return NULL;
  buffer_append(&text, "", 1);
  uint64_t *heat = heap_new((size_t)m->n_funcs + 1, sizeof *heat);
  cJSON *json = cJSON_Parse((const char *)text.bytes);
  bool ok = json ? read_json(m, cJSON_GetObjectItem(json, "functions"), heat) : read_folded(m, (char *)text.bytes, heat);
  cJSON_Delete(json);
  buffer_clear(&text);
  for (uint32_t i = 0; i < m->n_imported_funcs; i++) heat[i] = 0; /* nobody compiles the host's */
  if (ok) return heat;
  error_set(err, GW_ERROR_USAGE, "%s is no profile of this module", path);
  free(heat);
  return NULL;
}
