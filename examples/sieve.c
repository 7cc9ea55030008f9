/* Counts the primes up to ?n= with a sieve of Eratosthenes over the odd numbers: real computing and real memory. */
#include "gasworks_util.h"

#include <stdlib.h>

enum { MAX_N = 200000000 };

/* composite[i] stands for 2i + 1; `size` entries, all zero. */
static uint64_t count_primes(uint8_t *composite, size_t size) {
  uint64_t count = 1; /* two */
  for (size_t i = 1; i < size; i++) {
    if (composite[i]) continue;
    count++;
    size_t prime = 2 * i + 1;
    if (prime >= 65536) continue; /* its square is beyond every n */
    for (size_t j = prime * prime / 2; j < size; j += prime) composite[j] = 1;
  }
  return count;
}

GW_HANDLER(void) {
  char digits[21];
  uint64_t n = gw_query_number("n", 1000000, MAX_N);
  size_t size = (size_t)(n + 1) / 2;
  uint8_t *composite = calloc(size + 1, 1);
  if (!composite) {
    gw_reply_error(507, "there is not enough memory for so many numbers");
    return;
  }
  uint64_t count = n < 2 ? 0 : count_primes(composite, size);
  free(composite);
  gw_reply_type("text/plain; charset=utf-8");
  gw_reply_text(gw_decimal(count, digits));
  gw_reply_text(" primes up to ");
  gw_reply_text(gw_decimal(n, digits));
  gw_reply_text("\n");
}
