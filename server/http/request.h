/* Reading requests: from bytes to a dispatched struct request. */
#ifndef SERVER_HTTP_REQUEST_H
#define SERVER_HTTP_REQUEST_H

#include "server/http/connection.h"

void request_init(struct connection *c);
void request_clear(struct connection *c);
/* It has been answered: its body, and its part of what bodies may take, are free. */
void request_forget_body(struct connection *c);
/* Parses until the end of `data` or of one request, which is dispatched (or refused). Returns how much was used. */
size_t request_parse(struct connection *c, const char *data, size_t size);
/* Answers the request being received with a problem; the connection ends after it. */
void request_reject(struct connection *c, uint32_t status, const char *detail);

#endif
