#include "cli/client.h"

#include "base/error.h"
#include "cli/libcurl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}

struct client client_default(void) {
  return (struct client){.server = setting("GASWORKS_SERVER", "http://127.0.0.1:8080"),
                         .token = setting("GASWORKS_TOKEN", NULL),
                         .tenant = setting("GASWORKS_TENANT", NULL)};
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

enum { MAX_TOKEN_FILE = 4096 };

/* The first line of a file. */
static bool read_token(const char *path, struct buffer *out, struct gw_error *err) {
  if (!buffer_read_file(out, path, MAX_TOKEN_FILE, err)) return false;
  buffer_append(out, "", 1);
  out->size = strcspn((char *)out->bytes, "\r\n");
  return true;
}

/* The token of this machine's administrator leaves it for nobody. */
static bool is_on_this_machine(const char *server) {
  static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
  if (strncasecmp(server, "http://", 7) != 0) return false;
  server += 7;
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
    size_t size = strlen(hosts[i]);
    if (strncasecmp(server, hosts[i], size) != 0) continue;
    const char *rest = server + size;
    if (*rest == ':') rest += 1 + strspn(rest + 1, "0123456789"); /* more, up to an @, would be somebody's name */
    if (!*rest || *rest == '/') return true;
  }
  return false;
}

static bool find_admin_token(const char *data, struct buffer *out) {
  struct buffer path = {0};
  struct gw_error ignored = {0};
  buffer_format(&path, "%s/admin-token", data);
  buffer_append(&path, "", 1);
  bool ok = read_token((const char *)path.bytes, out, &ignored);
  buffer_clear(&path);
  return ok;
}

/* Appends the one to use, or nothing where there is none: the server says then what it misses. */
static bool find_token(const struct client *client, struct buffer *out, struct gw_error *err) {
  if (client->token && *client->token == '@') return read_token(client->token + 1, out, err);
  if (client->token) {
    buffer_append_string(out, client->token);
  } else if (is_on_this_machine(client->server) && !find_admin_token(setting("GASWORKS_DATA", "gasworks-data"), out)) {
    find_admin_token("/var/lib/gasworks", out); /* the installed server's */
  }
  return true;
}

/* "Authorization: Bearer TOKEN", with a 0 behind; empty without a token. What would end the line early is no token. */
static bool make_authorization(const struct client *client, struct buffer *out, struct gw_error *err) {
  struct buffer token = {0};
  bool ok = find_token(client, &token, err);
  buffer_append(&token, "", 1);
  for (const char *c = (const char *)token.bytes; ok && *c; c++)
    if (*c <= ' ' || *c > '~') ok = error_set(err, GW_ERROR_USAGE, "the token holds characters that no token has");
  if (ok && *token.bytes) {
    buffer_format(out, "Authorization: Bearer %s", (const char *)token.bytes);
    buffer_append(out, "", 1);
  }
  explicit_bzero(token.bytes, token.size);
  buffer_clear(&token);
  return ok;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

/* The value of a header line when it is the one called `name` (with its colon), else NULL. */
static const char *header_value(const char *line, const char *name) {
  size_t size = strlen(name);
  if (strncasecmp(line, name, size) != 0) return NULL;
  line += size;
  return line + strspn(line, " \t");
}

struct receiver {
  struct client_reply *reply;
  bool wants_headers;
  size_t max_reply;
};

static size_t receive_header(char *bytes, size_t one, size_t size, void *user) {
  struct receiver *receiver = user;
  struct client_reply *reply = receiver->reply;
  char line[256];
  (void)one;
  if (receiver->wants_headers) buffer_append(&reply->headers, bytes, size);
  size_t n = size < sizeof line ? size : sizeof line - 1;
  memcpy(line, bytes, n);
  line[n] = 0;
  const char *gas = header_value(line, "Gasworks-Gas:"), *type = header_value(line, "Content-Type:");
  const char *receipt = header_value(line, "Gasworks-Receipt:");
  if (gas) {
    reply->has_gas = true;
    reply->gas = strtoull(gas, NULL, 10);
  }
  if (receipt) snprintf(reply->receipt, sizeof reply->receipt, "%.*s", (int)strspn(receipt, "0123456789abcdef/"), receipt);
  if (type) reply->is_problem = strncasecmp(type, "application/problem+json", 24) == 0;
  return size;
}

static size_t receive_body(char *bytes, size_t one, size_t size, void *user) {
  struct receiver *receiver = user;
  (void)one;
  if (receiver->max_reply && size > receiver->max_reply - receiver->reply->body.size) return 0; /* libcurl ends it */
  buffer_append(&receiver->reply->body, bytes, size);
  return size;
}

static void set_body(CURL *curl, const struct buffer *body) {
  libcurl.curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->size ? (const char *)body->bytes : "");
  libcurl.curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
}

