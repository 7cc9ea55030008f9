/* Tokens as the state store keeps them: JSON under one reserved space, "token/ID" and "tenant/NAME". */
#ifndef SERVER_ACCESS_RECORD_H
#define SERVER_ACCESS_RECORD_H

#include "base/digest.h"
#include "server/access/access.h"

/* A token and what recognises it. */
struct token_record {
  struct token token;               /* first */
  struct digest digest, old_digest; /* of its text, and of the one before */
  uint64_t old_until_ms;            /* when that ends to be good; 0: there is none */
};

/* The text, for cJSON_free. */
char *access_record_print(const struct token_record *record);
/* False where it is damaged: such a token is nobody's. */
bool access_record_parse(const void *text, size_t size, struct token_record *record);

#endif
