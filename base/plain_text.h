/* Text of strangers, where people look at it. */
#ifndef BASE_PLAIN_TEXT_H
#define BASE_PLAIN_TEXT_H

#include <stddef.h>

/* Makes it harmless on a terminal and in JSON, in place: control characters (C0 but those in `kept`, DEL, C1) and bytes that are
 * no UTF-8 become question marks, each byte one. A string ends at its NUL; `size` may be less. */
void plain_text(char *text, size_t size, const char *kept);

#endif
