/* What host functions charge, by what it is for. */
#ifndef RUNTIME_HOST_API_H
#define RUNTIME_HOST_API_H

#include "frontend/price.h"
#include "gasworks.h"

enum host_gas {
  HOST_GAS_CALLS,   /* what the host does */
  HOST_GAS_BYTES,   /* bytes of requests, replies and files */
  HOST_GAS_STORAGE, /* state */
  HOST_GAS_COUNT
};

/* gw_instance_charge of so many units, counted by kind unless there is too little gas. */
bool host_api_charge(struct gw_instance *instance, enum cost unit, uint64_t units);
/* gw_instance_charge_piece, likewise. */
void host_api_charge_piece(struct gw_instance *instance, enum host_gas kind, uint64_t gas);
bool host_api_charge_gas(struct gw_instance *instance, enum host_gas kind, uint64_t gas);

/* Since the store's last gw_store_start, of that kind. With the rest of gw_store_gas_used they add up to it. */
uint64_t host_api_gas(const struct gw_store *store, enum host_gas kind);

#endif
