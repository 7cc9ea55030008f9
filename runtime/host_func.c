/* Host functions as values.
 *
 * What a reference to a function leads to has a body in some instance. So a host function that is to be one lives in an instance
 * of its own, of a module that imports it and exports it again. Functions of one type share the module, which the engine keeps:
 * it is made, and compiled, once. */
#include "base/buffer.h"
#include "base/error.h"
#include "base/heap.h"
#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

/* One type's module. */
struct host_module {
  struct host_module *next;
  struct gw_module *module;
  char signature[];
};

/* What a store calls when it goes. */
struct host_finish {
  struct host_finish *next;
  void (*finish)(void *env);
  void *env;
};

enum { MOST_VALUES = 1000, NOT_A_TYPE = 0 };

static uint8_t type_byte(char letter) {
  static const char letters[] = "iIfFvrR";
  static const uint8_t bytes[] = {0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x6f, 0x70};
  const char *at = letter ? strchr(letters, letter) : NULL;
  return at ? bytes[at - letters] : NOT_A_TYPE;
}

static void put_size(struct buffer *b, size_t n) {
  do {
    uint8_t byte = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
    buffer_append(b, &byte, 1);
  } while (n >>= 7);
}

static bool put_types(struct buffer *b, const char *letters, size_t n) {
  put_size(b, n);
  for (size_t i = 0; i < n; i++) {
    uint8_t byte = type_byte(letters[i]);
    if (byte == NOT_A_TYPE) return false;
    buffer_append(b, &byte, 1);
  }
  return n <= MOST_VALUES;
}

/* Section `id` with what `section` holds, which is empty then. */
static void put_section(struct buffer *b, uint8_t id, struct buffer *section) {
  buffer_append(b, &id, 1);
  put_size(b, section->size);
  buffer_append(b, section->bytes, section->size);
  section->size = 0;
}

/* (module (import "" "" (func (type $signature))) (export "" (func 0))) */
static bool make_bytes(const char *signature, struct buffer *out) {
  struct buffer s = {0};
  const char *params = strchr(signature, '_');
  if (!params) return false;
  buffer_append(out, "\0asm\1\0\0\0", 8);
  buffer_append(&s, "\1\x60", 2);
  bool ok = put_types(&s, params + 1, strlen(params + 1)) && put_types(&s, signature, (size_t)(params - signature));
  put_section(out, 1, &s);
  buffer_append(&s, "\1\0\0\0\0", 5);
  put_section(out, 2, &s);
  buffer_append(&s, "\1\0\0\0", 4);
  put_section(out, 7, &s);
  buffer_clear(&s);
  return ok;
}

static struct gw_module *make_module(struct gw_engine *engine, const char *signature, struct gw_error *err) {
  struct buffer bytes = {0};
  struct gw_module *module = NULL;
  if (make_bytes(signature, &bytes))
    module = gw_module_create(engine, bytes.bytes, bytes.size, err);
  else
    error_set(err, GW_ERROR_USAGE, "\"%.40s\" is no signature of a host function", signature);
  buffer_clear(&bytes);
  return module;
}

static struct gw_module *find_module(struct gw_engine *engine, const char *signature, struct gw_error *err) {
  struct host_module *h;
  pthread_mutex_lock(&engine->host_lock);
  for (h = engine->host_modules; h && strcmp(h->signature, signature) != 0; h = h->next) {
  }
  struct gw_module *module = h ? h->module : make_module(engine, signature, err);
  if (!h && module) {
    h = heap_new(1, sizeof *h + strlen(signature) + 1);
    strcpy(h->signature, signature);
    h->module = module;
    h->next = engine->host_modules;
    engine->host_modules = h;
  }
  pthread_mutex_unlock(&engine->host_lock);
  return module;
}

void host_modules_clear(struct gw_engine *engine) {
  for (struct host_module *h = engine->host_modules, *next; h; h = next) {
    next = h->next;
    gw_module_release(h->module);
    free(h);
  }
}

static bool resolve_it(void *env, const struct gw_import *import, struct gw_extern *out) {
  (void)import;
  *out = *(const struct gw_extern *)env;
  return true;
}

struct func_ref *gw_func_create(struct gw_store *store, const char *signature, gw_host_fn fn, void *env,
                                void (*finish)(void *env), struct gw_error *err) {
  struct gw_module *module = find_module(store->engine, signature, err);
  if (!module) return NULL;
  struct gw_host_func *row = arena_alloc(&store->arena, sizeof *row);
  *row = (struct gw_host_func){.module = "", .name = "", .fn = fn};
  struct gw_extern it = {.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = row, .env = env}};
  struct gw_instance *instance = gw_instance_create(store, module, resolve_it, &it, err);
  if (!instance) return NULL;
  if (finish) {
    struct host_finish *f = arena_alloc(&store->arena, sizeof *f);
    *f = (struct host_finish){.next = store->finishes, .finish = finish, .env = env};
    store->finishes = f;
  }
  return instance->funcs[0];
}

void host_funcs_finish(struct gw_store *store) {
  for (const struct host_finish *f = store->finishes; f; f = f->next) f->finish(f->env);
}