static struct curl_slist *request_headers(const struct client_request *request, const struct buffer *authorization) {
  struct curl_slist *list = libcurl.curl_slist_append(NULL, "Expect:"); /* no waiting for 100 Continue */
  list = libcurl.curl_slist_append(list, "Content-Type: application/octet-stream");
  for (const char *const *h = request->headers; h && *h; h++) {
    if (header_value(*h, "Content-Type:")) { /* the caller's takes the place of ours */
      libcurl.curl_slist_free_all(list);
      list = libcurl.curl_slist_append(NULL, "Expect:");
    }
  }
  bool has_own = false;
  for (const char *const *h = request->headers; h && *h; h++) {
    has_own |= header_value(*h, "Authorization:") != NULL;
    list = libcurl.curl_slist_append(list, *h);
  }
  if (authorization->size && !has_own) list = libcurl.curl_slist_append(list, (const char *)authorization->bytes);
  return list;
}

static CURLcode perform(CURL *curl, const struct client_request *request, const struct buffer *authorization,
                        struct receiver *receiver, char *message) {
  const struct client *client = request->client;
  struct buffer url = {0};
  size_t base = strlen(client->server);
  while (base && client->server[base - 1] == '/') base--;
  buffer_append(&url, client->server, base);
  if (client->tenant && !request->is_of_server) buffer_format(&url, "/t/%s", client->tenant);
  buffer_append(&url, request->path, strlen(request->path) + 1);
  struct curl_slist *headers = request_headers(request, authorization);
  if (request->body) set_body(curl, request->body);
  if (strcmp(request->method, "HEAD") == 0) libcurl.curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  libcurl.curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
  libcurl.curl_easy_setopt(curl, CURLOPT_URL, (const char *)url.bytes);
  libcurl.curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  if (is_on_this_machine(client->server)) libcurl.curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* which would get the token */
  libcurl.curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  libcurl.curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  libcurl.curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  libcurl.curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
  libcurl.curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header);
  libcurl.curl_easy_setopt(curl, CURLOPT_HEADERDATA, receiver);
  libcurl.curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive_body);
  libcurl.curl_easy_setopt(curl, CURLOPT_WRITEDATA, receiver);
  CURLcode code = libcurl.curl_easy_perform(curl);
  libcurl.curl_slist_free_all(headers);
  buffer_clear(&url);
  return code;
}

bool client_send(const struct client_request *request, struct client_reply *reply, struct gw_error *err) {
  char message[CURL_ERROR_SIZE] = "";
  struct receiver receiver = {reply, request->wants_headers, request->max_reply};
  *reply = (struct client_reply){0};
  struct buffer authorization = {0};
  if (!make_authorization(request->client, &authorization, err) || !libcurl_open(err)) {
    buffer_clear(&authorization);
    return false;
  }
  libcurl.curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL *curl = libcurl.curl_easy_init();
  CURLcode code = curl ? perform(curl, request, &authorization, &receiver, message) : CURLE_OUT_OF_MEMORY;
  if (curl) libcurl.curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
  if (curl) libcurl.curl_easy_cleanup(curl);
  libcurl.curl_global_cleanup();
  *buffer_reserve(&reply->body, 1) = 0;
  buffer_clear(&authorization);
  if (code == CURLE_OK) return true;
  return error_set(err, GW_ERROR_UNAVAILABLE, "no answer from %s: %s", request->client->server,
                   *message ? message : libcurl.curl_easy_strerror(code));
}

void client_reply_clear(struct client_reply *reply) {
  buffer_clear(&reply->headers);
  buffer_clear(&reply->body);
  buffer_clear(&reply->backtrace);
}

