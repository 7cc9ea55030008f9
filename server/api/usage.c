/* GET /v1/usage: what functions have used, as JSON or CSV (docs/usage.md). Sums are read on libuv's worker threads. */
#include "server/api/usage.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/api/query.h"
#include "server/api/route.h"
#include "server/function/function.h"
#include "server/http/reply.h"
#include "server/loop/loop.h"
#include "server/usage/account.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATE_SIZE = 11, MAX_DAY = 2932896 /* 9999-12-31 */ };

/* What rows are told apart by. */
enum { BY_TENANT = 1, BY_FUNCTION = 2, BY_VERSION = 4, BY_DAY = 8, BY_ALL = 15 };
static const char *const by_words[] = {"tenant", "function", "version", "day", NULL};

enum format { FORMAT_JSON, FORMAT_CSV, FORMAT_FOCUS };
static const char *const format_words[] = {"json", "csv", "focus", NULL};

/* One question under way. */
struct question {
  uv_work_t work;
  struct exchange *exchange;
  struct usage *usage;
  char tenant[ACCESS_MAX_NAME + 1];     /* "": all */
  char function[FUNCTION_MAX_NAME + 1]; /* "": all of the tenant's */
  uint32_t first, last, by;
  enum format format;
  struct line *lines;
  size_t n, capacity;
  struct buffer text;
  struct gw_error error;
};

/* A row of the answer; what it is not told apart by is empty. */
struct line {
  char tenant[ACCESS_MAX_NAME + 1], function[USAGE_MAX_NAME + 1];
  uint64_t version;
  uint32_t day, table; /* table: of prices; 0 where nothing is priced */
  struct usage_sum sum;
};

/* --- days --------------------------------------------------------------------------------------------------------- */

static const char *date_text(uint32_t day, char out[DATE_SIZE]) {
  time_t seconds = (time_t)day * USAGE_DAY_SECONDS;
  struct tm tm;
  strftime(out, DATE_SIZE, "%Y-%m-%d", gmtime_r(&seconds, &tm));
  return out;
}

