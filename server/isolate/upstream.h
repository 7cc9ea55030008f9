/* Requests that a tenant's worker answers: sent on a connection to it, one at a time, and its reply to the client as it came. */
#ifndef SERVER_ISOLATE_UPSTREAM_H
#define SERVER_ISOLATE_UPSTREAM_H

#include "server/http/exchange.h"

/* `target` is what the worker gets, `scopes` what who sent it has in the tenant. Answers the exchange later. */
void upstream_forward(struct exchange *x, const char *tenant, const char *target, uint32_t scopes);
/* As struct exchange_service has it; for exchanges with an upstream. */
void upstream_cancel(struct exchange *x, bool with_reply);
/* Closes the loop's idle connections. */
void upstream_close_idle(struct loop *loop);

#endif
