#define _GNU_SOURCE /* MSG_CMSG_CLOEXEC */
#include "jit/artifact/child_protocol.h"

#include "base/error.h"
#include "jit/artifact/build_id.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(sizeof((struct compile_answer *)NULL)->message == sizeof((struct gw_error *)NULL)->message,
               "an error's message fits an answer's");

/* --- what may be said ------------------------------------------------------------------------------------------------- */

/* What both begin with: another build's is told from a broken one. */
static bool check_head(const struct digest *build, uint32_t told, size_t size, size_t wanted, const char *what,
                       struct gw_error *err) {
  if (size < sizeof gasworks_build_id || !digest_is(build, &gasworks_build_id))
    return error_set(err, GW_ERROR_COMPILE, "the compiler's %s is not of this build", what);
  return (size == wanted && told == wanted) ||
         error_set(err, GW_ERROR_COMPILE, "the compiler's %s has %zu bytes instead of %zu", what, size, wanted);
}

void child_request_init(struct compile_request *request) {
  memset(request, 0, sizeof *request); /* what is between the fields, too */
  request->build = gasworks_build_id;
  request->size = sizeof *request;
}

bool child_request_check(const struct compile_request *r, size_t size, struct gw_error *err) {
  if (!check_head(&r->build, r->size, size, sizeof *r, "request", err)) return false;
  bool is_sound = r->opt_level <= 3 && r->gas <= 1 && r->exact <= 1 && r->max_seconds && r->parent && r->max_memory &&
                  r->module_size && r->module_size <= CHILD_LARGEST_MODULE && schedule_is_sound(&r->schedule);
  return is_sound || error_set(err, GW_ERROR_COMPILE, "the compiler's request has a field that cannot be");
}

void child_answer_init(struct compile_answer *answer, enum compile_outcome outcome, const struct gw_error *err) {
  memset(answer, 0, sizeof *answer);
  answer->build = gasworks_build_id;
  answer->size = sizeof *answer;
  answer->outcome = outcome;
  answer->code = err->code;
  answer->func = err->func;
  answer->offset = err->offset;
  memcpy(answer->message, err->message, sizeof answer->message - 1);
}

static bool is_sound_answer(const struct compile_answer *a) {
  bool is_refused = a->outcome == COMPILE_REFUSED;
  bool is_code = a->code > GW_ERROR_NONE && a->code < GW_ERROR_COUNT && a->code != GW_ERROR_TRAP;
  return a->outcome > COMPILE_NOTHING && a->outcome < COMPILE_OUTCOMES && memchr(a->message, 0, sizeof a->message) &&
         (is_refused ? is_code : a->code == GW_ERROR_NONE);
}

bool child_answer_check(const struct compile_answer *a, size_t size, struct gw_error *err) {
  return check_head(&a->build, a->size, size, sizeof *a, "answer", err) &&
         (is_sound_answer(a) || error_set(err, GW_ERROR_COMPILE, "the compiler's answer has a field that cannot be"));
}

/* --- saying it -------------------------------------------------------------------------------------------------------- */

/* Room for the descriptors. */
union control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(CHILD_FILES * sizeof(int))];
};

bool child_send_request(int socket, const struct compile_request *request, const int fds[CHILD_FILES]) {
  union control control = {0};
  struct iovec data = {(void *)request, sizeof *request};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(CHILD_FILES * sizeof(int));
  memcpy(CMSG_DATA(c), fds, CHILD_FILES * sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL) == sizeof *request;
}

/* More of them than there is room for, the system has closed. */
static void take_files(struct msghdr *message, int fds[CHILD_FILES]) {
  struct cmsghdr *c = CMSG_FIRSTHDR(message);
  if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return;
  size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(c), (n < CHILD_FILES ? n : CHILD_FILES) * sizeof(int));
}

ssize_t child_receive_request(int socket, struct compile_request *request, int fds[CHILD_FILES]) {
  union control control = {0};
  struct iovec data = {request, sizeof *request};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  for (int i = 0; i < CHILD_FILES; i++) fds[i] = -1;
  memset(request, 0, sizeof *request);
  ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_TRUNC); /* n is the whole message's size */
  if (n >= 0) take_files(&message, fds);
  return n;
}

bool child_send_answer(int socket, const struct compile_answer *answer) {
  return send(socket, answer, sizeof *answer, MSG_NOSIGNAL) == sizeof *answer;
}

ssize_t child_receive_answer(int socket, struct compile_answer *answer) {
  memset(answer, 0, sizeof *answer);
  return recv(socket, answer, sizeof *answer, MSG_DONTWAIT | MSG_TRUNC);
}
