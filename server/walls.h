/* Walls around processes that handle what strangers sent: Landlock for files and connections, seccomp for system calls. They hold
 * what a fault of ours would let out; nothing that works as it should meets them. */
#ifndef SERVER_WALLS_H
#define SERVER_WALLS_H

#include "gasworks/error.h"

#include <stdbool.h>

/* Around this process, which compiles what descriptors bring: it opens no file, starts no process, connects to nothing and looks
 * into none. False with err set: a wall could not be built, though the system has it. Before other threads. */
bool walls_around_compiler(struct gw_error *err);

/* What a server may reach besides its program, the system's libraries and what the kernel tells about this process. */
struct walls_paths {
  const char *written[2];  /* directories, there; NULL: none */
  const char *const *read; /* likewise, NULL-terminated */
  const char *appended;    /* a directory, there; NULL: none: files are made and written there, and not read */
  bool connects;           /* it may connect to a database, and read what names and certificates need */
};

/* Around this process and the threads and processes that it starts from now on. It starts no program but its own, connects to
 * nothing else, looks into no other process and gains no privileges. False with err set likewise. */
bool walls_around_server(const struct walls_paths *paths, struct gw_error *err);

/* Around this process, which sends a server's spans: it connects, reads what names and certificates need, and writes no file.
 * False with err set likewise. Before other threads. */
bool walls_around_sender(struct gw_error *err);

/* What the system lacks for them, as a sentence, or NULL. */
const char *walls_missing(void);

#endif