/* "2026-11-30". */
static bool read_date(const struct query_part *part, uint32_t *day) {
  char text[DATE_SIZE], again[DATE_SIZE];
  struct tm tm = {0};
  if (part->word_size != DATE_SIZE - 1) return false;
  memcpy(text, part->word, DATE_SIZE - 1);
  text[DATE_SIZE - 1] = 0;
  if (sscanf(text, "%4d-%2d-%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3) return false;
  tm.tm_year -= 1900;
  tm.tm_mon--;
  time_t seconds = timegm(&tm);
  if (seconds < 0 || seconds / USAGE_DAY_SECONDS > MAX_DAY) return false;
  *day = (uint32_t)(seconds / USAGE_DAY_SECONDS);
  return strcmp(date_text(*day, again), text) == 0; /* there was no 31st of November */
}

static uint32_t today(void) { return (uint32_t)(clock_ns(CLOCK_REALTIME) / 1000000000 / USAGE_DAY_SECONDS); }

static uint32_t first_of_month(uint32_t day) {
  time_t seconds = (time_t)day * USAGE_DAY_SECONDS;
  struct tm tm;
  gmtime_r(&seconds, &tm);
  return day - (uint32_t)(tm.tm_mday - 1);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static void on_row(void *arg, const struct usage_row *given) {
  struct question *q = arg;
  struct usage_row own = *given, *row = &own;
  const char *slash = strchr(row->function, '/');
  char tenant[ACCESS_MAX_NAME + 1];
  snprintf(tenant, sizeof tenant, "%.*s", slash ? (int)(slash - row->function) : (int)strlen(DEFAULT_TENANT),
           slash ? row->function : DEFAULT_TENANT);
  const char *name = function_short_name(row->function);
  if (*q->tenant && strcmp(q->tenant, tenant) != 0) return;
  if (*q->function && strcmp(q->function, name) != 0) return;
  if (*q->tenant && !usage_is_own(q->usage, row)) return;
  struct line line = {.sum = row->sum};
  if (q->by & BY_TENANT) memcpy(line.tenant, tenant, sizeof tenant);
  if (q->by & BY_FUNCTION) snprintf(line.function, sizeof line.function, "%s", name);
  if (q->by & BY_VERSION) line.version = row->version;
  if (q->by & BY_DAY) line.day = row->day;
  if (q->format == FORMAT_FOCUS) line.table = row->table;
  if (q->n == q->capacity) array_grow(q->lines, q->capacity, 64);
  q->lines[q->n++] = line;
}

static int compare(const void *a, const void *b) {
  const struct line *l = a, *r = b;
  int order = l->day < r->day ? -1 : l->day > r->day;
  if (!order) order = strcmp(l->tenant, r->tenant);
  if (!order) order = strcmp(l->function, r->function);
  if (!order) order = l->version < r->version ? -1 : l->version > r->version;
  return order ? order : l->table < r->table ? -1 : l->table > r->table;
}

static void merge_lines(struct question *q) {
  size_t n = 0;
  if (q->n) qsort(q->lines, q->n, sizeof *q->lines, compare);
  for (size_t i = 0; i < q->n; i++) {
    if (n && compare(&q->lines[n - 1], &q->lines[i]) == 0)
      usage_add(&q->lines[n - 1].sum, &q->lines[i].sum);
    else
      q->lines[n++] = q->lines[i];
  }
  q->n = n;
}

/* --- JSON and CSV ------------------------------------------------------------------------------------------------- */

void usage_add_exact(cJSON *json, const char *name, uint64_t n) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRIu64, n);
  cJSON_AddRawToObject(json, name, digits);
}

void usage_add_sum(cJSON *json, const struct usage_sum *sum) {
  usage_add_exact(json, "gas", usage_gas(sum));
  for (int i = 0; i < USAGE_COUNT; i++) usage_add_exact(json, usage_word((enum usage_quantity)i), sum->n[i]);
}

static cJSON *line_json(const struct question *q, const struct line *line) {
  char date[DATE_SIZE];
  cJSON *json = cJSON_CreateObject();
  if (q->by & BY_DAY) cJSON_AddStringToObject(json, "day", date_text(line->day, date));
  if (q->by & BY_TENANT) cJSON_AddStringToObject(json, "tenant", line->tenant);
  if (q->by & BY_FUNCTION) cJSON_AddStringToObject(json, "function", line->function);
  if (q->by & BY_VERSION) usage_add_exact(json, "version", line->version);
  usage_add_sum(json, &line->sum);
  return json;
}

/* All that there were, with their numbers as places. */
static cJSON *prices_json(const struct question *q) {
  cJSON *list = cJSON_CreateArray();
  const struct prices *prices;
  uint64_t from;
  for (uint32_t table = 0; (prices = usage_prices_at(q->usage, table, &from)); table++) {
    cJSON *json = cJSON_CreateObject();
    usage_add_exact(json, "from", from);
    cJSON_AddStringToObject(json, "currency", prices->currency);
    for (int price = 0; price < PRICE_COUNT; price++) {
      struct buffer text = {0};
      price_append_cost(&text, prices->of[price] * COST_OF_MONEY);
      buffer_append(&text, "", 1);
      cJSON_AddStringToObject(json, price_word(price), (const char *)text.bytes);
      buffer_clear(&text);
    }
    cJSON_AddItemToArray(list, json);
  }
  return list;
}

static void print_json(struct question *q) {
  char date[DATE_SIZE];
  struct usage_sum total = {0};
  cJSON *json = cJSON_CreateObject();
  if (*q->tenant)
    cJSON_AddStringToObject(json, "tenant", q->tenant);
  else
    cJSON_AddNullToObject(json, "tenant");
  cJSON_AddStringToObject(json, "from", date_text(q->first, date));
  cJSON_AddStringToObject(json, "to", date_text(q->last, date));
  usage_add_exact(json, "as_of", usage_as_of(q->usage));
  cJSON_AddItemToObject(json, "prices", prices_json(q));
  cJSON *rows = cJSON_AddArrayToObject(json, "rows");
  for (size_t i = 0; i < q->n; i++) {
    usage_add(&total, &q->lines[i].sum);
    cJSON_AddItemToArray(rows, line_json(q, &q->lines[i]));
  }
  usage_add_sum(cJSON_AddObjectToObject(json, "total"), &total);
  char *text = cJSON_PrintUnformatted(json);
  if (text) buffer_append(&q->text, text, strlen(text));
  cJSON_free(text);
  cJSON_Delete(json);
}

/* No word here needs quotes (RFC 4180): names are names. */
static void print_csv(struct question *q) {
  char date[DATE_SIZE];
  for (int i = 0; by_words[i]; i++) buffer_format(&q->text, "%s,", by_words[i]);
  buffer_append_string(&q->text, "gas");
  for (int i = 0; i < USAGE_COUNT; i++) buffer_format(&q->text, ",%s", usage_word((enum usage_quantity)i));
  buffer_append_string(&q->text, "\r\n");
  for (const struct line *line = q->lines; line < q->lines + q->n; line++) {
    buffer_format(&q->text, "%s,%s,", line->tenant, line->function);
    if (q->by & BY_VERSION) buffer_format(&q->text, "%" PRIu64, line->version);
    buffer_format(&q->text, ",%s,%" PRIu64, q->by & BY_DAY ? date_text(line->day, date) : "", usage_gas(&line->sum));
    for (int i = 0; i < USAGE_COUNT; i++) buffer_format(&q->text, ",%" PRIu64, line->sum.n[i]);
    buffer_append_string(&q->text, "\r\n");
  }
}

/* --- FOCUS -------------------------------------------------------------------------------------------------------- */

static const struct {
  const char *unit, *priced, *category, *subcategory, *meter;
} focus_rows[] = {
#define PRICE(name, word, power, unit, priced, category, subcategory, meter) {unit, priced, category, subcategory, meter},
#include "server/usage/price.def"
#undef PRICE
};

/* The charge of one line for one price. */
struct charge {
  const struct question *q;
  const struct line *line;
  int price;
  uint64_t n;
};

/* A column with a fixed word, or with what a function appends. */
struct focus_column {
  const char *name, *word;
  void (*append)(const struct charge *c, struct buffer *out);
};

static void append_time(struct buffer *out, uint32_t day) {
  char date[DATE_SIZE];
  buffer_format(out, "%sT00:00:00Z", date_text(day, date));
}

/* By which the line is priced, whatever prices are now. */
static const struct prices *prices_of(const struct charge *c) {
  uint64_t from;
  const struct prices *prices = usage_prices_at(c->q->usage, c->line->table, &from);
  return prices ? prices : usage_prices(c->q->usage);
}

static void focus_cost(const struct charge *c, struct buffer *out) {
  price_append_cost(out, price_part(prices_of(c), c->price, c->n));
}

static void focus_unit_price(const struct charge *c, struct buffer *out) {
  price_append_cost(out, prices_of(c)->of[c->price] * COST_OF_MONEY);
}

static void focus_account(const struct charge *c, struct buffer *out) { buffer_append_string(out, usage_log_id(c->q->usage)); }

static void focus_currency(const struct charge *c, struct buffer *out) { buffer_append_string(out, prices_of(c)->currency); }

static void focus_month(const struct charge *c, struct buffer *out) { append_time(out, first_of_month(c->line->day)); }

static void focus_next_month(const struct charge *c, struct buffer *out) {
  append_time(out, first_of_month(first_of_month(c->line->day) + 31));
}

static void focus_day(const struct charge *c, struct buffer *out) { append_time(out, c->line->day); }
static void focus_next_day(const struct charge *c, struct buffer *out) { append_time(out, c->line->day + 1); }

static void focus_description(const struct charge *c, struct buffer *out) {
  buffer_format(out, "%s of function %s/%s", focus_rows[c->price].meter, c->line->tenant, c->line->function);
}

static void focus_quantity(const struct charge *c, struct buffer *out) { price_append_decimal(out, c->n, 0); }
static void focus_priced(const struct charge *c, struct buffer *out) { price_append_decimal(out, c->n, price_power(c->price)); }
static void focus_unit(const struct charge *c, struct buffer *out) { buffer_append_string(out, focus_rows[c->price].unit); }
static void focus_price_unit(const struct charge *c, struct buffer *out) {
  buffer_append_string(out, focus_rows[c->price].priced);
}
static void focus_category(const struct charge *c, struct buffer *out) {
  buffer_append_string(out, focus_rows[c->price].category);
}

static void focus_subcategory(const struct charge *c, struct buffer *out) {
  buffer_append_string(out, focus_rows[c->price].subcategory);
}

static void focus_meter(const struct charge *c, struct buffer *out) { buffer_append_string(out, focus_rows[c->price].meter); }
static void focus_sku(const struct charge *c, struct buffer *out) { buffer_append_string(out, price_word(c->price)); }

/* A price of its own for each table. */
static void focus_sku_price(const struct charge *c, struct buffer *out) {
  buffer_append_string(out, price_word(c->price));
  if (c->line->table) buffer_format(out, "-%" PRIu32, c->line->table);
}

static void focus_tenant(const struct charge *c, struct buffer *out) { buffer_append_string(out, c->line->tenant); }

static void focus_resource(const struct charge *c, struct buffer *out) {
  buffer_format(out, "%s/%s", c->line->tenant, c->line->function);
}

static void focus_name(const struct charge *c, struct buffer *out) { buffer_append_string(out, c->line->function); }
static void focus_version(const struct charge *c, struct buffer *out) { price_append_decimal(out, c->line->version, 0); }

/* Of FOCUS 1.2. What would have no value here and may be left out is not there. */
static const struct focus_column focus_columns[] = {{"BilledCost", NULL, focus_cost},
                                                    {"BillingAccountId", NULL, focus_account},
                                                    {"BillingAccountName", "Gasworks", NULL},
                                                    {"BillingCurrency", NULL, focus_currency},
                                                    {"BillingPeriodEnd", NULL, focus_next_month},
                                                    {"BillingPeriodStart", NULL, focus_month},
                                                    {"ChargeCategory", "Usage", NULL},
                                                    {"ChargeClass", "", NULL},
                                                    {"ChargeDescription", NULL, focus_description},
                                                    {"ChargeFrequency", "Usage-Based", NULL},
                                                    {"ChargePeriodEnd", NULL, focus_next_day},
                                                    {"ChargePeriodStart", NULL, focus_day},
                                                    {"ConsumedQuantity", NULL, focus_quantity},
                                                    {"ConsumedUnit", NULL, focus_unit},
                                                    {"ContractedCost", NULL, focus_cost},
                                                    {"ContractedUnitPrice", NULL, focus_unit_price},
                                                    {"EffectiveCost", NULL, focus_cost},
                                                    {"InvoiceIssuerName", "Gasworks", NULL},
                                                    {"ListCost", NULL, focus_cost},
                                                    {"ListUnitPrice", NULL, focus_unit_price},
                                                    {"PricingCategory", "Standard", NULL},
                                                    {"PricingQuantity", NULL, focus_priced},
                                                    {"PricingUnit", NULL, focus_price_unit},
                                                    {"ProviderName", "Gasworks", NULL},
                                                    {"PublisherName", "Gasworks", NULL},
                                                    {"ResourceId", NULL, focus_resource},
                                                    {"ResourceName", NULL, focus_name},
                                                    {"ResourceType", "Function", NULL},
                                                    {"ServiceCategory", NULL, focus_category},
                                                    {"ServiceName", "Functions", NULL},
                                                    {"ServiceSubcategory", NULL, focus_subcategory},
                                                    {"SkuId", NULL, focus_sku},
                                                    {"SkuMeter", NULL, focus_meter},
                                                    {"SkuPriceId", NULL, focus_sku_price},
                                                    {"SubAccountId", NULL, focus_tenant},
                                                    {"SubAccountName", NULL, focus_tenant},
                                                    {"SubAccountType", "Tenant", NULL},
                                                    {"x_FunctionVersion", NULL, focus_version}};

enum { N_FOCUS = sizeof focus_columns / sizeof *focus_columns };

static void append_charge(struct buffer *out, const struct charge *c) {
  for (size_t i = 0; i < N_FOCUS; i++) {
    if (i) buffer_append(out, ",", 1);
    if (focus_columns[i].append)
      focus_columns[i].append(c, out);
    else
      buffer_append_string(out, focus_columns[i].word);
  }
  buffer_append_string(out, "\r\n");
}

static void print_focus(struct question *q) {
  for (size_t i = 0; i < N_FOCUS; i++) buffer_format(&q->text, "%s%s", i ? "," : "", focus_columns[i].name);
  buffer_append_string(&q->text, "\r\n");
  for (const struct line *line = q->lines; line < q->lines + q->n; line++) {
    struct billed billed = price_billed(&line->sum);
    for (int price = 0; price < PRICE_COUNT; price++)
      if (billed.n[price]) append_charge(&q->text, &(struct charge){q, line, price, billed.n[price]});
  }
}

/* --- the route ---------------------------------------------------------------------------------------------------- */

static void work(uv_work_t *work) {
  struct question *q = work->data;
  if (!usage_settle(q->usage, &q->error) || !usage_each(q->usage, q->first, q->last, on_row, q, &q->error)) return;
  static void (*const print[])(struct question * q) = {print_json, print_csv, print_focus};
  merge_lines(q);
  print[q->format](q);
}

static void question_free(struct question *q) {
  free(q->lines);
  buffer_clear(&q->text);
  free(q);
}

static void done(uv_work_t *work, int status) {
  struct question *q = work->data;
  struct exchange *x = q->exchange;
  (void)status;
  if (q->error.code)
    reply_error(x, &q->error, NULL, NULL, NULL);
  else
    reply_text(x, 200, q->format == FORMAT_JSON ? "application/json" : "text/csv; charset=utf-8; header=present", &q->text);
  question_free(q);
}

/* "function,day". */
static bool read_by(const struct query_part *part, uint32_t *by) {
  struct query_part word = *part;
  *by = 0;
  for (size_t left = part->word_size; left;) {
    const char *comma = memchr(word.word, ',', left);
    word.word_size = comma ? (size_t)(comma - word.word) : left;
    int i = query_word(&word, by_words);
    if (i < 0) return false;
    *by |= 1u << i;
    word.word += word.word_size + (comma != NULL);
    left -= word.word_size + (comma != NULL);
  }
  return *by != 0;
}

static bool read_part(struct question *q, const struct query_part *part) {
  if (query_is(part, "from")) return read_date(part, &q->first);
  if (query_is(part, "to")) return read_date(part, &q->last);
  if (query_is(part, "by")) return read_by(part, &q->by);
  if (query_is(part, "function")) {
    if (!function_name_is_valid(part->word, part->word_size)) return false;
    memcpy(q->function, part->word, part->word_size);
    q->function[part->word_size] = 0;
    return true;
  }
  int format = query_is(part, "format") ? query_word(part, format_words) : -1;
  q->format = format < 0 ? FORMAT_JSON : (enum format)format;
  return format >= 0;
}

static bool read_query(struct question *q, const char *query) {
  struct query_part part;
  while (query_next(&query, &part))
    if (!read_part(q, &part))
      return error_set(
          &q->error, GW_ERROR_REQUEST,
          "the parameters are from=YYYY-MM-DD, to=YYYY-MM-DD, function=NAME, by=tenant,function,version,day (some of "
          "them) and format=json|csv|focus");
  if (q->format == FORMAT_FOCUS && q->by != BY_ALL)
    return error_set(&q->error, GW_ERROR_REQUEST, "FOCUS has a row for each tenant, function, version and day: it takes no by");
  return q->first <= q->last || error_set(&q->error, GW_ERROR_REQUEST, "from is behind to");
}

void route_usage(struct exchange *x, const struct place *place) {
  if (!x->loop->usage) {
    reply_problem(x, PROBLEM(.status = 404, .detail = "no receipts are kept here, and usage is the sum of them"));
    return;
  }
  struct question *q = heap_new(1, sizeof *q);
  *q = (struct question){.work.data = q, .exchange = x, .usage = x->loop->usage, .by = BY_ALL, .last = today()};
  q->first = first_of_month(q->last);
  snprintf(q->tenant, sizeof q->tenant, "%s", place->is_server ? "" : place->tenant);
  if (read_query(q, x->request.query)) {
    uv_queue_work(&x->loop->uv, &q->work, work, done);
    return;
  }
  reply_error(x, &q->error, NULL, NULL, NULL);
  question_free(q);
}
