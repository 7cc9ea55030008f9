/* What a tenant pays for modules that the server is to decode, validate and compile for it: before that happens, by their size
 * (docs/usage.md). Of the loop's thread. */
#ifndef SERVER_API_TOLL_H
#define SERVER_API_TOLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct problem;

/* Bytes that are looked at, and those of code among them that are compiled. */
struct toll {
  uint64_t bytes, code;
};

/* Of a module that comes with a request; one that is none is looked at, too. */
struct toll toll_of(const void *bytes, size_t size);
/* Whether the tenant may spend anything now; else the problem says why. A tenant without a rate of gas and credit may, and pays
 * nothing. */
bool toll_allows(struct loop *loop, const char *tenant, struct problem *why);
/* Charges the tenant, in a receipt of FUNCTION_LOAD. */
void toll_take(struct loop *loop, const char *tenant, const struct toll *toll);

#endif
