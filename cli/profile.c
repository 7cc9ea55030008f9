#include "cli/profile.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/heap.h"
#include "cli/cli.h"
#include "frontend/module.h"
#include "runtime/debug/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 30, NAME = 160 };

struct row {
  uint32_t func;
  uint64_t gas, calls;
};

/* "module.name" of a host function, the name of another. */
static const char *name_of(const struct module *m, uint32_t func, char *out, size_t size) {
  if (func >= m->n_imported_funcs) return func_display_name(m, func, out, size);
  const struct import *import = &m->imports[m->funcs[func].import];
  snprintf(out, size, "%.*s.%.*s", (int)import->module.size, import->module.bytes, (int)import->field.size, import->field.bytes);
  return out;
}

static int compare(const void *a, const void *b) {
  const struct row *x = a, *y = b;
  if (x->gas != y->gas) return x->gas < y->gas ? 1 : -1;
  return x->func < y->func ? -1 : x->func > y->func;
}

/* Functions that were called, most gas first; free() them. */
static struct row *collect(const struct gw_instance *instance, uint32_t *n) {
  const struct module *m = gw_module_decoded(gw_instance_module(instance));
  const struct profile *p = profile_of_store(gw_instance_store(instance));
  struct row *rows = heap_new(m->n_funcs + 1, sizeof *rows);
  for (uint32_t i = 0; i < m->n_funcs; i++) rows[i].func = i;
  for (uint32_t i = 0; i < p->n; i++) {
    if (p->nodes[i].instance != instance) continue;
    rows[p->nodes[i].func].gas += p->nodes[i].gas;
    rows[p->nodes[i].func].calls += p->nodes[i].calls;
  }
  *n = 0;
  for (uint32_t i = 0; i < m->n_funcs; i++)
    if (rows[i].calls) rows[(*n)++] = rows[i];
  qsort(rows, *n, sizeof *rows, compare);
  return rows;
}

void cli_print_profile(const struct gw_instance *instance) {
  const struct module *m = gw_module_decoded(gw_instance_module(instance));
  uint64_t total = gw_store_gas_used(gw_instance_store(instance));
  uint32_t n;
  struct row *rows = collect(instance, &n);
  char name[NAME];
  fprintf(stderr, "\n%16s %6s %12s  function\n", "gas", "%", "calls");
  for (uint32_t i = 0; i < n && i < SHOWN; i++)
    fprintf(stderr, "%16" PRIu64 " %6.2f %12" PRIu64 "  %s\n", rows[i].gas,
            100.0 * (double)rows[i].gas / (double)(total ? total : 1), rows[i].calls,
            name_of(m, rows[i].func, name, sizeof name));
  if (n > SHOWN) fprintf(stderr, "and %" PRIu32 " more, see --json\n", n - SHOWN);
  free(rows);
}

cJSON *cli_json_profile(const struct gw_instance *instance) {
  const struct module *m = gw_module_decoded(gw_instance_module(instance));
  uint32_t n;
  struct row *rows = collect(instance, &n);
  cJSON *array = cJSON_CreateArray();
  char name[NAME];
  for (uint32_t i = 0; i < n; i++) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", name_of(m, rows[i].func, name, sizeof name));
    cli_json_count(json, "index", rows[i].func);
    cli_json_count(json, "gas", rows[i].gas);
    cli_json_count(json, "calls", rows[i].calls);
    cJSON_AddItemToArray(array, json);
  }
  free(rows);
  return array;
}

/* --- folded stacks ------------------------------------------------------------------------------------------------ */

/* Blanks and semicolons mean something in the format. */
void cli_append_frame(struct buffer *line, const struct module *m, uint32_t func) {
  char name[NAME];
  name_of(m, func, name, sizeof name);
  for (char *c = name; *c; c++)
    if (*c == ';' || (unsigned char)*c <= ' ') *c = '_';
  buffer_append_string(line, name);
}

/* Frames from the root down; `path` is room for the numbers of nodes. */
static void append_line(struct buffer *line, const struct module *m, const struct profile *p, uint32_t node, uint32_t *path) {
  uint32_t depth = 0;
  for (uint32_t i = node; i; i = p->nodes[i].parent) path[depth++] = i;
  if (!depth) buffer_append_string(line, "(outside)");
  while (depth-- > 0) {
    cli_append_frame(line, m, p->nodes[path[depth]].func);
    if (depth) buffer_append_string(line, ";");
  }
  buffer_format(line, " %" PRIu64 "\n", p->nodes[node].gas);
}

bool cli_write_folded(const struct gw_instance *instance, const char *path, struct gw_error *err) {
  const struct module *m = gw_module_decoded(gw_instance_module(instance));
  const struct profile *p = profile_of_store(gw_instance_store(instance));
  FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
  if (!file) return error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
  uint32_t *frames = heap_new((size_t)p->n + 1, sizeof *frames);
  struct buffer line = {0};
  for (uint32_t i = 0; i < p->n; i++) {
    if (!p->nodes[i].gas) continue;
    line.size = 0;
    append_line(&line, m, p, i, frames);
    fwrite(line.bytes, 1, line.size, file);
  }
  buffer_clear(&line);
  free(frames);
  bool ok = !ferror(file) && (file == stdout ? fflush(file) : fclose(file)) == 0;
  return ok || error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
}
