/* What a module imports and exports. */
#ifndef GASWORKS_NODE_TYPES_H
#define GASWORKS_NODE_TYPES_H

#include <gasworks.h>

/* One of them. Names are UTF-8 and the module's. Of functions, a letter for each parameter and result: i I f F, or x for what
 * does not cross to JavaScript. */
struct extern_type {
  const char *module, *name; /* module: of imports */
  size_t module_size, name_size;
  const char *kind;
  char *params, *results; /* of functions; freed by types_clear */
};

/* False: there are no more. */
bool types_get(struct gw_module *module, bool is_export, uint32_t index, struct extern_type *out);
void types_clear(struct extern_type *type);

#endif
