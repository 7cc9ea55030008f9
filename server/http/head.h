/* What llhttp leaves open of a request's head, though it is built strict (docs/http.md): pure functions over bytes. */
#ifndef SERVER_HTTP_HEAD_H
#define SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A refusal: the status and one sentence; status 0: none. */
struct refusal {
  uint32_t status;
  const char *detail;
};

/* RFC 9112 section 3: "METHOD TARGET HTTP/1.x" and CRLF, with its end. HTTP/1.2 and later ones are fine: they are read as 1.1. */
struct refusal head_check_line(const char *line, size_t size);
/* The beginning of a line whose end has not come: whether it may still become one. */
bool head_may_begin(const char *line, size_t size);

/* Follows the lines of a head or of trailers: each ends in CRLF, and none continues the one before (obs-fold). */
struct head_lines {
  bool is_under_way;  /* the empty line has not come */
  bool is_line_start; /* the next byte begins a line */
  char last;          /* byte */
};

/* `used`: how many bytes of `data` belong to the section, the CR of its empty line and what follows that included. */
struct refusal head_follow(struct head_lines *lines, const char *data, size_t size, size_t *used);

enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_ASTERISK };

/* A request target (RFC 9112 section 3.2), in pieces of the given text. */
struct target {
  enum target_form form;
  const char *host; /* of the absolute form, with its port */
  size_t host_size;
  const char *path; /* with the query; may be empty or begin with "?" in the absolute form */
};

/* Takes the target apart. `is_options`: of an OPTIONS request, the only one that may have "*". */
struct refusal head_split_target(const char *text, bool is_options, struct target *target);
/* RFC 9110 section 7.2: "host" or "host:port". */
bool head_host_is_valid(const char *host, size_t size);
/* How long its host is. */
size_t head_host_without_port(const char *host, size_t size);

enum coding { CODING_CHUNKED, CODING_UNKNOWN, CODING_BAD };

/* RFC 9112 section 6.1 and 6.3 of a Transfer-Encoding: CODING_UNKNOWN when it is another coding and then chunked; CODING_BAD when
 * it does not end in chunked, has that twice, or is no list. Several fields: `state` goes from one to the next, zero at first. */
struct codings {
  bool has_chunked, has_other, is_bad;
};
void head_add_codings(struct codings *state, const char *value);
enum coding head_coding(const struct codings *state);

#endif
