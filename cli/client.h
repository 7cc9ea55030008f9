/* HTTP client of a Gasworks server, for the verbs that talk to one. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/cli.h"

/* Which server a verb talks to, and as whom. */
struct client {
  const char *server; /* base URL */
  const char *token;  /* or "@FILE"; NULL: none was given */
  const char *tenant; /* whose functions; NULL: those of the token's */
};

/* What the environment says. */
struct client client_default(void);

/* The rows of a verb's option table for it. */
#define CLIENT_OPTIONS(client)                                                                                                  \
  {"server", 's', CLI_TEXT, &(client)->server, "URL", "the server; $GASWORKS_SERVER or http://127.0.0.1:8080 unless told"},     \
      {"token",                                                                                                                 \
       0,                                                                                                                       \
       CLI_TEXT,                                                                                                                \
       &(client)->token,                                                                                                        \
       "TOKEN|@FILE",                                                                                                           \
       "who asks; unless told $GASWORKS_TOKEN, then for a server on this machine the file admin-token in $GASWORKS_DATA or "    \
       "gasworks-data, or in /var/lib/gasworks"},                                                                               \
  {                                                                                                                             \
    "tenant", 0, CLI_TEXT, &(client)->tenant, "NAME", "whose functions; $GASWORKS_TENANT or the token's own tenant unless told" \
  }

#define CLIENT_JSON_OPTION(target) \
  { "json", 0, CLI_FLAG, target, NULL, "the server's answer as JSON" }

/* Whether it can be in a path as it is; with `may_have_word` also NAME@ALIAS and NAME@VERSION. */
bool client_check_name(const char *name, bool may_have_word, struct gw_error *err);

struct client_request {
  const struct client *client;
  const char *method, *path;  /* path begins with a slash; sent as it is, behind the tenant */
  bool is_of_server;          /* no tenant stands before it */
  const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
  const struct buffer *body;  /* NULL: none */
  bool wants_headers;         /* keep the reply's header lines */
  size_t max_reply;           /* bytes of its body, beyond which there is no answer; 0: any number */
};

struct client_reply {
  long status;
  struct buffer backtrace; /* lines as `run` prints them */
  struct buffer headers;   /* status line and header lines, if wanted */
  struct buffer body;      /* NUL behind its end */
  bool has_gas, is_problem;
  uint64_t gas;      /* Gasworks-Gas */
  char receipt[128]; /* Gasworks-Receipt; "": there was none */
};

/* Sends and waits. False when no reply came; any status is a success. Clear the reply in either case. */
bool client_send(const struct client_request *request, struct client_reply *reply, struct gw_error *err);
void client_reply_clear(struct client_reply *reply);

/* Turns a reply of status 400 and above into an error, with the words of its problem document, and
 * fills reply->backtrace if there is one in it. Always returns false. */
bool client_problem(struct client_reply *reply, struct gw_error *err);

/* Sends; a problem becomes the error. */
bool client_ask(const struct client_request *request, struct client_reply *reply, struct gw_error *err);
/* A reply's body; `for_people` without what a terminal would obey (cli_make_plain). NULL: it is no JSON. Delete it. */
cJSON *client_json(const struct client_reply *reply, bool for_people);
/* Of a reply's object; "-" or 0 where there is none. */
const char *client_text(const cJSON *object, const char *name);
double client_number(const cJSON *object, const char *name);
/* Says the error unless `ok`, and clears the reply; the exit code. */
int client_finish(bool ok, struct client_reply *reply, const struct gw_error *err);

#endif
