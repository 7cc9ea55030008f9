/* A process that compiles for another one, which started it. */
#ifndef CLI_COMPILE_CHILD_H
#define CLI_COMPILE_CHILD_H

/* Serves the socket that is standard input (jit/artifact/child_protocol.h) until nothing more comes. Ends the process, or returns
 * its exit code when standard input is something else. */
int cli_compile_child(void);

#endif
