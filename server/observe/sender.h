/* What a server and the process that sends its spans say to each other, over a stream: the server a frame at a time, a size and
 * so many bytes; the other one an answer to each but the first. That process was started before the server's walls went up: it
 * may connect, and knows what the collector wants to see of who sends; the server, which runs strangers' code, may not, and
 * forgets. */
#ifndef SERVER_OBSERVE_SENDER_H
#define SERVER_OBSERVE_SENDER_H

#include <stdint.h>

/* The one argument of such a process. Its stream is standard input. */
#define SENDER_VERB "span-sender"

/* The first frame is three strings, each with its NUL: the URL, the time in milliseconds that an answer of the collector may
 * take, and headers, "Name: value" lines with line feeds. Others are bodies of requests. */
enum { SENDER_MAX_FRAME = 16 << 20, SENDER_TEXT_SIZE = 200 };

enum sender_outcome { SENDER_SENT, SENDER_FAILED };

struct sender_answer {
  uint32_t outcome;            /* enum sender_outcome */
  uint32_t n_rejected;         /* of what was sent: spans that the collector did not want */
  char text[SENDER_TEXT_SIZE]; /* why, with its NUL; "": all is well */
};

#endif
