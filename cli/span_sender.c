/* gasworks span-sender: what a process started by server/observe/tracer.c does. It posts bodies as OTLP over HTTP has it: what
 * the collector cannot take now (429, 502, 503, 504, no connection) is posted again, later and later, or when the collector says;
 * what it does not want is dropped. What the collector says is read as hostile: so much, so long, from where it was asked and
 * nowhere else. */
#define _GNU_SOURCE /* prctl, explicit_bzero */
#include "cli/span_sender.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/version.h"
#include "cli/cli.h"
#include "cli/libcurl.h"
#include "server/observe/sender.h"
#include "server/walls.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* A batch is given up when the next try would come later than MOST_MS after the first. */
enum {
  STREAM = STDIN_FILENO,
  FIRST_PAUSE_MS = 1000,
  MAX_PAUSE_MS = 16000,
  MOST_MS = 60000,
  MAX_KEPT = 64 << 10,
  MAX_READ = 1 << 20
};

struct sender {
  CURL *curl;
  struct curl_slist *headers;
  char *url;
  long timeout_ms;
  struct buffer body, reply; /* reply: its first MAX_KEPT bytes */
  size_t n_read;
  char message[CURL_ERROR_SIZE];
};

/* --- the stream ---------------------------------------------------------------------------------------------------------- */

static bool read_all(void *bytes, size_t size) {
  char *at = bytes;
  while (size) {
    ssize_t n = read(STREAM, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static bool read_frame(struct buffer *frame) {
  uint32_t size;
  frame->size = 0;
  if (!read_all(&size, sizeof size) || size > SENDER_MAX_FRAME) return false;
  if (!read_all(buffer_reserve(frame, size), size)) return false;
  frame->size = size;
  return true;
}

/* Sleeps; false when the server has gone meanwhile. A stream that was ended by the other side hangs up. */
static bool pause_for(uint64_t ms) {
  struct pollfd fd = {.fd = STREAM, .events = POLLRDHUP};
  return poll(&fd, 1, (int)ms) <= 0;
}

/* --- one try ------------------------------------------------------------------------------------------------------------- */

/* Called now and then while a request is under way. What is sent for a server that has gone is for nobody. */
static int look_at_server(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  (void)user, (void)a, (void)b, (void)c, (void)d;
  if (!pause_for(0)) _exit(0);
  return 0;
}

static size_t receive(char *bytes, size_t one, size_t size, void *user) {
  struct sender *s = user;
  (void)one;
  s->n_read += size;
  if (s->n_read > MAX_READ) return 0; /* libcurl ends it */
  size_t room = MAX_KEPT - s->reply.size;
  buffer_append(&s->reply, bytes, size < room ? size : room);
  return size;
}

struct result {
  long status; /* 0: no answer */
  uint64_t retry_after_ms;
  bool may_retry;
};

static struct result post(struct sender *s) {
  struct result result = {0};
  curl_off_t seconds = 0;
  s->reply.size = s->n_read = 0;
  *s->message = 0;
  libcurl.curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, (const char *)s->body.bytes);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.size);
  CURLcode code = libcurl.curl_easy_perform(s->curl);
  libcurl.curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &result.status);
  if (code != CURLE_OK) {
    if (!*s->message) snprintf(s->message, sizeof s->message, "%s", libcurl.curl_easy_strerror(code));
    result.status = 0;
    result.may_retry = s->n_read <= MAX_READ;
    return result;
  }
  libcurl.curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &seconds);
  if (seconds > 0) result.retry_after_ms = seconds < MOST_MS ? (uint64_t)seconds * 1000 : UINT64_C(1000) * MOST_MS;
  result.may_retry = result.status == 429 || result.status == 502 || result.status == 503 || result.status == 504;
  return result;
}

/* --- a batch ------------------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

/* Half of it, or more, so that servers do not come together. */
static uint64_t spread(uint64_t ms) {
  uint32_t random = 0;
  if (getentropy(&random, sizeof random) != 0) return ms;
  return ms / 2 + random % (ms / 2 + 1);
}

