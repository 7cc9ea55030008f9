/* An interpreter: a stack machine whose loop is one switch, summing the primes below a limit by trial division. */
#include "bench.h"

enum { STACK = 16, LOCALS = 4 };

const uint32_t bench_rounds = 250;

enum op { PUSH, GET, SET, ADD, MULTIPLY, REMAINDER, LESS, NOT, JUMP, JUMP_IF, STOP };
enum { NUMBER, DIVISOR, SUM, LIMIT };

struct instruction {
  enum op op;
  uint32_t operand; /* a number, a local, or the position to go to */
};

enum { OUTER = 2, INNER = 4, FOUND = 20, NEXT = 24, END = 32 }; /* positions */

static const struct instruction code[] = {
    {PUSH, 2},
    {SET, NUMBER},
    [OUTER] = {PUSH, 2},
    {SET, DIVISOR},
    [INNER] = {GET, NUMBER}, /* a prime when the divisor's square is greater */
    {GET, DIVISOR},
    {GET, DIVISOR},
    {MULTIPLY, 0},
    {LESS, 0},
    {JUMP_IF, FOUND},
    {GET, NUMBER},
    {GET, DIVISOR},
    {REMAINDER, 0},
    {NOT, 0},
    {JUMP_IF, NEXT},
    {GET, DIVISOR},
    {PUSH, 1},
    {ADD, 0},
    {SET, DIVISOR},
    {JUMP, INNER},
    [FOUND] = {GET, SUM},
    {GET, NUMBER},
    {ADD, 0},
    {SET, SUM},
    [NEXT] = {GET, NUMBER},
    {PUSH, 1},
    {ADD, 0},
    {SET, NUMBER},
    {GET, NUMBER},
    {GET, LIMIT},
    {LESS, 0},
    {JUMP_IF, OUTER},
    [END] = {STOP, 0},
};

static uint32_t execute(uint32_t limit) {
  uint32_t stack[STACK], locals[LOCALS] = {[LIMIT] = limit}, *top = stack;
  for (const struct instruction *at = code;; at++) {
    switch (at->op) {
    case PUSH: *top++ = at->operand; break;
    case GET: *top++ = locals[at->operand]; break;
    case SET: locals[at->operand] = *--top; break;
    case ADD: top--, top[-1] += *top; break;
    case MULTIPLY: top--, top[-1] *= *top; break;
    case REMAINDER: top--, top[-1] %= *top; break;
    case LESS: top--, top[-1] = top[-1] < *top; break;
    case NOT: top[-1] = !top[-1]; break;
    case JUMP: at = code + at->operand - 1; break;
    case JUMP_IF:
      if (*--top) at = code + at->operand - 1;
      break;
    case STOP: return locals[SUM];
    }
  }
}

uint64_t bench_round(uint64_t seed) { return bench_mix(seed, execute(8000 + (uint32_t)(seed & 63))); }
