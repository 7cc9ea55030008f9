/* libFuzzer target: what clients send to the control plane, by those who take it apart. The first byte says who: sections of
 * multipart bodies, settings, prices, the parameters of a deployment, patches, tags, escapes, and the sizes that a module claims.
 * Start it with tests/corpus_bodies as its corpus. */
#include "server/api/control.c" /* its own functions, too */
#include "server/api/parts.h"
#include "server/function/settings.h"
#include "server/usage/price.h"

void fuzz_budget(const uint8_t *bytes, size_t size); /* fuzz_budget.c */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool is_so) {
  if (!is_so) abort();
}

/* With a zero behind it, of its own size: whoever reads on is seen. */
static char *text_of(const uint8_t *bytes, size_t size) {
  char *text = malloc(size + 1);
  must(text != NULL);
  memcpy(text, bytes, size);
  text[size] = 0;
  return text;
}

/* The first line is a Content-Type, the others the body. */
static void take_sections(const uint8_t *bytes, size_t size) {
  char boundary[PARTS_MAX_BOUNDARY + 1];
  const uint8_t *line = memchr(bytes, '\n', size);
  size_t length = line ? (size_t)(line - bytes) : size, n = 0, rest = line ? size - length - 1 : 0;
  char *type = text_of(bytes, length);
  struct part parts[3];
  struct gw_error err = {0};
  uint8_t *body = malloc(rest + 1);
  must(body != NULL);
  memcpy(body, bytes + size - rest, rest);
  bool ok = parts_boundary(type, boundary) && parts_read(boundary, body, rest, parts, 3, &n, &err);
  must(n <= 3);
  for (size_t i = 0; ok && i < n; i++) {
    must(parts[i].bytes >= body && parts[i].bytes + parts[i].size <= body + rest);
    must(*parts[i].name && strlen(parts[i].name) <= PARTS_MAX_WORD && strlen(parts[i].type) <= PARTS_MAX_WORD);
  }
  free(body);
  free(type);
}

/* What is taken is read again as the record that it leaves, and may be patched with itself. */
static void take_settings(const uint8_t *bytes, size_t size) {
  static const struct settings_key key = {.bytes = {1}};
  struct gw_error err = {0};
  cJSON *patch = cJSON_ParseWithLength((const char *)bytes, size);
  struct settings *first = patch ? settings_patch("t/f", NULL, patch, &key, &err) : NULL, *second = NULL, *again = NULL;
  if (first) {
    must(settings_parse("t/f", first->record, &key, &again, &err));
    second = settings_patch("t/f", first, patch, &key, &err);
    must(second != NULL);
  }
  settings_release(first);
  settings_release(second);
  settings_release(again);
  cJSON_Delete(patch);
}

static void take_prices(const uint8_t *bytes, size_t size) {
  struct prices prices;
  struct gw_error err = {0};
  if (!price_parse(&prices, bytes, size, &err)) return;
  struct billed most = {.n = {[PRICE_GAS] = UINT64_MAX}};
  must(strlen(prices.currency) == 3 && price_of(&prices, &most) >= prices.of[PRICE_GAS]);
}

/* `what` is the query, a body, or a header. */
static void take_request(uint8_t kind, const uint8_t *bytes, size_t size) {
  static struct exchange x;
  struct control_task task = {.exchange = &x};
  struct registry_condition condition = {0};
  char *text = text_of(bytes, size);
  x.request =
      (struct request){.query = kind == 1 ? "alias=a" : text, .body = {.bytes = (uint8_t *)text, .size = kind == 1 ? size : 0}};
  if (kind == 0 && take_wish(&task)) must(task.gate <= GATE_MOST && strlen(task.wish.alias) <= FUNCTION_MAX_NAME);
  if (kind == 1) take_patch(&task);
  if (kind == 2 && read_tags(text, &condition, &task.error)) must(condition.n_revisions <= 4);
  if (kind == 3 && query_percent_decode(text)) must(strlen(text) <= size);
  cJSON_Delete(task.patch);
  free(text);
}

static void take_toll(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size + !size);
  must(copy != NULL);
  memcpy(copy, bytes, size);
  struct toll toll = toll_of(copy, size);
  must(toll.bytes == size && toll.code <= size);
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (!size) return 0;
  const uint8_t *rest = bytes + 1;
  size--;
  switch (bytes[0]) {
  case 'm': take_sections(rest, size); break;
  case 's': take_settings(rest, size); break;
  case 'p': take_prices(rest, size); break;
  case 'b': fuzz_budget(rest, size); break;
  case 'q': take_request(0, rest, size); break;
  case 'j': take_request(1, rest, size); break;
  case 't': take_request(2, rest, size); break;
  case '%': take_request(3, rest, size); break;
  case 'w': take_toll(rest, size); break;
  default: return -1; /* not worth a place in the corpus */
  }
  return 0;
}
