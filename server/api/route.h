/* From path and method to what answers: the rows of routes.def. */
#ifndef SERVER_API_ROUTE_H
#define SERVER_API_ROUTE_H

#include "server/access/access.h"
#include "server/http/exchange.h"

extern const struct exchange_service route_service;

/* What a request is about, when it may be. */
struct place {
  const char *tenant;             /* that the path names, or the token; of a token of the server: the default one */
  bool is_server;                 /* the token is of the server, and the path names no tenant */
  char name[ACCESS_MAX_NAME + 1]; /* the path's segment; "" where there is none */
  char word[ACCESS_MAX_NAME + 1]; /* the second one, or what follows an @ in the first; "" where there is none */
  char *rest;                     /* of /f/NAME: what follows, as it was sent; "" or with its slash */
};

/* Each answers the exchange, now or later. */
#define ROUTE(name, methods, path, who, scope, body, at) void route_##name(struct exchange *x, const struct place *place);
#include "server/api/routes.def"
#undef ROUTE

#endif
