/* What usage costs. Prices are exact decimals for powers of ten of what they are of, so all costs are whole numbers of 10^-21 of
 * the currency, and a bill adds up to the last digit. Pure functions, any thread. */
#ifndef SERVER_USAGE_PRICE_H
#define SERVER_USAGE_PRICE_H

#include "base/buffer.h"
#include "server/usage/usage.h"

/* In 10^-21 of the currency. */
typedef unsigned __int128 cost;

/* In 10^-9 of the currency. */
typedef uint64_t money;
#define COST_OF_MONEY ((cost)1000000000000)

enum {
#define PRICE(name, word, power, unit, priced, category, subcategory, meter) PRICE_##name,
#include "server/usage/price.def"
#undef PRICE
  PRICE_COUNT
};

const char *price_word(int price);
unsigned price_power(int price); /* it is for ten to this power */

struct prices {
  char currency[8]; /* ISO 4217; XXX: none */
  money of[PRICE_COUNT];
};

/* How much there is of what has a price. */
struct billed {
  uint64_t n[PRICE_COUNT];
};

struct billed price_billed(const struct usage_sum *sum);
cost price_part(const struct prices *prices, int price, uint64_t n);
cost price_of(const struct prices *prices, const struct billed *billed);
bool price_is_free(const struct prices *prices);

/* {"currency":"EUR","gas":"0.50",...}: amounts are strings or numbers, with nine digits behind the point at most; what is left
 * out costs nothing. */
bool price_parse(struct prices *prices, const void *text, size_t size, struct gw_error *err);
/* An amount such as "12.5". */
bool price_parse_money(const char *text, money *out);
/* n / 10^digits, exactly, without zeros at the end. */
void price_append_decimal(struct buffer *out, unsigned __int128 n, unsigned digits);
void price_append_cost(struct buffer *out, cost amount);

#endif
