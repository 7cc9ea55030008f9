/* multipart/form-data (RFC 7578), as far as curl's -F and browsers' FormData write it. */
#ifndef SERVER_API_PARTS_H
#define SERVER_API_PARTS_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PARTS_MAX_BOUNDARY = 70, PARTS_MAX_WORD = 128 };

struct part {
  char name[PARTS_MAX_WORD + 1], type[PARTS_MAX_WORD + 1]; /* its Content-Type; "": none */
  const uint8_t *bytes;                                    /* in the body */
  size_t size;
};

/* The boundary that a Content-Type names; false where it is not one of multipart/form-data. */
bool parts_boundary(const char *type, char out[PARTS_MAX_BOUNDARY + 1]);
/* The parts of the body, `most` at most. GW_ERROR_REQUEST for what is no such body. */
bool parts_read(const char *boundary, const void *body, size_t size, struct part *parts, size_t most, size_t *n,
                struct gw_error *err);

#endif
