/* The floor for request rates: libuv and llhttp on one thread, answering every request with the same bytes. What Gasworks does on
 * top of this is its own cost.   usage: http_floor [PORT] */
#include <llhttp.h>
#include <uv.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char constant[] = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nGasworks-Gas: 100\r\n"
                               "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n\r\nhello\n";

struct client {
  uv_tcp_t tcp;
  llhttp_t parser;
};

static uv_tcp_t listener;
static llhttp_settings_t settings;
static char read_buffer[64 << 10];

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void drop(struct client *client) {
  if (!uv_is_closing((uv_handle_t *)&client->tcp)) uv_close((uv_handle_t *)&client->tcp, on_closed);
}

static int on_message_complete(llhttp_t *parser) {
  struct client *client = parser->data;
  uv_buf_t buf = uv_buf_init((char *)constant, sizeof constant - 1);
  if (uv_try_write((uv_stream_t *)&client->tcp, &buf, 1) != (int)buf.len) drop(client);
  return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(read_buffer, sizeof read_buffer);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
  struct client *client = stream->data;
  if (size < 0 || llhttp_execute(&client->parser, buf->base, (size_t)size) != HPE_OK) drop(client);
}

static void on_connection(uv_stream_t *stream, int status) {
  struct client *client = status == 0 ? calloc(1, sizeof *client) : NULL;
  if (!client) return;
  uv_tcp_init(stream->loop, &client->tcp);
  client->tcp.data = client;
  llhttp_init(&client->parser, HTTP_REQUEST, &settings);
  client->parser.data = client;
  if (uv_accept(stream, (uv_stream_t *)&client->tcp) != 0) {
    drop(client);
    return;
  }
  uv_tcp_nodelay(&client->tcp, 1);
  uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

int main(int argc, char **argv) {
  struct sockaddr_in address;
  int port = argc > 1 ? atoi(argv[1]) : 8090;
  uv_loop_t *loop = uv_default_loop();
  signal(SIGPIPE, SIG_IGN);
  llhttp_settings_init(&settings);
  settings.on_message_complete = on_message_complete;
  uv_ip4_addr("127.0.0.1", port, &address);
  uv_tcp_init(loop, &listener);
  int failed = uv_tcp_bind(&listener, (struct sockaddr *)&address, 0);
  if (!failed) failed = uv_listen((uv_stream_t *)&listener, 1024, on_connection);
  if (failed) {
    fprintf(stderr, "http_floor: cannot listen on port %d: %s\n", port, uv_strerror(failed));
    return 1;
  }
  return uv_run(loop, UV_RUN_DEFAULT);
}