/* Problem documents carry the titles of the error table and the messages of the trap table: back to the same code here, so that
 * `deploy` of a bad module ends like `run` of it. */
static struct gw_error problem_code(const cJSON *problem, long status) {
  const char *title = cJSON_GetStringValue(cJSON_GetObjectItem(problem, "title"));
  const char *trap = cJSON_GetStringValue(cJSON_GetObjectItem(problem, "trap"));
  for (int i = 1; trap && i < GW_TRAP_COUNT; i++) {
    if (strcmp(trap, gw_trap_message((enum gw_trap)i)) == 0)
      return (struct gw_error){.code = GW_ERROR_TRAP, .trap = (enum gw_trap)i};
  }
  for (int i = 1; title && i < GW_ERROR_COUNT; i++)
    if (strcasecmp(title, gw_error_title((enum gw_error_code)i)) == 0) return (struct gw_error){.code = (enum gw_error_code)i};
  return (struct gw_error){.code = status == 404 ? GW_ERROR_NOT_FOUND : GW_ERROR_REQUEST};
}

/* Of a backtrace's line, as server/invoke/backtrace.c has it. */
static const char *indentation(const char *line) {
  bool is_call = line[0] >= '0' && line[0] <= '9';
  if (is_call && line[1] == ':') return "   ";
  return strncmp(line, "inlined into ", 13) == 0 ? "      " : "  ";
}

bool client_problem(struct client_reply *reply, struct gw_error *err) {
  cJSON *json = reply->is_problem ? cJSON_Parse((const char *)reply->body.bytes) : NULL;
  struct gw_error found = problem_code(json, reply->status);
  const char *detail = cJSON_GetStringValue(cJSON_GetObjectItem(json, "detail"));
  if (!detail) detail = cJSON_GetStringValue(cJSON_GetObjectItem(json, "title"));
  const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(json, "type"));
  if (reply->status == 401 && type && strncmp(type, "urn:gasworks:", 13) == 0)
    error_set(err, GW_ERROR_FORBIDDEN,
              "%s (HTTP %ld); --token TOKEN or @FILE, or $GASWORKS_TOKEN, or $GASWORKS_DATA says where the "
              "server's data are",
              detail ? detail : "the server wants a token", reply->status);
  else if (detail)
    error_set(err, found.code, "%s (HTTP %ld)", detail, reply->status);
  else
    error_set(err, found.code, "the answer was HTTP %ld", reply->status);
  err->trap = found.trap;
  const cJSON *line;
  cJSON_ArrayForEach(line, cJSON_GetObjectItem(json, "backtrace")) {
    const char *text = cJSON_GetStringValue(line);
    if (text) buffer_format(&reply->backtrace, "%s%s\n", indentation(text), text);
  }
  cJSON_Delete(json);
  return false;
}

/* --- what verbs make of replies ------------------------------------------------------------------------------------ */

bool client_ask(const struct client_request *request, struct client_reply *reply, struct gw_error *err) {
  return client_send(request, reply, err) && (reply->status < 400 || client_problem(reply, err));
}

cJSON *client_json(const struct client_reply *reply, bool for_people) {
  cJSON *json = cJSON_Parse((const char *)reply->body.bytes);
  if (json && for_people) cli_make_plain(json);
  return json;
}

const char *client_text(const cJSON *object, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));
  return text ? text : "-";
}

double client_number(const cJSON *object, const char *name) {
  const cJSON *item = cJSON_GetObjectItem(object, name);
  return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

/* Names need no escaping; anything else would lead to another place. */
bool client_check_name(const char *name, bool may_have_word, struct gw_error *err) {
  static const char allowed[] = "@abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  if (*name && *name != '.' && strspn(name, may_have_word ? allowed : allowed + 1) == strlen(name)) return true;
  return error_set(err, GW_ERROR_USAGE, "%s is no name for a function", *name ? name : "the empty string");
}

int client_finish(bool ok, struct client_reply *reply, const struct gw_error *err) {
  buffer_append(&reply->backtrace, "", 1);
  int exit_code = ok ? 0 : cli_fail_at(err, (const char *)reply->backtrace.bytes);
  client_reply_clear(reply);
  return exit_code;
}
