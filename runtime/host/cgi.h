/* The CGI style interface: one request as a WASI program's environment, its output as a reply (docs/interface.md, RFC 3875). */
#ifndef RUNTIME_HOST_CGI_H
#define RUNTIME_HOST_CGI_H

#include "runtime/host/handler.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* Builds the environment of the request in `h`: "K=V" strings, NULL-terminated, in the arena, and behind them those of `more`
 * (NULL: none), which is NULL-terminated and outlives the arena. `script` is
 * SCRIPT_NAME ("/f/NAME"); the path becomes PATH_INFO as it is, so the caller decodes it (RFC 3875 section 4.1.5). A header
 * `Proxy` is left out, as are names that are no header names; of headers with one name the values are joined with ", ". False
 * when there are more than 1,000 headers or 1 MiB. */
bool cgi_build_env(struct arena *arena, const struct handler *h, const char *script, const char *const *more,
                   const char ***env_out);

/* Fills status, reply_headers and reply of `h` from the program's output. Output that does not begin with header lines and a
 * blank line is the body as it is, with status 200. */
void cgi_parse_reply(struct handler *h, const void *out, size_t size);

#endif
