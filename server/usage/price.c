#include "server/usage/price.h"

#include "base/error.h"

#include <cjson/cJSON.h>

#include <stdio.h>
#include <string.h>

static const struct {
  const char *word;
  unsigned power;
} rows[] = {
#define PRICE(name, word, power, unit, priced, category, subcategory, meter) {word, power},
#include "server/usage/price.def"
#undef PRICE
};

enum { MONEY_DIGITS = 9, COST_DIGITS = 21 };

const char *price_word(int price) { return rows[price].word; }
unsigned price_power(int price) { return rows[price].power; }

struct billed price_billed(const struct usage_sum *sum) {
  return (struct billed){.n = {[PRICE_GAS] = usage_gas(sum),
                               [PRICE_RENT] = sum->n[USAGE_RENT],
                               [PRICE_REQUESTS] = sum->n[USAGE_REQUESTS],
                               [PRICE_SENT] = sum->n[USAGE_SENT]}};
}

cost price_part(const struct prices *prices, int price, uint64_t n) {
  cost amount = (cost)n * prices->of[price];
  for (unsigned i = rows[price].power; i < COST_DIGITS - MONEY_DIGITS; i++) amount *= 10;
  return amount;
}

cost price_of(const struct prices *prices, const struct billed *billed) {
  cost sum = 0;
  for (int i = 0; i < PRICE_COUNT; i++) sum += price_part(prices, i, billed->n[i]);
  return sum;
}

bool price_is_free(const struct prices *prices) {
  for (int i = 0; i < PRICE_COUNT; i++)
    if (prices->of[i]) return false;
  return true;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

bool price_parse_money(const char *text, money *out) {
  static const char digits[] = "0123456789";
  size_t whole = strspn(text, digits), part = text[whole] == '.' ? strspn(text + whole + 1, digits) : 0;
  bool has_point = text[whole] == '.';
  if (!whole || whole > 9 || part > MONEY_DIGITS || (has_point && !part) || text[whole + has_point + part]) return false;
  *out = 0;
  for (size_t i = 0; i < whole; i++) *out = *out * 10 + (uint64_t)(text[i] - '0');
  for (size_t i = 0; i < MONEY_DIGITS; i++) *out = *out * 10 + (i < part ? (uint64_t)(text[whole + 1 + i] - '0') : 0);
  return true;
}

void price_append_decimal(struct buffer *out, unsigned __int128 n, unsigned digits) {
  char text[64], *end = text + sizeof text, *at = end;
  unsigned size = 0;
  for (; size <= digits || n; size++, n /= 10) *--at = (char)('0' + (int)(n % 10));
  const char *point = at + (size - digits);
  while (end > point && end[-1] == '0') end--;
  buffer_append(out, at, (size_t)(point - at));
  if (end == point) return;
  buffer_append(out, ".", 1);
  buffer_append(out, point, (size_t)(end - point));
}

void price_append_cost(struct buffer *out, cost amount) { price_append_decimal(out, amount, COST_DIGITS); }

static bool take_price(const cJSON *item, money *out) {
  char text[32];
  if (cJSON_IsString(item)) return price_parse_money(item->valuestring, out);
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1e9)) return false;
  snprintf(text, sizeof text, "%.9f", item->valuedouble);
  return price_parse_money(text, out);
}

static bool take_currency(const cJSON *item, char out[8]) {
  const char *text = cJSON_GetStringValue(item);
  if (!text || strlen(text) != 3 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3) return false;
  memcpy(out, text, 4);
  return true;
}

static bool take_member(struct prices *prices, const cJSON *item, struct gw_error *err) {
  if (strcmp(item->string, "currency") == 0)
    return take_currency(item, prices->currency) ||
           error_set(err, GW_ERROR_USAGE, "a currency is three capital letters of ISO 4217, such as EUR");
  for (int i = 0; i < PRICE_COUNT; i++) {
    if (strcmp(item->string, rows[i].word) != 0) continue;
    return take_price(item, &prices->of[i]) ||
           error_set(err, GW_ERROR_USAGE,
                     "the price of %s is no amount such as \"0.25\", with nine digits behind the point at most", rows[i].word);
  }
  return error_set(err, GW_ERROR_USAGE, "a table of prices has currency, gas, rent, requests and bytes_out, and no %.64s",
                   item->string);
}

bool price_parse(struct prices *prices, const void *text, size_t size, struct gw_error *err) {
  cJSON *json = cJSON_ParseWithLength(text, size), *item;
  *prices = (struct prices){.currency = "XXX"};
  bool ok = cJSON_IsObject(json) || error_set(err, GW_ERROR_USAGE, "a table of prices is a JSON object");
  if (ok) cJSON_ArrayForEach(item, json) ok = ok && take_member(prices, item, err);
  cJSON_Delete(json);
  return ok;
}
