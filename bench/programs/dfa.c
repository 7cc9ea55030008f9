/* A regular expression as a table: counts numbers, names and strings of a program text, one transition for each byte. */
#include "bench.h"

enum { SIZE = 256 << 10 };

const uint32_t bench_rounds = 450;

enum state { SPACE, NAME, ZERO, DECIMAL, HEX, STRING, ESCAPE, SIGN, STATES };
enum class { BLANK, LETTER, HEX_LETTER, X, NIL, DIGIT, QUOTE, BACKSLASH, OTHER, CLASSES };

static const uint8_t next[STATES][CLASSES] = {
    /*             BLANK   LETTER  HEX_LETTER X      NIL      DIGIT    QUOTE   BACKSLASH OTHER */
    [SPACE] = {SPACE, NAME, NAME, NAME, ZERO, DECIMAL, STRING, SIGN, SIGN},
    [NAME] = {SPACE, NAME, NAME, NAME, NAME, NAME, STRING, SIGN, SIGN},
    [ZERO] = {SPACE, NAME, NAME, HEX, DECIMAL, DECIMAL, STRING, SIGN, SIGN},
    [DECIMAL] = {SPACE, NAME, NAME, NAME, DECIMAL, DECIMAL, STRING, SIGN, SIGN},
    [HEX] = {SPACE, NAME, HEX, NAME, HEX, HEX, STRING, SIGN, SIGN},
    [STRING] = {STRING, STRING, STRING, STRING, STRING, STRING, SPACE, ESCAPE, STRING},
    [ESCAPE] = {STRING, STRING, STRING, STRING, STRING, STRING, STRING, STRING, STRING},
    [SIGN] = {SPACE, NAME, NAME, NAME, ZERO, DECIMAL, STRING, SIGN, SIGN},
};

static uint8_t classes[256], text[SIZE];

static void fill_classes(void) {
  for (int c = 0; c < 256; c++) classes[c] = c <= ' ' ? BLANK : OTHER;
  for (int c = 'a'; c <= 'z'; c++) classes[c] = classes[c - 'a' + 'A'] = c <= 'f' ? HEX_LETTER : c == 'x' ? X : LETTER;
  for (int c = '0'; c <= '9'; c++) classes[c] = c == '0' ? NIL : DIGIT;
  classes['_'] = LETTER;
  classes['"'] = QUOTE;
  classes['\\'] = BACKSLASH;
}

static void write_text(uint64_t *seed) {
  static const char *const words[] = {"if (", "count", " + 0x1f ", "= 1024", ";\n  ", "\"a \\\" b\" ", "name_2", " || "};
  for (int at = 0; at < SIZE;)
    for (const char *word = words[bench_random(seed) & 7]; *word && at < SIZE;) text[at++] = (uint8_t)*word++;
}

uint64_t bench_round(uint64_t seed) {
  uint32_t counts[STATES] = {0};
  uint8_t state = SPACE;
  if (!text[0]) {
    fill_classes();
    write_text(&seed);
  }
  for (int i = 0; i < 16; i++) text[bench_random(&seed) % SIZE] = (uint8_t)('0' + i);
  for (int i = 0; i < SIZE; i++) {
    uint8_t following = next[state][classes[text[i]]];
    if (following != state) counts[following]++;
    state = following;
  }
  uint64_t hash = seed;
  for (int i = 0; i < STATES; i++) hash = bench_mix(hash, counts[i]);
  return hash;
}
