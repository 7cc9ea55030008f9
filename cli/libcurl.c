#include "cli/libcurl.h"

#include "base/error.h"

#include <dlfcn.h>

struct libcurl libcurl;

bool libcurl_open(struct gw_error *err) {
  void *handle = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return error_set(err, GW_ERROR_UNAVAILABLE, "cannot load libcurl: %.200s", dlerror());
#define LOAD(name)                                                      \
  if (!(libcurl.name = (__typeof__(libcurl.name))dlsym(handle, #name))) \
    return error_set(err, GW_ERROR_UNAVAILABLE, "libcurl has no " #name);
  LIBCURL_FUNCTIONS(LOAD)
#undef LOAD
  return true;
}
