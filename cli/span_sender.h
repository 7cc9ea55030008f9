/* A process that sends a server's spans to their collector. */
#ifndef CLI_SPAN_SENDER_H
#define CLI_SPAN_SENDER_H

/* Serves the stream that is standard input (server/observe/sender.h) until it ends. Returns the exit code. */
int cli_span_sender(void);

#endif
