/* One client connection: HTTP/1.1 with keep-alive and pipelining, one request under way at a time. */
#ifndef SERVER_HTTP_CONNECTION_H
#define SERVER_HTTP_CONNECTION_H

#include "server/http/exchange.h"
#include "server/http/head.h"
#include "server/loop/loop.h"

#include <llhttp.h>
#include <netinet/in.h>

enum { MAX_URL = 8192, MAX_HEAD = 64 << 10, FRONT_HEAD = 512, MAX_EXTENSIONS = 16 << 10, MAX_TRAILERS = 16 << 10 };

/* How far the request being received is. */
struct intake {
  struct buffer line; /* the beginning of the request line, while its end has not come */
  struct buffer head; /* url and header strings, each with NUL, then what was made of them */
  uint32_t name_at[MAX_HEADERS + FRONT_HEADERS],
      value_at[MAX_HEADERS + FRONT_HEADERS]; /* offsets in head, which moves while it grows */
  size_t head_bytes;                         /* received so far, spaces and all */
  size_t extension_bytes, trailer_bytes;
  size_t coming; /* of the body, as the loop counts it until it is complete */
  bool has_line; /* the request line went to the parser */
  struct head_lines lines;
  bool is_in_name, is_in_value, is_head_complete, expects_continue;
};

enum connection_phase {
  PHASE_IDLE, /* between requests */
  PHASE_HEAD, /* receiving one */
  PHASE_BODY,
  PHASE_BUSY,     /* it is being answered */
  PHASE_LAST,     /* the last reply is queued; nothing is read as a request any more */
  PHASE_DRAINING, /* the last reply is out; what the client still sends is thrown away so that it gets to read it */
  PHASE_CLOSING,  /* uv_close was called */
};

struct connection {
  uv_tcp_t tcp;
  struct connection *previous, *next; /* in the loop's list */
  struct connection *next_ready;      /* in the loop's list of those that have more to parse */
  bool is_ready;                      /* is in it */
  struct loop *loop;
  llhttp_t parser;
  enum connection_phase phase;
  bool is_parsing; /* connection_parse is on the stack and will look at what is queued */
  bool is_writing; /* `write` is under way */
  bool is_read_stopped, has_eof, is_closed;
  bool is_rejected;       /* the request was not read to its end */
  bool is_refused;        /* likewise: the service did not want its body, and answers */
  bool is_complete;       /* the parser has just seen a request's end */
  bool has_empty_cr;      /* of an empty line before a request, whose LF has not come */
  bool has_request;       /* the request is with a handler: the connection must stay allocated */
  struct refusal refusal; /* by a parser callback */
  uint64_t deadline;      /* loop time in ms, 0: none */
  size_t drained;
  size_t queued;      /* bytes that the client had not taken at the last look */
  size_t came;        /* bytes of a body that have come since the last look */
  uint32_t n_replied; /* requests answered in this turn */
  uint64_t turn_ends; /* in ns of uv_hrtime */
  struct buffer in;   /* received while a request is under way */
  size_t in_at;       /* how much of it was parsed */
  size_t in_more;     /* how much `in` may exceed its limit */
  struct buffer out;  /* replies not handed to the socket yet */
  struct buffer writing;
  uv_write_t write;
  uv_shutdown_t shutdown;
  char address[INET6_ADDRSTRLEN]; /* of the client, once it was asked for */
  bool is_keep_alive;
  struct intake intake;
  struct exchange exchange;
};

/* Accepts from the loop's listener. */
void connection_accept(struct loop *loop);
/* The same of a socket that is connected; takes it over. */
void connection_adopt(struct loop *loop, int fd);
/* The exchange is over, and its reply, if there is one, is in `out`: go on with the next one. */
void connection_replied(struct connection *c);
/* Drops the client; a running invocation is cancelled. */
void connection_abort(struct connection *c);

/* Of all connections, for struct loop_ops. */
void connections_tick(struct loop *loop);
void connections_shed(struct loop *loop);
void connections_stop(struct loop *loop);
void connections_cancel(struct loop *loop, bool is_last);

/* http1.c: how exchanges of these connections are answered. */
extern const struct exchange_ops http1_ops;
/* An interim 100 Continue. */
void http1_continue(struct connection *c);

static inline struct connection *connection_of(struct exchange *x) {
  return (struct connection *)((char *)x - offsetof(struct connection, exchange));
}

#endif
