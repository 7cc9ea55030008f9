/* From path and method to what answers. */
#ifndef SERVER_API_ROUTE_H
#define SERVER_API_ROUTE_H

#include "server/http/exchange.h"

extern const struct exchange_service route_service;

#endif
