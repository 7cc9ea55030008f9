/* gasworks try: a module runs on the server once, without being deployed. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/client.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct try {
  struct client client;
  const char *data;
  uint64_t gas, memory, cpu_ms;
  bool is_verbose, is_json;
  struct buffer body;
  char boundary[40], path[160];
};

/* Neither part can hold it: nobody knew it before. */
static bool make_boundary(struct try *t, struct gw_error *err) {
  uint64_t random[2];
  if (getrandom(random, sizeof random, 0) != sizeof random) return error_set(err, GW_ERROR_IO, "there are no random numbers");
  snprintf(t->boundary, sizeof t->boundary, "%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
  return true;
}

static void add_part(struct try *t, const char *name, const struct buffer *bytes) {
  buffer_format(&t->body, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n", t->boundary, name);
  buffer_append(&t->body, bytes->bytes, bytes->size);
  buffer_append_string(&t->body, "\r\n");
}

/* -d BODY, -d @FILE or -d - for standard input. */
static bool read_input(const struct try *t, struct buffer *input, struct gw_error *err) {
  if (*t->data == '@') return cli_read_file(input, t->data + 1, err);
  if (strcmp(t->data, "-") == 0) return cli_read_file(input, "-", err);
  buffer_append_string(input, t->data);
  return true;
}

static bool make_body(struct try *t, const char *file, struct gw_error *err) {
  struct buffer module = {0}, input = {0};
  bool ok = make_boundary(t, err) && cli_read_file(&module, file, err) && (!t->data || read_input(t, &input, err));
  if (ok) add_part(t, "module", &module);
  if (ok && t->data) add_part(t, "input", &input);
  if (ok) buffer_format(&t->body, "--%s--\r\n", t->boundary);
  buffer_clear(&module);
  buffer_clear(&input);
  return ok;
}

static void add_limit(struct try *t, const char *name, uint64_t n) {
  size_t size = strlen(t->path);
  if (n) snprintf(t->path + size, sizeof t->path - size, "&%s=%llu", name, (unsigned long long)n);
}

static bool send(struct try *t, const char *file, struct client_reply *reply, struct gw_error *err) {
  char type[96];
  const char *const headers[] = {type, NULL};
  if (!make_body(t, file, err)) return false;
  snprintf(type, sizeof type, "Content-Type: multipart/form-data; boundary=%s", t->boundary);
  snprintf(t->path, sizeof t->path, "/v1/run?as=json");
  add_limit(t, "gas", t->gas);
  add_limit(t, "memory", t->memory);
  add_limit(t, "cpu_ms", t->cpu_ms);
  struct client_request request = {.client = &t->client, .method = "POST", .path = t->path, .headers = headers, .body = &t->body};
  return client_send(&request, reply, err);
}

/* Standard base64, of a server's making. */
static void write_base64(const char *text) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  uint32_t bits = 0;
  int n = 0;
  for (const char *at; *text && (at = strchr(digits, *text)); text++) {
    bits = bits << 6 | (uint32_t)(at - digits);
    n += 6;
    if (n < 8) continue;
    n -= 8;
    putchar((int)(bits >> n & 0xff));
  }
}

/* What it logged goes to standard error, as a program's own would. */
static bool show(const struct try *t, struct client_reply *reply, struct gw_error *err) {
  cJSON *json = cJSON_Parse((const char *)reply->body.bytes);
  const char *log = cJSON_GetStringValue(cJSON_GetObjectItem(json, "log"));
  const char *body = cJSON_GetStringValue(cJSON_GetObjectItem(json, "body"));
  const char *base64 = cJSON_GetStringValue(cJSON_GetObjectItem(json, "body_base64"));
  double status = client_number(json, "status");
  bool ok = reply->status < 400 && status < 400;
  if (t->is_json && json) {
    cli_print_json(json, false);
    json = NULL;
  } else {
    if (body && reply->status < 400) fputs(body, stdout);
    if (base64) write_base64(base64);
    fflush(stdout);
    if (log) fputs(log, stderr);
    if (cJSON_IsTrue(cJSON_GetObjectItem(json, "is_cut"))) fprintf(stderr, "the reply is longer than what is shown\n");
  }
  if (reply->has_gas && (t->is_verbose || isatty(STDERR_FILENO))) fprintf(stderr, "gas %llu\n", (unsigned long long)reply->gas);
  if (*reply->receipt && t->is_verbose) fprintf(stderr, "receipt %s\n", reply->receipt);
  if (reply->status >= 400)
    client_problem(reply, err);
  else if (!ok)
    error_set(err, GW_ERROR_REQUEST, "the module replied with status %.0f", status);
  cJSON_Delete(json);
  return ok;
}

int cli_try(int argc, char **argv) {
  struct try t = {.client = client_default()};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&t.client),
      {"data", 'd', CLI_TEXT, &t.data, "BODY", "its input, as a request's body; @FILE reads a file, - standard input"},
      {"gas", 0, CLI_NUMBER, &t.gas, "N", "gas that it may use (k M G T allowed); 10G, or the server's limit, unless told"},
      {"memory", 0, CLI_SIZE, &t.memory, "BYTES", "memory likewise (K M G allowed); 256M, or the server's limit, unless told"},
      {"cpu-ms", 0, CLI_NUMBER, &t.cpu_ms, "N", "CPU time likewise, in milliseconds; 10000 unless told"},
      {"verbose", 'v', CLI_FLAG, &t.is_verbose, NULL, "show gas and receipt on standard error, even if that is no terminal"},
      CLIENT_JSON_OPTION(&t.is_json),
  };
  const struct cli_command command = {
      .name = "try",
      .arguments = "FILE.wasm",
      .description =
          "Runs the module once on the server and prints its reply's body; what it logs goes to standard error. It is not\n"
          "deployed, has no state, and nothing of it is kept but a receipt. FILE - is standard input.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct client_reply reply = {0};
  struct gw_error err = {0};
  if (cli_parse(&command, &argc, &argv, &exit_code)) {
    bool ok = send(&t, argv[0], &reply, &err) && show(&t, &reply, &err);
    exit_code = client_finish(ok, &reply, &err);
  }
  buffer_clear(&t.body);
  return exit_code;
}
