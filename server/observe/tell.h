/* Who hears what was lost: the server's log, which is another room's. */
#ifndef SERVER_OBSERVE_TELL_H
#define SERVER_OBSERVE_TELL_H

#include <stddef.h>

/* Called by one thread at a time. `arg` must outlive who has it. */
struct tell {
  void (*line)(void *arg, const char *text, size_t size);
  void *arg;
};

#endif
