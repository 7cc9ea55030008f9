#include "cli/config_text.h"

#include "base/heap.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* libyaml counts from 0. */
static struct config_place place_of(yaml_mark_t mark) {
  return (struct config_place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

__attribute__((format(printf, 3, 4))) static bool fail(struct config_error *error, yaml_mark_t mark, const char *format, ...) {
  va_list args;
  error->place = place_of(mark);
  va_start(args, format);
  vsnprintf(error->message, sizeof error->message, format, args);
  va_end(args);
  return false;
}

static const char *text_of(const yaml_node_t *node) { return (const char *)node->data.scalar.value; }

static bool is_integer(const char *text) {
  if (*text == '-') text++;
  size_t n = strspn(text, "0123456789");
  return n && !text[n];
}

static bool is_one_of(const char *text, const char *a, const char *b) { return strcmp(text, a) == 0 || strcmp(text, b) == 0; }

/* What is in quotes is text. So is what is not, unless it looks like something else. */
static enum config_kind kind_of(const yaml_node_t *node) {
  const char *text = text_of(node);
  if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return CONFIG_TEXT;
  if (is_integer(text)) return CONFIG_INTEGER;
  if (is_one_of(text, "true", "false")) return CONFIG_BOOLEAN;
  return *text && !is_one_of(text, "null", "~") ? CONFIG_TEXT : CONFIG_OTHER;
}

static struct config_value value_of(const yaml_node_t *node) {
  struct config_value v = {CONFIG_OTHER, "a mapping", place_of(node->start_mark)};
  if (node->type == YAML_SEQUENCE_NODE) v.text = "a list";
  if (node->type != YAML_SCALAR_NODE) return v;
  v.kind = kind_of(node);
  v.text = v.kind == CONFIG_OTHER ? "nothing" : text_of(node);
  if (strlen(text_of(node)) == node->data.scalar.length) return v;
  return (struct config_value){CONFIG_OTHER, "a string with a zero byte", v.place};
}

struct reading {
  yaml_document_t *document;
  const yaml_node_t *root;
  struct config_error *error;
};

static const yaml_node_t *node_at(const struct reading *r, int id) { return yaml_document_get_node(r->document, id); }

static size_t n_pairs(const struct reading *r) {
  return (size_t)(r->root->data.mapping.pairs.top - r->root->data.mapping.pairs.start);
}

static const yaml_node_t *key_at(const struct reading *r, size_t i) {
  return node_at(r, r->root->data.mapping.pairs.start[i].key);
}

static bool is_key(const yaml_node_t *node) {
  return node->type == YAML_SCALAR_NODE && strlen(text_of(node)) == node->data.scalar.length;
}

/* That all keys are text, and none is there twice. */
static bool check_keys(const struct reading *r) {
  for (size_t i = 0; i < n_pairs(r); i++) {
    const yaml_node_t *key = key_at(r, i);
    if (!is_key(key)) return fail(r->error, key->start_mark, "the name of an option is a string");
    for (size_t k = 0; k < i; k++)
      if (strcmp(text_of(key_at(r, k)), text_of(key)) == 0)
        return fail(r->error, key->start_mark, "%.60s is there a second time, after line %u", text_of(key),
                    place_of(key_at(r, k)->start_mark).line);
  }
  return true;
}

static void call(const struct reading *r, size_t i, void (*each)(void *arg, const struct config_entry *entry), void *arg) {
  const yaml_node_t *key = key_at(r, i), *node = node_at(r, r->root->data.mapping.pairs.start[i].value);
  struct config_entry entry = {.key = text_of(key), .place = place_of(key->start_mark), .n = 1};
  const yaml_node_item_t *items = NULL;
  entry.is_list = node->type == YAML_SEQUENCE_NODE;
  if (entry.is_list) {
    items = node->data.sequence.items.start;
    entry.n = (size_t)(node->data.sequence.items.top - items);
  }
  struct config_value *values = heap_new(entry.n + 1, sizeof *values);
  for (size_t k = 0; k < entry.n; k++) values[k] = value_of(items ? node_at(r, items[k]) : node);
  entry.values = values;
  each(arg, &entry);
  free(values);
}

static bool read_root(const struct reading *r, void (*each)(void *arg, const struct config_entry *entry), void *arg) {
  if (!r->root || (r->root->type == YAML_SCALAR_NODE && !*text_of(r->root))) return true; /* comments at most */
  if (r->root->type != YAML_MAPPING_NODE)
    return fail(r->error, r->root->start_mark, "the file is options with their values, NAME: VALUE");
  if (!check_keys(r)) return false;
  for (size_t i = 0; i < n_pairs(r); i++) call(r, i, each, arg);
  return true;
}

static bool explain(const yaml_parser_t *p, struct config_error *error) {
  yaml_mark_t mark = p->problem_mark;
  const char *problem = p->problem ? p->problem : "it cannot be read";
  if (p->error == YAML_READER_ERROR) { /* which tells the byte alone */
    fail(error, mark, "%s at byte %zu", problem, p->problem_offset);
    error->place = (struct config_place){0};
    return false;
  }
  return p->context ? fail(error, mark, "%s %s", p->context, problem) : fail(error, mark, "%s", problem);
}

/* Nothing may come behind the document. */
static bool is_all(yaml_parser_t *p, struct config_error *error) {
  yaml_document_t next;
  if (!yaml_parser_load(p, &next)) return explain(p, error);
  const yaml_node_t *root = yaml_document_get_root_node(&next);
  bool ok = !root || fail(error, root->start_mark, "the file has one document, this is another");
  yaml_document_delete(&next);
  return ok;
}

bool config_text_read(const char *text, size_t size, void (*each)(void *arg, const struct config_entry *entry), void *arg,
                      struct config_error *error) {
  yaml_parser_t p;
  yaml_document_t document;
  if (!yaml_parser_initialize(&p)) return fail(error, (yaml_mark_t){0}, "out of memory");
  yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
  bool ok = yaml_parser_load(&p, &document) || explain(&p, error);
  if (ok) {
    struct reading r = {&document, yaml_document_get_root_node(&document), error};
    ok = (!r.root || is_all(&p, error)) && read_root(&r, each, arg);
    yaml_document_delete(&document);
  }
  yaml_parser_delete(&p);
  return ok;
}
