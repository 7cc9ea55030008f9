/* Paths with escapes, and a query's parameters, "KEY=WORD&KEY=WORD", whose words are ours, so that nothing is escaped. */
#ifndef SERVER_API_QUERY_H
#define SERVER_API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct query_part {
  const char *key, *word;
  size_t key_size, word_size;
};

/* Takes the next one off `*query`; false at the end. */
static inline bool query_next(const char **query, struct query_part *part) {
  const char *at = *query;
  if (!*at) return false;
  size_t size = strcspn(at, "&");
  const char *equals = memchr(at, '=', size);
  *part =
      (struct query_part){.key = at, .key_size = equals ? (size_t)(equals - at) : size, .word = equals ? equals + 1 : at + size};
  part->word_size = (size_t)(at + size - part->word);
  *query = at + size + (at[size] == '&');
  return true;
}

static inline bool query_is(const struct query_part *part, const char *key) {
  return strlen(key) == part->key_size && memcmp(part->key, key, part->key_size) == 0;
}

/* Which of the NULL-terminated words it has, or -1. */
static inline int query_word(const struct query_part *part, const char *const *words) {
  for (int i = 0; words[i]; i++)
    if (strlen(words[i]) == part->word_size && memcmp(part->word, words[i], part->word_size) == 0) return i;
  return -1;
}

static inline int query_hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes in place. False for a broken escape or an escaped NUL. */
static inline bool query_percent_decode(char *text) {
  char *to = text;
  for (const char *from = text; *from; to++) {
    if (*from != '%') {
      *to = *from++;
      continue;
    }
    int high = query_hex_digit(from[1]), low = high < 0 ? -1 : query_hex_digit(from[2]);
    if (low < 0 || (high | low) == 0) return false;
    *to = (char)(high << 4 | low);
    from += 3;
  }
  *to = 0;
  return true;
}

#endif
