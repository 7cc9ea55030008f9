/* What a process that has modules compiled and one that compiles say to each other, over a socket that keeps messages apart: a
 * request with two descriptors, then its answer, again and again. Either side reads what the other says as hostile. */
#ifndef JIT_ARTIFACT_CHILD_PROTOCOL_H
#define JIT_ARTIFACT_CHILD_PROTOCOL_H

#include "gasworks/error.h"
#include "instrument/schedule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The one argument of a process that compiles. Its socket is standard input. */
#define CHILD_VERB "compile-child"

enum { CHILD_LARGEST_MODULE = 1 << 30, CHILD_MESSAGE_SIZE = 320 };

/* The descriptors that come with a request. */
enum child_file { CHILD_MODULE, CHILD_ARTIFACT, CHILD_FILES };

/* A module to be compiled for this machine. All requests to one process are the same but for the module's size. */
struct compile_request {
  struct digest build;      /* gasworks_build_id: who has another one has another layout */
  uint32_t size;            /* of this structure */
  uint32_t opt_level;       /* 0..3 */
  uint32_t gas, exact;      /* 0 or 1 each */
  uint32_t threads;         /* 0: one for each core */
  uint32_t max_seconds;     /* CPU time of each module */
  uint32_t parent;          /* the number of the process that asks; when that one ends, so does the compiling one */
  uint64_t max_memory;      /* bytes of address space */
  uint64_t module_size;     /* bytes in CHILD_MODULE */
  struct schedule schedule; /* with its digest */
};

enum compile_outcome {
  COMPILE_NOTHING,
  COMPILE_MADE,          /* CHILD_ARTIFACT holds the artifact; there is no error */
  COMPILE_REFUSED,       /* for the reason that code, place and message say, at any level */
  COMPILE_OUT_OF_MEMORY, /* the process ends */
  COMPILE_CRASHED,       /* LLVM gave up with the message; the process ends */
  COMPILE_OUTCOMES
};

struct compile_answer {
  struct digest build; /* gasworks_build_id */
  uint32_t size;       /* of this structure */
  uint32_t outcome;    /* enum compile_outcome */
  uint32_t code;       /* enum gw_error_code */
  uint32_t func;       /* of struct gw_error, as is `offset` */
  uint64_t offset;
  char message[CHILD_MESSAGE_SIZE]; /* ends with NUL */
};

/* All but the build and the size is zero. */
void child_request_init(struct compile_request *request);
/* `size` is that of the message which held it. */
bool child_request_check(const struct compile_request *request, size_t size, struct gw_error *err);

/* `err` says why nothing was made. Safe in a signal handler. */
void child_answer_init(struct compile_answer *answer, enum compile_outcome outcome, const struct gw_error *err);
bool child_answer_check(const struct compile_answer *answer, size_t size, struct gw_error *err);

bool child_send_request(int socket, const struct compile_request *request, const int fds[CHILD_FILES]);
/* The size of the message, whatever was in it; 0 or -1: no more come. The descriptors are the caller's; -1 where there is none.
 */
ssize_t child_receive_request(int socket, struct compile_request *request, int fds[CHILD_FILES]);
/* Safe in a signal handler. */
bool child_send_answer(int socket, const struct compile_answer *answer);
ssize_t child_receive_answer(int socket, struct compile_answer *answer);

#endif
