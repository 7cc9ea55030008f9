/* Who sends a request: the token in its head. `Authorization` is a function's own, too, so only what begins like one of our
 * tokens is taken for one; where a function wants that field for itself, the token comes in `Gasworks-Authorization`. */
#ifndef SERVER_HTTP_CREDENTIALS_H
#define SERVER_HTTP_CREDENTIALS_H

#include "server/http/exchange.h"

/* Takes the token out of the head, so that no function sees it, and notes it in request.token; of a worker, what the front says
 * of who sent it. Once, before the others. */
void credentials_take(struct request *request, bool is_worker);

/* Whether the token is good now; then exchange.pass.who is whom it speaks for. With `serve --insecure` everybody is an admin. */
bool credentials_check(struct exchange *x);

/* Whether who sent the request has the scope in the tenant of this function (its full name). */
bool credentials_allow(struct exchange *x, const char *function, enum scope scope);

/* Whether it came by the name that the dashboard has for itself, if it has one (`serve --ui-host`). */
bool credentials_is_ui_host(const struct exchange *x);

/* Why a request must not reach what is not a function's: a web page of elsewhere may have sent it. Status 0: it may. */
struct refusal credentials_check_origin(const struct exchange *x);

#endif
