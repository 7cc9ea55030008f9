/* Requests that wait for lines of a function's log. All of it belongs to the loop's thread. */
#ifndef SERVER_API_LOGS_H
#define SERVER_API_LOGS_H

#include <stdbool.h>

struct exchange;
struct loop;

/* Answers those that have waited long enough, or whose lines have come. */
void logs_tick(struct loop *loop);
/* The exchange waits no more: with the lines that there are, or without a reply. */
void logs_cancel(struct exchange *x, bool with_reply);

#endif
