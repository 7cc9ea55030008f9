/* libcurl, with the forty libraries that it needs, is opened where the first request is made: nothing else should wait for them.
 */
#ifndef CLI_LIBCURL_H
#define CLI_LIBCURL_H

#include "gasworks/error.h"

#include <curl/curl.h>
#include <stdbool.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo
/* clang-format off */
#define LIBCURL_FUNCTIONS(F)                                                                                                    \
  F(curl_global_init)                                                                                                           \
  F(curl_global_cleanup)                                                                                                        \
  F(curl_easy_init)                                                                                                             \
  F(curl_easy_setopt) F(curl_easy_perform) F(curl_easy_getinfo) F(curl_easy_cleanup) F(curl_easy_strerror) F(curl_slist_append) \
      F(curl_slist_free_all)
/* clang-format on */

/* Its functions, once it is open. */
extern struct libcurl {
#define FIELD(name) __typeof__(name) *name;
  LIBCURL_FUNCTIONS(FIELD)
#undef FIELD
} libcurl;

/* Again and again is fine. */
bool libcurl_open(struct gw_error *err);

#endif
