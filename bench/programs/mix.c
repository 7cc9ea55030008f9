/* What small embedded programs do: a linked list sorted by two orders, a matrix of 16-bit numbers, a state machine over text,
 * and a CRC over the results. */
#include "bench.h"

#include <stddef.h>

enum { NODES = 400, M = 24, INPUT = 2000 };

const uint32_t bench_rounds = 8000;

struct node {
  struct node *next;
  int16_t key, index;
};

typedef int (*compare_fn)(const struct node *a, const struct node *b);

static struct node nodes[NODES];
static int16_t left[M][M], right[M][M];
static int32_t product[M][M];
static char input[INPUT + 1];

static uint16_t crc16(uint16_t crc, uint32_t word) {
  for (int bit = 0; bit < 32; bit++, word >>= 1) {
    uint16_t carry = (crc ^ word) & 1;
    crc = (uint16_t)(crc >> 1);
    if (carry) crc ^= 0xa001;
  }
  return crc;
}

static int by_key(const struct node *a, const struct node *b) { return a->key - b->key; }
static int by_index(const struct node *a, const struct node *b) { return a->index - b->index; }

static struct node *merge(struct node *a, struct node *b, compare_fn compare) {
  struct node head, *tail = &head;
  while (a && b) {
    struct node **least = compare(a, b) <= 0 ? &a : &b;
    tail = tail->next = *least;
    *least = (*least)->next;
  }
  tail->next = a ? a : b;
  return head.next;
}

static struct node *sort(struct node *list, compare_fn compare) {
  if (!list || !list->next) return list;
  struct node *slow = list, *fast = list->next;
  while (fast && fast->next) {
    slow = slow->next;
    fast = fast->next->next;
  }
  struct node *second = slow->next;
  slow->next = NULL;
  return merge(sort(list, compare), sort(second, compare), compare);
}

static uint16_t run_list(uint64_t *seed, uint16_t crc) {
  for (int i = 0; i < NODES; i++)
    nodes[i] = (struct node){i + 1 < NODES ? &nodes[i + 1] : NULL, (int16_t)bench_random(seed), (int16_t)i};
  struct node *list = sort(nodes, by_key);
  int position = 0;
  for (struct node *n = list; n; n = n->next) {
    if (++position % 16 == 0) crc = crc16(crc, (uint16_t)n->key);
  }
  list = sort(list, by_index);
  return crc16(crc, (uint16_t)list->key);
}

static uint16_t run_matrix(uint64_t *seed, uint16_t crc) {
  for (int i = 0; i < M; i++) {
    for (int j = 0; j < M; j++) {
      left[i][j] = (int16_t)(bench_random(seed) & 255);
      right[i][j] = (int16_t)(i * j + left[i][j]);
    }
  }
  for (int i = 0; i < M; i++) {
    for (int j = 0; j < M; j++) {
      int32_t sum = 0;
      for (int x = 0; x < M; x++) sum += left[i][x] * right[x][j];
      product[i][j] = sum;
    }
  }
  for (int i = 0; i < M; i++) crc = crc16(crc, (uint32_t)product[i][M - 1 - i]);
  return crc;
}

enum state { START, INTEGER, SIGN, FRACTION, EXPONENT_SIGN, EXPONENT, WRONG, STATES };

static enum state next_state(enum state state, char c) {
  int is_digit = c >= '0' && c <= '9';
  switch (state) {
  case START: return is_digit ? INTEGER : c == '-' || c == '+' ? SIGN : c == '.' ? FRACTION : WRONG;
  case SIGN: return is_digit ? INTEGER : c == '.' ? FRACTION : WRONG;
  case INTEGER: return is_digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT_SIGN : WRONG;
  case FRACTION: return is_digit ? FRACTION : c == 'e' ? EXPONENT_SIGN : WRONG;
  case EXPONENT_SIGN:
  case EXPONENT: return is_digit || (state == EXPONENT_SIGN && c == '-') ? EXPONENT : WRONG;
  default: return WRONG;
  }
}

static uint16_t run_states(uint64_t *seed, uint16_t crc) {
  static const char alphabet[] = "0123456789.e-,00";
  uint32_t counts[STATES] = {0};
  enum state state = START;
  for (int i = 0; i < INPUT; i++) input[i] = alphabet[bench_random(seed) & 15];
  for (const char *at = input; *at; at++) {
    state = *at == ',' ? START : next_state(state, *at);
    counts[state]++;
  }
  for (int i = 0; i < STATES; i++) crc = crc16(crc, counts[i]);
  return crc;
}

uint64_t bench_round(uint64_t seed) {
  uint16_t crc = run_list(&seed, 0);
  crc = run_matrix(&seed, crc);
  return run_states(&seed, crc);
}
