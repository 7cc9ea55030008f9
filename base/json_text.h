/* Strings of strangers in JSON that is written by hand. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include "base/buffer.h"

/* Appends what stands between the quotes of a JSON string (RFC 8259). Any bytes: what is no UTF-8 becomes a question mark. */
void json_text_append(struct buffer *out, const char *text, size_t size);

#endif
