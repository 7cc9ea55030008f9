/* Modules that nobody deployed, run at once. */
#ifndef SERVER_API_RUN_H
#define SERVER_API_RUN_H

#include "server/http/exchange.h"

/* The exchange has a trial: its client has gone, or time is over. */
void run_cancel(struct exchange *x, bool with_reply);

#endif
