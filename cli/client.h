/* HTTP client of a Gasworks server, for the verbs that talk to one. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/cli.h"

struct client_request {
  const char *server;         /* base URL */
  const char *method, *path;  /* path begins with a slash; sent as it is */
  const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
  const struct buffer *body;  /* NULL: none */
  bool wants_headers;         /* keep the reply's header lines */
};

struct client_reply {
  long status;
  struct buffer backtrace; /* lines as `run` prints them */
  struct buffer headers;   /* status line and header lines, if wanted */
  struct buffer body;      /* NUL behind its end */
  bool has_gas, is_problem;
  uint64_t gas; /* Gasworks-Gas */
};

/* The server that verbs talk to unless --server names another. */
const char *client_default_server(void);

/* Sends and waits. False when no reply came; any status is a success. Clear the reply in either case. */
bool client_send(const struct client_request *request, struct client_reply *reply, struct gw_error *err);
void client_reply_clear(struct client_reply *reply);

/* Turns a reply of status 400 and above into an error, with the words of its problem document, and
 * fills reply->backtrace if there is one in it. Always returns false. */
bool client_problem(struct client_reply *reply, struct gw_error *err);

#endif
