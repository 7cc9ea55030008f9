/* The access log's line and the span of an exchange that ends. */
#ifndef SERVER_HTTP_OBSERVE_H
#define SERVER_HTTP_OBSERVE_H

#include "server/http/exchange.h"

/* `status` 0: the client had gone. `sent`: bytes of the reply's body. Where the trail is kept. */
void observe_end(struct exchange *x, uint32_t status, uint64_t sent);

#endif
