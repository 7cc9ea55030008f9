/* W3C Trace Context of a request: what it says is read and, where it is wrong or we make a span, said anew to whom it goes. */
#ifndef SERVER_HTTP_PROPAGATE_H
#define SERVER_HTTP_PROPAGATE_H

#include "server/http/exchange.h"

/* Fills the exchange's trail with the trace that the request belongs to, if any, and makes its headers say what is so. Once, when
 * its head is there. */
void propagate_take(struct exchange *x);

#endif