/* ExportTraceServiceResponse: numbers of 64 bits are strings in JSON, and numbers in that of some. */
static void read_success(struct sender *s, struct sender_answer *answer) {
  cJSON *json = cJSON_ParseWithLength((const char *)s->reply.bytes, s->reply.size);
  const cJSON *partial = cJSON_GetObjectItemCaseSensitive(json, "partialSuccess");
  const cJSON *rejected = cJSON_GetObjectItemCaseSensitive(partial, "rejectedSpans");
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(partial, "errorMessage"));
  double n = cJSON_IsString(rejected) ? strtod(rejected->valuestring, NULL) : cJSON_GetNumberValue(rejected);
  answer->outcome = SENDER_SENT;
  answer->n_rejected = n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
  if (text && *text) snprintf(answer->text, sizeof answer->text, "the collector says: %.150s", text);
  cJSON_Delete(json);
}

static void say_why(const struct sender *s, const struct result *result, struct sender_answer *answer) {
  answer->outcome = SENDER_FAILED;
  if (result->status)
    snprintf(answer->text, sizeof answer->text, "the collector answered %ld", result->status);
  else
    snprintf(answer->text, sizeof answer->text, "the collector does not answer: %.150s", s->message);
}

/* False when the server has gone. */
static bool send_batch(struct sender *s, struct sender_answer *answer) {
  uint64_t began = now_ms(), pause = FIRST_PAUSE_MS;
  for (;; pause = 2 * pause < MAX_PAUSE_MS ? 2 * pause : MAX_PAUSE_MS) {
    struct result result = post(s);
    if (result.status >= 200 && result.status < 300) {
      read_success(s, answer);
      return true;
    }
    uint64_t wait = result.retry_after_ms ? result.retry_after_ms : spread(pause);
    if (!result.may_retry || now_ms() - began + wait > MOST_MS) {
      say_why(s, &result, answer);
      return true;
    }
    if (!pause_for(wait)) return false;
  }
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

static void add_headers(struct sender *s, const char *lines) {
  char line[8192];
  s->headers = libcurl.curl_slist_append(NULL, "Expect:"); /* no waiting for 100 Continue */
  s->headers = libcurl.curl_slist_append(s->headers, "Content-Type: application/json");
  for (const char *end; (end = strchr(lines, '\n')); lines = end + 1) {
    snprintf(line, sizeof line, "%.*s", (int)(end - lines), lines);
    s->headers = libcurl.curl_slist_append(s->headers, line);
  }
  explicit_bzero(line, sizeof line);
}

static bool set_up(struct sender *s) {
  s->curl = libcurl.curl_easy_init();
  if (!s->curl) return false;
  libcurl.curl_easy_setopt(s->curl, CURLOPT_URL, s->url);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "http,https");
  libcurl.curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_USERAGENT, "gasworks/" GASWORKS_VERSION);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, s->timeout_ms);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->message);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_NOPROGRESS, 0L);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_XFERINFOFUNCTION, look_at_server);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, receive);
  libcurl.curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
  return true;
}

/* The first frame: see server/observe/sender.h. */
static bool begin(struct sender *s) {
  if (!read_frame(&s->body) || !s->body.size || s->body.bytes[s->body.size - 1]) return false;
  const char *at = (const char *)s->body.bytes, *end = at + s->body.size, *parts[3];
  for (int i = 0; i < 3; i++) {
    if (at >= end) return false;
    parts[i] = at;
    at += strlen(at) + 1;
  }
  s->url = strdup(parts[0]);
  s->timeout_ms = strtol(parts[1], NULL, 10);
  add_headers(s, parts[2]);
  explicit_bzero(s->body.bytes, s->body.size);
  return set_up(s);
}

/* Signals are for the server, which says when it is over by ending the stream. */
static void ignore_signals(void) {
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
}

int cli_span_sender(void) {
  struct gw_error err = {0};
  struct sender s = {0};
  int type;
  socklen_t size = sizeof type;
  if (getsockopt(STREAM, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
    return cli_misuse(NULL, "%s is for servers that send spans", SENDER_VERB);
  ignore_signals();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!libcurl_open(&err)) return cli_fail(&err);
  libcurl.curl_global_init(CURL_GLOBAL_DEFAULT);
  if (!walls_around_sender(&err)) return cli_fail(&err);
  if (!begin(&s)) return 0;
  for (;;) {
    struct sender_answer answer = {0};
    if (!read_frame(&s.body) || !send_batch(&s, &answer)) break;
    if (send(STREAM, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) break;
  }
  libcurl.curl_easy_cleanup(s.curl);
  libcurl.curl_slist_free_all(s.headers);
  libcurl.curl_global_cleanup();
  buffer_clear(&s.body);
  buffer_clear(&s.reply);
  free(s.url);
  return 0;
}
